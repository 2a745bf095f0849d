from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sqlinfer.errors import ModelNotFound, ModelUnusable, SqlinferError
from sqlinfer.store import Store
from sqlinfer.types import ModelVersion, Parameters

MakeModel = Callable[..., Path]


@pytest.fixture
def news(store: Store, make_model: MakeModel) -> Store:
    """Three versions of the model 'news'."""
    for number in range(3):
        store.registry.register("news", str(make_model(f"news{number}", b"weights %d" % number)))
    return store


def test_what_was_registered_comes_back(store: Store, make_model: MakeModel) -> None:
    parameters = Parameters(max_tokens=60, temperature=0.5, stop=("\n", "#"))
    made = store.registry.register(
        "team/news-short_1.0",
        str(make_model()),
        task="summarize",
        dtype="bfloat16",
        parameters=parameters,
        description="short news",
        tags={"owner": "desk"},
    )
    assert made == store.registry.get("team/news-short_1.0")
    assert (made.version, made.path, made.task, made.dtype) == (1, make_model(), "summarize", "bfloat16")
    assert (made.parameters, made.description, made.tags) == (parameters, "short news", {"owner": "desk"})
    assert len(made.fingerprint) == 32
    assert str(made) == "team/news-short_1.0/1"


def test_a_name_means_its_newest_version_until_one_is_named(news: Store) -> None:
    assert [model.version for model in news.registry.versions("news")] == [1, 2, 3]
    assert news.registry.get("news").version == 3
    assert news.registry.get("news/1").version == 1
    news.registry.set_alias("news", "champion", 2)
    assert news.registry.get("news@champion").version == 2
    news.registry.set_alias("news", "champion", 1)
    assert news.registry.get("news@champion").version == 1
    assert news.registry.aliases("news") == {"champion": 1}
    news.registry.drop_alias("news", "champion")
    with pytest.raises(ModelNotFound, match="no alias 'champion'"):
        news.registry.get("news@champion")


def test_registering_the_same_again_adds_no_version(news: Store, make_model: MakeModel) -> None:
    again = news.registry.register("news", str(make_model("news1", b"weights 1")), description="told later")
    assert (again.version, again.description) == (2, "told later")
    assert len(news.registry.versions("news")) == 3
    assert news.registry.register("news", str(make_model("news1", b"weights 1")), dtype="float32").version == 4


def test_equal_models_under_two_names_share_a_fingerprint(store: Store, make_model: MakeModel) -> None:
    one = store.registry.register("one", str(make_model("a")))
    other = store.registry.register("other", str(make_model("b")))
    assert one.fingerprint == other.fingerprint == store.registry.get(str(make_model("c"))).fingerprint


def test_a_version_whose_files_changed_is_refused(news: Store, make_model: MakeModel) -> None:
    make_model("news1", b"weights x")
    with pytest.raises(ModelUnusable, match=r"news/2 .* have changed .* sqlinfer models register news "):
        news.registry.get("news/2")
    assert news.registry.get("news/3").version == 3
    assert news.registry.register("news", str(make_model("news1", b"weights x"))).version == 4


def test_a_version_whose_folder_is_gone_is_told(news: Store, tmp_path: Path) -> None:
    (tmp_path / "news2").rename(tmp_path / "moved")
    with pytest.raises(ModelNotFound, match="no folder"):
        news.registry.get("news")
    assert news.registry.register("news", str(tmp_path / "moved")).version == 3
    assert news.registry.get("news").path == tmp_path / "moved"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("nws", r"Did you mean news\?.*sqlinfer models register NAME SOURCE"),
        ("news/9", "no version 9. Its versions: 1, 2, 3"),
        ("news@champoin", r"Did you mean champion\?"),
        ("news@", "no alias ''"),
        ("", "No model ''"),
        ("@", "No model '@'"),
        ("./none", "no folder"),
        ("News", r"Did you mean news\?"),
        ("a b", "No model 'a b'"),
    ],
)
def test_a_name_that_is_not_there_names_what_is_near(news: Store, written: str, said: str) -> None:
    news.registry.set_alias("news", "champion", 1)
    with pytest.raises(ModelNotFound, match=said):
        news.registry.get(written)


