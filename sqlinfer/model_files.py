"""The files of a model's folder: which of them decide its answers, what they name, and the headers of its weights.

The one list of what is read: fingerprint, download and loader go by it. Reads no tensors. Knows no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from os.path import lexists
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

CONFIG, TOKENIZER_CONFIG = "config.json", "tokenizer_config.json"
MLMODEL = "MLmodel"  # MLflow writes it
MODULES = "modules.json"  # sentence-transformers writes it
DISTRIBUTED = ".metadata"  # transformers loads such a folder before all else, and it is a pickle
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
CHAT_TEMPLATES = "additional_chat_templates"
MAX_HEADER_BYTES = 100_000_000
_LENGTH_BYTES = 8
_PICKLES_AND_CODE = ("*.bin", "*.pt", "*.pth", "*.py")
_UNREAD = (
    *(".*", "LICENSE", "NOTICE", "README", "*.md", "*.rst", "*.pdf", "*.html", "*.ipynb", "*.log", "*.lock", "*.sh"),
    *("*.png", "*.jpg", "*.jpeg", "*.gif", "*.svg", "*.webp", "*.csv", "*.tsv", "*.jsonl", "*.parquet", "*.zip"),
    *("*.gz", "*.tar", "*.h5", "*.msgpack", "*.ot", "*.onnx", "*.onnx_data", "*.gguf", "*.ggml", "*.ckpt", "*.npz"),
    *("*.tflite", "*.mlmodel", "*.pb", "*.pkl", "*.pickle", "*.joblib", "*.distcp", "*.pyc"),
    *("trainer_state.json", "*_results.json", "notes.txt", "requirements.txt"),
)


class BrokenFile(ValueError):
    """A file of a model that cannot be used.

    file: its path. problem: why, to follow the file's name. remedy: what mends it.
    """

    def __init__(self, file: Path, problem: str, remedy: str = "Download or copy it again.") -> None:
        super().__init__(f"{file} {problem}")
        self.file, self.problem, self.remedy = file, problem, remedy


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """A tensor of a safetensors file.

    dtype: as safetensors names it, such as "BF16".
    shape: its dimensions.
    num_bytes: in the file.
    """

    dtype: str
    shape: tuple[int, ...]
    num_bytes: int


def unread_patterns(trusted: bool = False) -> list[str]:
    """Patterns of the files that never decide a model's answers: documents, and formats that are not loaded.

    A name that nobody has heard of is none of them, as it may be a tokenizer's. trusted: pickles and code count too.
    """
    return [*_UNREAD, *([] if trusted else _PICKLES_AND_CODE)]


def model_files(folder: Path, trusted: bool = False) -> list[Path]:
    """The files of a model's folder that decide its answers, in order of name: nothing else may be loaded.

    They lie in it, in the folders of its modules, or where another of them says.
    """
    unread = unread_patterns(trusted)
    references = [r for r in _references(folder) if trusted or not r[0].name.endswith(".bin.index.json")]
    named = [folder / name for _, name in references if _is_inside(name)]
    folders = [path for path in (folder, folder / CHAT_TEMPLATES, *named) if path.is_dir()]
    beside = [file for path in folders for file in path.iterdir() if not any(fnmatch(file.name, p) for p in unread)]
    return sorted({file for file in (*beside, *named) if file.is_file()})


def scorer_files(path: Path) -> list[Path]:
    """The files of a model that worker processes score: it is one file, or a folder of which it may read any but hidden
    ones and what Python caches."""
    if path.is_file():
        return [path]
    return sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and not any(_is_cache(part) for part in file.relative_to(path).parts)
    )


def _is_cache(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__"


def check_references(folder: Path) -> list[tuple[Path, str]]:
    """The missing weight files, each with the index that names it.

    Raises BrokenFile if a file of the model names another one that lies outside of the folder, or is unreadable.
    """
    references = list(_references(folder, strict=True))
    for file, name in references:
        if not _is_inside(name):
            remedy = "Copy it into the folder, and name it there."
            raise BrokenFile(file, f"names {name!r}, which lies outside of the model's folder", remedy)
    if (folder / DISTRIBUTED).exists():
        problem = "makes the folder a distributed checkpoint, which is loaded by unpickling"
        raise BrokenFile(folder / DISTRIBUTED, problem, "Save the model with save_pretrained, or remove the file.")
    weights = [(file, name) for file, name in references if file.name.endswith(".safetensors.index.json")]
    return [(file, name) for file, name in weights if not lexists(folder / name)]


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that hold the weights, whether they are there or not; [] if there is no such file.

    Raises BrokenFile.
    """
    explicit = next(iter(_named_in(folder / CONFIG, strict=True)), None)
    for file in [folder / explicit] if explicit else [folder / WEIGHTS, folder / INDEX]:
        if lexists(file) or explicit:
            return [folder / name for name in _named_in(file, strict=True)] if _is_index(file) else [file]
    return []


