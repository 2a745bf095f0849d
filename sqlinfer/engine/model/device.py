"""What the machine offers: device, dtype, memory; loads torch when asked."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlinfer.errors import ModelUnusable, SqlinferError, nearest
from sqlinfer.types import DTYPES

if TYPE_CHECKING:
    import torch

OVERFLOWS_IN_FP16 = ("t5", "mt5", "umt5", "longt5", "switch_transformers", "pop2piano")
OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cublas_status_alloc_failed",
    "could not create a primitive",  # what oneDNN says when the system gives it none
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


def pick_dtype(name: str, device: torch.device, model_type: str) -> torch.dtype:
    """What a model of that dtype is loaded in; "auto" is bfloat16 where the hardware computes in it, else float32.

    "int8" is float32, of whose matrix products those of weights are made in int8.
    """
    import torch

    if name not in DTYPES:
        raise ModelUnusable(f"Unknown dtype {name!r}. {nearest(name, DTYPES)}")
    if name == "float16" and model_type in OVERFLOWS_IN_FP16:
        raise ModelUnusable(f"A {model_type} model overflows in float16. Use bfloat16 or float32.")
    if name == "int8":
        _check_int8(device)
        name = "float32"
    if name == "auto":
        name = "bfloat16" if _computes_in_bfloat16(device) else "float32"
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def _check_int8(device: torch.device) -> None:
    from sqlinfer.engine.model.cpu_linear import multiplies_int8

    if device.type != "cpu":
        raise ModelUnusable(f"int8 is for the CPU; on {device} use bfloat16.")
    if not multiplies_int8():
        raise ModelUnusable("This processor's products of int8 are not exact. Use bfloat16 or float32.")


def _computes_in_bfloat16(device: torch.device) -> bool:
    """By capability and not by a timing: the answers must not depend on how busy the machine is."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    probes = [getattr(torch.cpu, n, None) for n in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return any(probe() for probe in probes if probe is not None)


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
    """Of the keys and values that one token keeps in all layers."""
    text = config.get_text_config(decoder=True)
    heads = getattr(text, "num_attention_heads", None) or 1
    key_heads = getattr(text, "num_key_value_heads", None) or heads
    head_dim = getattr(text, "head_dim", None) or getattr(text, "d_kv", None) or text.hidden_size // heads
    return 2 * int(text.num_hidden_layers) * int(key_heads) * int(head_dim) * dtype.itemsize


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on any device."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(phrase in text for phrase in OUT_OF_MEMORY)


def peak_memory() -> dict[str, int]:
    """Most bytes that this process has held so far: peak_memory_bytes of the machine, peak_device_bytes of the GPU."""
    try:
        import resource
    except ImportError:  # Windows
        machine = 0
    else:
        machine = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    torch = sys.modules.get("torch")  # what has not loaded torch holds nothing on a device
    on_gpu = torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()
    return {
        "peak_memory_bytes": machine,
        "peak_device_bytes": int(torch.cuda.max_memory_allocated()) if torch is not None and on_gpu else 0,
    }


def release_memory(device: torch.device) -> None:
    """Give cached blocks back to the device."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