def test_an_unknown_hub_id_names_what_is_near(store: Store, hub: Path, make_model: MakeModel) -> None:
    store.registry.register("org/name", str(make_model()))
    assert store.registry.get("org/name").version == 1
    with pytest.raises(ModelNotFound, match=r"Did you mean org/name\?"):
        store.registry.get("org/nam")


def test_a_hub_model_is_used_with_and_without_registering(store: Store, make_cached: MakeModel) -> None:
    first = make_cached("1" * 40, b"one")
    assert store.registry.get("org/name").path == first
    made = store.registry.register("news", "org/name")
    assert (made.revision, made.path) == ("1" * 40, first)
    second = make_cached("2" * 40, b"two")
    assert store.registry.get("news").path == first  # pinned, though the hub's main moved
    assert store.registry.get("org/name").path == second
    assert store.registry.register("news", "org/name").version == 2
    first.rename(first.parent / "gone")
    with pytest.raises(ModelNotFound, match=f"org/name' at revision {'1' * 40}"):
        store.registry.get("news/1")


@pytest.mark.parametrize(
    "name", ["", "a b", "a@b", "a/3", "3/4", "/a", "a/", "a//b", "./a", "-a", "é", "openai:x", "a'b", "a\n"]
)
def test_a_name_that_could_be_misread_is_refused(store: Store, make_model: MakeModel, name: str) -> None:
    with pytest.raises(SqlinferError, match="is not a valid model name"):
        store.registry.register(name, str(make_model()))


def test_a_name_means_the_deployed_version_and_rollback_the_one_before(news: Store, make_model: MakeModel) -> None:
    registry = news.registry
    assert registry.get("news").version == 3
    with pytest.raises(SqlinferError, match="was never another version"):
        registry.rollback("news")
    registry.deploy("news", 1)
    registry.register("news", str(make_model("news4", b"weights 4")))
    assert (registry.get("news").version, registry.get("news/4").version) == (1, 4)
    registry.deploy("news", 4)
    registry.deploy("news", 4)
    assert registry.get("news").version == 4
    assert [registry.rollback("news").version for _ in range(3)] == [1, 4, 1]
    registry.remove("news/1")
    assert registry.get("news").version == 4
    with pytest.raises(ModelNotFound, match="has no version 9"):
        registry.deploy("news", 9)


def test_unknown_task_dtype_and_alias_are_refused(news: Store, make_model: MakeModel) -> None:
    with pytest.raises(SqlinferError, match=r"no task 'sumarize'. Did you mean summarize\?"):
        news.registry.register("m", str(make_model()), task="sumarize")
    with pytest.raises(SqlinferError, match=r"no dtype 'float8'. Did you mean float"):
        news.registry.register("m", str(make_model()), dtype="float8")
    with pytest.raises(SqlinferError, match="is not a valid alias"):
        news.registry.set_alias("news", "7", 1)
    with pytest.raises(ModelNotFound, match="no version 8"):
        news.registry.set_alias("news", "champion", 8)


def test_tags_belong_to_a_name_or_to_a_version(news: Store) -> None:
    news.registry.tag("news", "owner", "desk")
    news.registry.tag("news", "stage", "old", version=1)
    news.registry.tag("news", "owner", "archive", version=1)
    assert news.registry.get("news/1").tags == {"owner": "archive", "stage": "old"}
    assert news.registry.get("news/2").tags == {"owner": "desk"}
    news.registry.untag("news", "owner")
    assert news.registry.get("news/2").tags == {}
    with pytest.raises(SqlinferError, match=r"no tag 'stag' of its own. Did you mean stage\?"):
        news.registry.untag("news", "stag", version=1)


