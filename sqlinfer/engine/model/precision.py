"""The dtype that a model runs in on this machine: the requested one, if a self-test finds its matmuls right and fast;
else float32.

A processor's name and flags do not tell: oneDNN, torch and the environment matter too. Each sort of matmul is tested
once a process, so that all its models are treated alike. Knows no weights.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from time import perf_counter
from typing import Any

import torch

from sqlinfer.engine.cache.padded_cache import has_plain_cache
from sqlinfer.engine.model.cpu_linear import Int8Linear, Layer, PackedLinear, multiplies_int8
from sqlinfer.errors import ModelUnusable, nearest
from sqlinfer.types import DTYPES, ModelVersion

logger = logging.getLogger(__name__)
OVERFLOWS_IN_FP16 = ("t5", "mt5", "umt5", "longt5", "switch_transformers", "pop2piano")
ROWS, FEATURES = 64, 512  # of the matmuls of the self-test
MAX_ERROR = 0.05  # of a matmul, relative to its norm
TIMED_PAIRS = 8  # of matmuls; the fastest count, which other programs disturb least
HOPELESS_SLOWDOWN = 4.0  # few pairs show it
MAX_SLOWDOWN = 1.5  # compared with float32, for a dtype that saves memory
MAX_SLOWDOWN_INT8 = 1.0  # int8 exists for its speed
_lock = threading.RLock()
_faults: dict[tuple[Layer | None, torch.dtype, torch.device], str] = {}


@dataclass(frozen=True, slots=True)
class Precision:
    """How a model runs.

    name: one of DTYPES other than "auto".
    dtype: of weights and hidden states.
    body: replaces the linear layers but for those of the head; None: they stay.
    head: replaces the linear layers that choose tokens and labels; None: they stay.
    notice: why this is not the requested dtype, to follow the model's name; "" if it is.
    """

    name: str
    dtype: torch.dtype
    body: Layer | None
    head: Layer | None
    notice: str = ""

    def warn(self, version: ModelVersion) -> None:
        """Log the notice, once a process and model."""
        if self.notice:
            _warn_once(f"{version} {self.notice}")


@cache
def _warn_once(message: str) -> None:
    logger.warning(message)


def pick_precision(name: str, device: torch.device, config: Any) -> Precision:
    """How a model of that dtype runs; "auto" is bfloat16 where the hardware supports it, else float32.

    "int8" is float32 with int8 matmuls in linear layers. Float32 replaces a dtype that the device lacks, or is slower
    in. Raises ModelUnusable for what no machine does.
    """
    is_plain = has_plain_cache(config)
    _check(name, device, config.model_type, is_plain)
    can_pack = device.type == "cpu" and is_plain
    if name == "auto":
        best = "bfloat16" if _supports_bfloat16(device) else "float32"
        return replace(pick_precision(best, device, config), notice="")
    layer = _float32_layer(device) if can_pack else None
    float32 = Precision("float32", torch.float32, layer, layer)
    if name == "float32":
        return float32
    if name == "int8":
        fault = find_fault(Int8Linear, torch.float32, device)
        if not fault:
            return replace(float32, name=name, body=Int8Linear)
    else:
        dtype: torch.dtype = getattr(torch, name)
        for layer in (PackedLinear, None) if can_pack else (None,):
            fault = find_fault(layer, dtype, device)
            if not fault:
                return Precision(name, dtype, layer, layer)
    return replace(float32, notice=f"runs in float32, not in {name}: {name} matmuls {fault}")


def _check(name: str, device: torch.device, model_type: str, is_plain: bool) -> None:
    if name not in DTYPES:
        raise ModelUnusable(f"Unknown dtype {name!r}. {nearest(name, DTYPES)}")
    if name == "float16" and model_type in OVERFLOWS_IN_FP16:
        raise ModelUnusable(f"A {model_type} model overflows in float16. Use bfloat16 or float32.")
    if name == "int8" and device.type != "cpu":
        raise ModelUnusable(f"int8 is for the CPU; on {device} use bfloat16.")
    if name == "int8" and not is_plain:
        problem = "has states besides the KV cache and cannot run in int8"
        raise ModelUnusable(f"A {model_type} model {problem}. Use bfloat16 or float32.")


def _supports_bfloat16(device: torch.device) -> bool:
    """By capability and not by timing alone: the answers must not depend on how busy the machine is."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    probes = [getattr(torch.cpu, n, None) for n in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return any(probe() for probe in probes if probe is not None)