def read_json(file: Path) -> Any:
    """The content of a JSON file. Raises BrokenFile."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except RecursionError:
        raise BrokenFile(file, "cannot be read: it is nested too deeply") from None
    except (OSError, ValueError) as error:
        raise BrokenFile(file, f"cannot be read: {error}") from error


def _references(folder: Path, *, strict: bool = False) -> Iterator[tuple[Path, str]]:
    """What the model's files name: each file, and the name of another file or folder."""
    for file in [folder / CONFIG, folder / MODULES, folder / TOKENIZER_CONFIG, *sorted(folder.glob("*.index.json"))]:
        for name in _named_in(file, strict):
            yield file, name
            if file.name == CONFIG and _is_index(folder / name):  # which lies anywhere in the folder
                yield from ((folder / name, shard) for shard in _named_in(folder / name, strict))


def _named_in(file: Path, strict: bool) -> list[str]:
    """The files and folders that a file names; relative to the model's folder, whatever folder the file is in.

    strict: raise BrokenFile for a file that says nothing intelligible; else it names none.
    """
    if not file.is_file() and not (strict and _is_index(file)):
        return []
    try:
        content = read_json(file)
        if file.name == CONFIG:
            names = [content["transformers_weights"]] if content.get("transformers_weights") else []
        elif file.name == TOKENIZER_CONFIG:
            names = list(content.get("fast_tokenizer_files") or [])
        elif file.name == MODULES:
            names = [entry["path"] for entry in content]
        else:
            names = list(content["weight_map"].values())
        return sorted({name for name in map(str, names) if name})
    except BrokenFile:
        if strict:
            raise
    except (KeyError, AttributeError, TypeError) as error:
        if strict:
            wanted = "no JSON object with a weight_map" if _is_index(file) else "not what such a file holds"
            raise BrokenFile(file, f"cannot be read: it holds {wanted}") from error
    return []


def _is_index(file: Path) -> bool:
    return file.name.endswith(".index.json")


def _is_inside(name: str) -> bool:
    """Whether a relative name stays in its folder, on any system."""
    return all(
        not path.is_absolute() and not path.drive and ".." not in path.parts
        for path in (PurePosixPath(name), PureWindowsPath(name))
    )


def read_header(file: Path) -> dict[str, TensorHeader]:
    """The tensors of a safetensors file by name, once its size is what they need. Raises BrokenFile.

    The format: 8 bytes, little-endian, with the header's length; the header in JSON; the tensors up to the end.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            prefix = opened.read(_LENGTH_BYTES)
            length = int.from_bytes(prefix, "little")
            if prefix.startswith(b"version "):
                raise BrokenFile(file, "is a git-lfs pointer, not the weights", "Run: git lfs pull")
            if len(prefix) < _LENGTH_BYTES or length > min(MAX_HEADER_BYTES, size - _LENGTH_BYTES):
                raise BrokenFile(file, f"is truncated or not a safetensors file ({size:,} bytes)")
            header = opened.read(length)
    except OSError as error:
        raise BrokenFile(file, f"cannot be read: {error}") from error
    try:
        entries = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        tensors = {name: _tensor(entry) for name, entry in entries.items()}
        data_bytes = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    except RecursionError:
        raise BrokenFile(file, "has a broken header: it is nested too deeply") from None
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise BrokenFile(file, f"has a broken header: {error}") from error
    expected = _LENGTH_BYTES + length + data_bytes
    if size != expected:
        raise BrokenFile(file, f"is truncated: {size:,} bytes of {expected:,}")
    return tensors


def _tensor(entry: Any) -> TensorHeader:
    (start, end), shape = entry["data_offsets"], entry["shape"]
    if not all(type(number) is int and number >= 0 for number in (start, end, end - start, *shape)):
        raise ValueError(f"data_offsets {entry['data_offsets']!r} with shape {shape!r} are no sizes")
    return TensorHeader(str(entry["dtype"]), tuple(shape), end - start)
