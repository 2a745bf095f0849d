from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from sqlinfer.model_files import model_files
from sqlinfer.store import Database
from sqlinfer.store import fingerprint as module
from sqlinfer.store.fingerprint import FileHashes, fingerprint

MakeModel = Callable[..., Path]


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "vocab.txt",
        "merges.txt",
        "spiece.model",
        "chat_template.jinja",
        "additional_chat_templates/tool.jinja",
        "a_name_that_nobody_has_heard_of.xyz",
    ],
)
def test_fingerprint_changes_with_each_file_that_decides_answers(make_model: MakeModel, name: str) -> None:
    folder = make_model()
    seen = {fingerprint(folder, {})}
    (folder / name).parent.mkdir(exist_ok=True)
    for content in (b"one", b"two"):
        (folder / name).write_bytes(content)
        seen.add(fingerprint(folder, {}))
    (folder / name).unlink()
    seen.add(fingerprint(folder, {}))
    assert len(seen) == (4 if name in ("config.json", "tokenizer.json", "model.safetensors") else 3)


def test_every_file_that_a_tokenizer_of_transformers_reads_counts(make_model: MakeModel) -> None:
    sources = Path(str(find_spec("transformers").origin)).parent.glob("**/tokenization_*.py")
    named = [
        names for source in sources for names in re.findall(r"VOCAB_FILES_NAMES = {.*?}", source.read_text(), re.S)
    ]
    names = {name for text in named for name in re.findall(r':\s*"([^"]+)"', text)}
    assert {"source.spm", "dict.txt", "bpe.codes"} <= names
    folder = make_model()
    for name in names:
        (folder / name).write_text("x")
    assert names <= {file.name for file in model_files(folder)}


def test_what_the_files_of_a_model_name_counts(make_model: MakeModel) -> None:
    folder = make_model()
    named = ("proj/model.safetensors", "proj/config.json", "deep/er/s.safetensors", "w/other.safetensors")
    for name in (*named, "elsewhere/model.safetensors"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    (folder / "modules.json").write_text('[{"path": "", "type": "T"}, {"path": "proj", "type": "Dense"}]')
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "deep/er/s.safetensors"}}')
    (folder / "config.json").write_text('{"transformers_weights": "w/other.safetensors"}')
    before = fingerprint(folder, {})
    for name in named:
        (folder / name).write_text("y")
        changed = fingerprint(folder, {})
        assert changed != before, name
        before = changed
    (folder / "elsewhere/model.safetensors").write_text("y")
    assert fingerprint(folder, {}) == before


@pytest.mark.parametrize(
    "name", ["README.md", "trainer_state.json", "notes.txt", ".gitattributes", "pytorch_model.bin", "x.py"]
)
def test_fingerprint_does_not_change_with_other_files(make_model: MakeModel, name: str) -> None:
    folder = make_model()
    before = fingerprint(folder, {})
    (folder / name).write_text("x")
    assert fingerprint(folder, {}) == before


def test_pickles_and_code_count_when_trusted(make_model: MakeModel) -> None:
    folder = make_model()
    seen = {fingerprint(folder, {"trusted": True})}
    for name in ("pytorch_model.bin", "modeling_own.py"):
        (folder / name).write_text("x")
        seen.add(fingerprint(folder, {"trusted": True}))
    assert len(seen) == 3


def test_fingerprint_does_not_depend_on_where_the_folder_lies(make_model: MakeModel) -> None:
    assert fingerprint(make_model("one"), {}) == fingerprint(make_model("deep/two"), {})


def test_fingerprint_changes_with_what_the_registration_adds(make_model: MakeModel) -> None:
    folder = make_model()
    assert len({fingerprint(folder, extra) for extra in ({}, {"dtype": "a"}, {"dtype": "b"}, {"task": "a"})}) == 4


def test_a_settled_file_is_read_once(make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_model()
    read: list[str] = []
    original = module.hash_content
    monkeypatch.setattr(module, "hash_content", lambda file: read.append(file.name) or original(file))
    monkeypatch.setattr(module, "_SETTLED_NS", -1)
    database = Database(tmp_path / "state.db")
    hashes = FileHashes(database)
    before = fingerprint(folder, {}, hashes)
    assert len(read) == 3
    assert fingerprint(folder, {}, hashes) == before
    assert len(read) == 3
    file = folder / "model.safetensors"
    times = file.stat()
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # same size and mtime: ctime tells
    assert fingerprint(folder, {}, hashes) != before
    assert read[3:] == ["model.safetensors"]
    database.close()


def test_a_file_written_just_now_is_not_remembered(make_model: MakeModel, tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    hashes = FileHashes(database)
    fingerprint(make_model(), {}, hashes)
    with database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM file_hashes").fetchone() == (0,)
    database.close()
