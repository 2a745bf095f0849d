"""What a model will need of the device's memory, estimated from the headers of its files: no weights are read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlinfer.engine.model.device import cache_bytes_per_token, free_memory, pick_device
from sqlinfer.engine.model.model_kind import find_media
from sqlinfer.engine.model.weights import load_config, read_headers
from sqlinfer.model_files import TensorHeader
from sqlinfer.types import ModelVersion

if TYPE_CHECKING:
    import torch

_OVERHEAD = 1.1
"""Times the weights: activations of one row, and the device's own kernels."""
_FLOATS = {"F64", "F32", "F16", "BF16"}


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """What a model needs, and what there is.

    device, dtype: as the model will run.
    weights_bytes: of its weights.
    row_bytes: of the KV cache of one row.
    free_bytes: of the device now; batches fill what the weights leave.
    """

    device: str
    dtype: str
    weights_bytes: int
    row_bytes: int
    free_bytes: int

    @property
    def bytes(self) -> int:
        """The minimum for the model to run: its weights, and one row at a time."""
        return round(self.weights_bytes * _OVERHEAD) + self.row_bytes

    @property
    def fits(self) -> bool:
        """Whether the device has that much."""
        return self.bytes <= self.free_bytes


def estimate_memory(version: ModelVersion, num_tokens: int, device: torch.device | None = None) -> MemoryEstimate:
    """What a version needs for a row of so many tokens, prompt and answer together; on the device that models run on,
    if none is given. Raises ModelUnusable."""
    from sqlinfer.engine.model.precision import pick_precision

    config = load_config(version)
    device = device or pick_device()
    precision = pick_precision(version.dtype, device, config)
    precision.warn(version)
    return MemoryEstimate(
        device=str(device),
        dtype=precision.name,
        weights_bytes=_weights_bytes(version, precision.dtype.itemsize),
        row_bytes=cache_bytes_per_token(config, precision.dtype) * num_tokens if find_media(config) != "images" else 0,
        free_bytes=free_memory(device),
    )


def _weights_bytes(version: ModelVersion, itemsize: int) -> int:
    """Bytes of the weights as they are loaded: floating point tensors are cast to the model's dtype."""
    headers = read_headers(version)
    if not headers:
        return sum(file.stat().st_size for file in Path(version.path).glob("pytorch_model*.bin"))
    return sum(_loaded_bytes(tensor, itemsize) for tensor in headers.values())


def _loaded_bytes(tensor: TensorHeader, itemsize: int) -> int:
    return math.prod(tensor.shape) * itemsize if tensor.dtype in _FLOATS else tensor.num_bytes