def _float32_layer(device: torch.device) -> Layer | None:
    return None if find_fault(PackedLinear, torch.float32, device) else PackedLinear


def find_fault(layer: Layer | None, dtype: torch.dtype, device: torch.device) -> str:
    """What is wrong with the matmuls of a layer with weights of a dtype, to follow "matmuls"; "" for nothing.

    layer: None for torch's own. Each is tested once; later calls get the same.
    """
    key = layer, dtype, device
    with _lock:
        if key not in _faults:
            is_timed = device.type == "cpu" and (dtype is not torch.float32 or layer is Int8Linear)
            baseline = _float32_layer(device) or PlainLinear if is_timed else None  # a GPU's first matmuls are slow
            _faults[key] = _on_one_thread(lambda: _run_self_test(layer or PlainLinear, dtype, device, baseline))
        return _faults[key]


def _on_one_thread(run: Callable[[], str]) -> str:
    """Call it where torch uses one thread: of several the slowest counts, and on a busy machine that may be any."""
    count = torch.get_num_threads()
    with ThreadPoolExecutor(1) as executor:
        executor.submit(torch.get_num_threads).result()  # or its first matmul would reset the count
        executor.submit(torch.set_num_threads, 1).result()
        torch.set_num_threads(count)  # for threads to come; each has its own
        return executor.submit(run).result()


class PlainLinear:
    """torch's own linear, without its module."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.weight, self.bias = weight, bias

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(states, self.weight, self.bias)


@torch.inference_mode()
def _run_self_test(
    layer: Callable[..., Any], dtype: torch.dtype, device: torch.device, baseline: Callable[..., Any] | None
) -> str:
    """The fault that matmuls of random numbers show. baseline: the float32 layer to be as fast as, if any."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(ROWS, FEATURES, generator=generator)
    weight = torch.randn(FEATURES, FEATURES, generator=generator)
    expected = states @ weight.T
    inputs = states.to(device, dtype)
    try:
        tested = layer(weight.to(device, dtype), None)
        error_norm = (tested(inputs).cpu().float() - expected).norm() / expected.norm()
    except Exception as error:  # noqa: BLE001 - what a machine lacks may raise anything
        return f"fail here ({str(error).partition(chr(10))[0][:200]})"
    if not error_norm < MAX_ERROR or (layer is Int8Linear and not multiplies_int8()):
        return "are wrong here"
    if baseline is None:
        return ""
    float32 = baseline(weight, None)
    slowdown = _measure_slowdown(lambda: tested(inputs), lambda: float32(states))
    limit = MAX_SLOWDOWN_INT8 if layer is Int8Linear else MAX_SLOWDOWN
    return f"take {slowdown:.1f} times as long here" if slowdown > limit else ""


def _measure_slowdown(run: Callable[[], Any], baseline: Callable[[], Any]) -> float:
    """How many times as long one takes as the other, by the fastest of a few runs of each in turn."""
    run_s, baseline_s = [], []
    for pair in range(1, TIMED_PAIRS + 1):
        run_s.append(_seconds(run))
        baseline_s.append(_seconds(baseline))
        slowdown = min(run_s) / max(min(baseline_s), 1e-9)
        if pair == 3 and slowdown > HOPELESS_SLOWDOWN:
            break
    return slowdown


def _seconds(run: Callable[[], Any]) -> float:
    start_s = perf_counter()
    run()
    return perf_counter() - start_s
