"""The weight files of a model's folder: the shards that an index names, and the headers of safetensors files.

Reads no tensors. Knows no torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

MAX_HEADER_BYTES = 100_000_000
_LENGTH_BYTES = 8


class BrokenWeights(ValueError):
    """A weight file that cannot be used; the message says why, to follow the file's name.

    remedy: what mends it.
    """

    def __init__(self, problem: str, remedy: str = "Download or copy it again.") -> None:
        super().__init__(problem)
        self.remedy = remedy


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


def shard_names(index: Path) -> list[str]:
    """The files that a *.safetensors.index.json names, in order. Raises BrokenWeights."""
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return sorted({str(name) for name in weight_map.values()})
    except (OSError, ValueError) as error:
        raise BrokenWeights(f"cannot be read: {error}") from error
    except (KeyError, AttributeError, TypeError) as error:
        raise BrokenWeights("cannot be read: it holds no JSON object with a weight_map") from error


def read_header(file: Path) -> dict[str, TensorHeader]:
    """The tensors of a safetensors file by name, once its size is what they need. Raises BrokenWeights.

    The format: 8 bytes, little-endian, with the header's length; the header in JSON; the tensors up to the end.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            prefix = opened.read(_LENGTH_BYTES)
            length = int.from_bytes(prefix, "little")
            if prefix.startswith(b"version "):
                raise BrokenWeights("is a pointer of git-lfs and not the weights", "Run: git lfs pull")
            if len(prefix) < _LENGTH_BYTES or length > min(MAX_HEADER_BYTES, size - _LENGTH_BYTES):
                raise BrokenWeights(f"is cut short or no safetensors file ({size:,} bytes)")
            header = opened.read(length)
    except OSError as error:
        raise BrokenWeights(f"cannot be read: {error}") from error
    try:
        entries = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        tensors = {
            name: TensorHeader(entry["dtype"], tuple(entry["shape"]), int(end) - int(start))
            for name, entry in entries.items()
            for start, end in [entry["data_offsets"]]
        }
        data_bytes = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise BrokenWeights(f"has a broken header: {error}") from error
    expected = _LENGTH_BYTES + length + data_bytes
    if size != expected:
        raise BrokenWeights(f"is cut short: {size:,} bytes of {expected:,}")
    return tensors
