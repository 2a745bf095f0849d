from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sqlinfer.errors import ModelNotFound, ModelUnusable
from sqlinfer.store.source import check_files, find_source

MakeModel = Callable[..., Path]
COMMIT = "0123456789abcdef0123456789abcdef01234567"  # as conftest.py writes it


def test_a_folder_is_found_however_it_is_written(make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_model("models/tiny")
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("HOME", str(folder.parent))
    for source in ("./tiny", "../models/tiny", str(folder), "~/tiny"):
        assert find_source(source).path == folder
        assert find_source(source).revision is None


def test_a_folder_without_a_dot_is_not_guessed(make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_model("models/tiny").parent.parent)
    with pytest.raises(ModelNotFound, match=r"Write '\./models/tiny'"):
        find_source("models/tiny")


def test_what_is_neither_folder_nor_hub_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="no folder"):
        find_source(str(tmp_path / "none"))
    with pytest.raises(ModelNotFound, match="neither a folder"):
        find_source("a b")
    with pytest.raises(ModelNotFound, match="no revision"):
        find_source(str(tmp_path), revision="main")


def test_a_cached_hub_model_is_found_without_a_network(make_cached: MakeModel) -> None:
    path = make_cached()
    found = find_source("org/name")
    assert (found.path, found.revision) == (path, COMMIT)
    assert find_source("org/name", revision=COMMIT).path == path


def test_a_hub_model_that_is_nowhere_says_what_to_do(hub: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"org/none.*not in the local hub cache.*sqlinfer models pull org/none"):
        find_source("org/none")
    with pytest.raises(ModelNotFound, match=r"org/none.*could not be downloaded.*hf auth login"):
        find_source("org/none", download=True)


def test_a_download_that_was_cut_off_is_told(make_cached: MakeModel) -> None:
    (make_cached() / "model.safetensors").unlink()
    with pytest.raises(ModelUnusable, match="incomplete"):
        find_source("org/name")


def test_a_link_into_an_emptied_cache_is_told(make_model: MakeModel, tmp_path: Path) -> None:
    folder = make_model()
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(tmp_path / "gone")
    with pytest.raises(ModelUnusable, match=r"model\.safetensors cannot be read"):
        check_files(folder)


def damage_no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def damage_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_')


def damage_list(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def damage_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def damage_shard(folder: Path) -> None:
    index = '{"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}'
    (folder / "model.safetensors.index.json").write_text(index)


def damage_empty(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def damage_short(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


def damage_header(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:20])


def damage_garbage(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x04\0\0\0\0\0\0\0[1]x" + b"\0" * 100)


def damage_pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 100\n")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_no_config, "config.json is missing"),
        (damage_config, "cannot be read"),
        (damage_list, "no JSON object"),
        (damage_no_weights, r"no \*\.safetensors"),
        (damage_shard, "names model-2.safetensors"),
        (damage_empty, "truncated"),
        (damage_short, "truncated"),
        (damage_header, "truncated"),
        (damage_garbage, "broken header"),
        (damage_pointer, "git lfs pull"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(
    make_model: MakeModel, damage: Callable[[Path], None], said: str
) -> None:
    folder = make_model()
    check_files(folder)
    damage(folder)
    with pytest.raises(ModelUnusable, match=said):
        check_files(folder)


@pytest.mark.parametrize("name", ["../a/model.safetensors", "/a/model.safetensors", "s/../../m.safetensors", "C:\\\\a"])
@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors.index.json", '{"weight_map": {"a": "NAME"}}'),
        ("modules.json", '[{"path": "NAME", "type": "Dense"}]'),
        ("config.json", '{"transformers_weights": "NAME"}'),
        ("tokenizer_config.json", '{"fast_tokenizer_files": ["NAME"]}'),
    ],
)
def test_a_file_outside_of_the_folder_is_refused_by_name(
    make_model: MakeModel, file: str, content: str, name: str
) -> None:
    folder = make_model()
    (folder / file).write_text(content.replace("NAME", name))
    with pytest.raises(ModelUnusable, match=rf"{re.escape(file)} names '.*{re.escape(name[-8:])}', which lies outside"):
        check_files(folder)


def test_a_distributed_checkpoint_is_refused_before_it_is_unpickled(make_model: MakeModel) -> None:
    folder = make_model()
    (folder / ".metadata").write_bytes(b"")
    with pytest.raises(ModelUnusable, match="distributed checkpoint"):
        check_files(folder, trust=True)


@pytest.mark.parametrize(
    "header",
    [
        "[" * 200_000,
        '{"a":' * 200_000,
        '{"w": {"dtype": "F32", "shape": [1], "data_offsets": ["0", "4"]}}',
        '{"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}',
        '{"w": {"dtype": "F32", "shape": ["1"], "data_offsets": [0, 4]}}',
        '{"w": {"dtype": "F32", "shape": 1, "data_offsets": [0, 4]}}',
        '{"w": {"dtype": "F32", "shape": [1], "data_offsets": {}}}',
        '{"w": []}',
    ],
)
def test_a_broken_header_is_told_in_one_line(make_model: MakeModel, header: str) -> None:
    folder = make_model()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode() + b"1234")
    with pytest.raises(ModelUnusable, match="has a broken header") as caught:
        check_files(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors.index.json", "modules.json"])
@pytest.mark.parametrize("content", ["[" * 200_000, '"text"', "{", "7"])
def test_broken_json_is_told_in_one_line(make_model: MakeModel, file: str, content: str) -> None:
    folder = make_model()
    (folder / file).write_text(content)
    with pytest.raises(ModelUnusable, match=rf"{re.escape(file)} cannot be read"):
        check_files(folder)


def test_pickled_weights_need_trust(make_model: MakeModel) -> None:
    folder = make_model()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelUnusable, match="--trust"):
        check_files(folder)
    check_files(folder, trust=True)