def test_search_finds_by_all_words_in_any_case(news: Store, make_model: MakeModel) -> None:
    news.registry.register("other", str(make_model("o")), task="summarize", tags={"lang": "German"})
    news.registry.describe("news", "Short headlines")
    assert [model.name for model in news.registry.search("headlines SHORT")] == ["news"]
    assert [model.name for model in news.registry.search("german summarize")] == ["other"]
    assert [model.name for model in news.registry.search("lang=german")] == ["other"]
    assert [model.name for model in news.registry.search("")] == ["news", "other"]
    assert list(news.registry.search("short german")) == []


def test_version_numbers_are_not_used_again(news: Store, make_model: MakeModel) -> None:
    news.registry.set_alias("news", "champion", 3)
    news.registry.remove("news/3")
    assert news.registry.get("news").version == 2
    assert news.registry.aliases("news") == {}
    assert news.registry.register("news", str(make_model("x", b"new"))).version == 4
    news.registry.set_default("", "news/4")
    news.registry.remove("news")
    with pytest.raises(ModelNotFound):
        news.registry.get("news")
    with pytest.raises(ModelNotFound):
        news.registry.defaults.of()
    with pytest.raises(ModelNotFound):
        news.registry.remove("news")
    assert list(news.registry.list()) == []
    assert news.registry.register("news", str(make_model("x", b"new"))).version == 5


def built_in(name: str, path: Path) -> ModelVersion:
    return ModelVersion(name, 0, "built-in", path, "", dtype="float32", description="comes with it")


def test_built_in_models_are_there_without_registering(tmp_path: Path, make_model: MakeModel) -> None:
    builtins = {"tiny": built_in("tiny", make_model())}
    with Store(tmp_path / "home", builtins=builtins, defaults={"": "tiny"}) as store:
        assert [(model.name, model.fingerprint) for model in store.registry.list()] == [("tiny", "")]
        assert store.registry.defaults.of("summarize") == "tiny"
        assert store.registry.defaults.chosen("summarize") is None
        model = store.registry.get("tiny")
        assert (model.version, model.source, model.dtype, len(model.fingerprint)) == (0, "built-in", "float32", 32)
        with pytest.raises(ModelNotFound, match=r"Did you mean tiny\?"):
            store.registry.get("tiney")
        with pytest.raises(SqlinferError, match="built-in"):
            store.registry.register("tiny", str(make_model()))


def test_the_users_default_goes_before_the_built_in_one(tmp_path: Path, make_model: MakeModel) -> None:
    defaults = {"": "tiny", "summarize": "short"}
    builtins = {name: built_in(name, make_model()) for name in ("tiny", "short")}
    with Store(tmp_path / "home", builtins=builtins, defaults=defaults) as store:
        registry = store.registry
        assert (registry.defaults.of(), registry.defaults.of("summarize")) == ("tiny", "short")
        registry.register("mine", str(make_model()))
        registry.set_default("summarize", "mine")
        assert (registry.defaults.chosen(), registry.defaults.chosen("summarize")) == (None, "mine")
        assert (registry.defaults.of(), registry.defaults.of("summarize")) == ("tiny", "mine")
        registry.set_default("", "mine/1")
        registry.set_default("summarize", "short")
        assert (registry.defaults.of("generate"), registry.defaults.of("summarize")) == ("mine/1", "short")
        with pytest.raises(ModelNotFound, match="no version 2"):
            registry.set_default("", "mine/2")
        with pytest.raises(ModelNotFound, match=r"Did you mean mine\?"):
            registry.set_default("", "min")


def test_without_any_default_the_error_says_how_to_choose(store: Store) -> None:
    with pytest.raises(ModelNotFound, match="sqlinfer models default"):
        store.registry.defaults.of("summarize")


def test_another_process_sees_what_was_registered(news: Store, tmp_path: Path) -> None:
    with Store(tmp_path / "home") as other:
        assert other.registry.get("news") == news.registry.get("news")
