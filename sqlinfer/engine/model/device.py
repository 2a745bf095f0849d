"""What the machine offers: device and memory; loads torch when asked."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlinfer.errors import SqlinferError

if TYPE_CHECKING:
    import torch

OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cublas_status_alloc_failed",
    "could not create a primitive",  # of oneDNN, when the system gives it none
)
FALLBACK_MEMORY = 4 << 30


def pick_device(name: str | None = None) -> torch.device:
    """The device of that name ("cuda:1", "cpu"), else of SQLINFER_DEVICE, else the fastest one there is."""
    import torch

    name = name or os.environ.get("SQLINFER_DEVICE") or "auto"
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SqlinferError(f"Device {name!r} cannot be used: {error}. Try SQLINFER_DEVICE=cpu.") from error
    return device


def free_memory(device: torch.device) -> int:
    """Bytes that can be allocated on the device, about."""
    import torch

    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + cached)
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return FALLBACK_MEMORY


def cache_bytes_per_token(config: Any, dtype: torch.dtype) -> int:
    """Bytes of one token's keys and values in all layers."""
    text = config.get_text_config(decoder=True)
    heads = getattr(text, "num_attention_heads", None) or 1
    kv_heads = getattr(text, "num_key_value_heads", None) or heads
    head_dim = getattr(text, "head_dim", None) or getattr(text, "d_kv", None) or text.hidden_size // heads
    return 2 * int(text.num_hidden_layers) * int(kv_heads) * int(head_dim) * dtype.itemsize


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on any device."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(phrase in text for phrase in OUT_OF_MEMORY)


def peak_memory() -> dict[str, int]:
    """The most memory that this process has held: peak_memory_bytes of the machine, peak_device_bytes of the GPU."""
    try:
        import resource
    except ImportError:  # Windows
        host_bytes = 0
    else:
        host_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    torch = sys.modules.get("torch")
    if torch is None or getattr(torch.__spec__, "_initializing", False):  # another thread imports it just now
        return {"peak_memory_bytes": host_bytes, "peak_device_bytes": 0}
    on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()
    return {
        "peak_memory_bytes": host_bytes,
        "peak_device_bytes": int(torch.cuda.max_memory_allocated()) if on_gpu else 0,
    }


def release_memory(device: torch.device) -> None:
    """Return cached blocks to the device."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
