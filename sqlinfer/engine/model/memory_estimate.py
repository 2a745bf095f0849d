"""What a model will need of the device's memory, worked out from its files: no weights are read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlinfer.engine.model.device import cache_bytes_per_token, free_memory, pick_device
from sqlinfer.engine.model.weights import load_config
from sqlinfer.types import ModelVersion

_WORKING = 1.1
"""Times the weights: what a pass of one row and the device's own kernels take besides."""
_FLOATS = {"F64", "F32", "F16", "BF16"}


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """device, dtype: as the model will run. weights_bytes: of its weights. row_bytes: of the cache that one row needs.
    free_bytes: what the device has now; batches take of it what is left."""

    device: str
    dtype: str
    weights_bytes: int
    row_bytes: int
    free_bytes: int

    @property
    def bytes(self) -> int:
        """The least with which the model runs: its weights, and one row at a time."""
        return round(self.weights_bytes * _WORKING) + self.row_bytes

    @property
    def fits(self) -> bool:
        """Whether the device has that much."""
        return self.bytes <= self.free_bytes


def estimate_memory(version: ModelVersion, num_tokens: int) -> MemoryEstimate:
    """What a version needs for a row of so many tokens, prompt and answer together. Raises ModelUnusable."""
    from sqlinfer.engine.model.precision import pick_precision

    config = load_config(version)
    device = pick_device()
    precision = pick_precision(version.dtype, device, config)
    precision.tell(version)
    return MemoryEstimate(
        device=str(device),
        dtype=precision.name,
        weights_bytes=_weights_bytes(Path(version.path), precision.dtype.itemsize),
        row_bytes=cache_bytes_per_token(config, precision.dtype) * num_tokens,
        free_bytes=free_memory(device),
    )


def _weights_bytes(folder: Path, itemsize: int) -> int:
    """Bytes of the weights as they are loaded: floating numbers take the dtype in which the model is."""
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        return sum(file.stat().st_size for file in folder.glob("pytorch_model*.bin"))
    return sum(_bytes(tensor, itemsize) for file in files for tensor in _tensors(file))


def _tensors(file: Path) -> Iterator[dict[str, Any]]:
    """What the header of a safetensors file says of each tensor."""
    with file.open("rb") as opened:
        header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    return (tensor for name, tensor in header.items() if name != "__metadata__")


def _bytes(tensor: dict[str, Any], itemsize: int) -> int:
    start, end = tensor["data_offsets"]
    return math.prod(tensor["shape"]) * itemsize if tensor["dtype"] in _FLOATS else int(end) - int(start)
