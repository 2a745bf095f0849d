"""What numbers a model computes in here: those asked for, if a short trial finds their products right and quick; else
float32.

Neither a processor's name nor its flags tell: oneDNN, torch and the environment each have a say. Each kind of product
is tried once in a process, so that all its models are treated alike. Knows no weights.
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
ROWS, FEATURES = 64, 512  # of the products that are tried
RIGHT = 0.05  # how far off a product may be, in shares of its norm
PAIRS = 8  # of products that are timed; the quickest count, which other programs disturb least
HOPELESS = 4.0  # times as slow: few pairs tell
SLOW = 1.5  # times as slow as float32, for a dtype that saves memory
SLOW_INT8 = 1.0  # int8 is there for its speed
_lock = threading.RLock()
_faults: dict[tuple[Layer | None, torch.dtype, torch.device], str] = {}


@dataclass(frozen=True, slots=True)
class Precision:
    """name: one of DTYPES, but for "auto". dtype: of weights and states. body, head: what takes the place of linear
    layers, and of those that choose tokens and labels; None: they stay. notice: why this is not what was asked for, to
    be said after a model's name; "" if it is."""

    name: str
    dtype: torch.dtype
    body: Layer | None
    head: Layer | None
    notice: str = ""

    def tell(self, version: ModelVersion) -> None:
        """Log the notice, once a process and model."""
        if self.notice:
            _say(f"{version} {self.notice}")


@cache
def _say(word: str) -> None:
    logger.warning(word)


def pick_precision(name: str, device: torch.device, config: Any) -> Precision:
    """How a model of that dtype runs; "auto" is bfloat16 where the hardware computes in it, else float32.

    "int8" is float32, of whose matrix products those of weights are made in int8. What the device lacks, or does more
    slowly than float32, is float32. Raises ModelUnusable for what no machine does.
    """
    is_plain = has_plain_cache(config)
    _check(name, device, config.model_type, is_plain)
    can_pack = device.type == "cpu" and is_plain
    if name == "auto":
        wanted = "bfloat16" if _computes_in_bfloat16(device) else "float32"
        return replace(pick_precision(wanted, device, config), notice="")
    layer = _float32_layer(device) if can_pack else None
    single = Precision("float32", torch.float32, layer, layer)
    if name == "float32":
        return single
    if name == "int8":
        fault = find_fault(Int8Linear, torch.float32, device)
        if not fault:
            return replace(single, name=name, body=Int8Linear)
    else:
        dtype: torch.dtype = getattr(torch, name)
        for layer in (PackedLinear, None) if can_pack else (None,):
            fault = find_fault(layer, dtype, device)
            if not fault:
                return Precision(name, dtype, layer, layer)
    return replace(single, notice=f"runs in float32, not in {name}: products of {name} {fault}")


def _check(name: str, device: torch.device, model_type: str, is_plain: bool) -> None:
    if name not in DTYPES:
        raise ModelUnusable(f"Unknown dtype {name!r}. {nearest(name, DTYPES)}")
    if name == "float16" and model_type in OVERFLOWS_IN_FP16:
        raise ModelUnusable(f"A {model_type} model overflows in float16. Use bfloat16 or float32.")
    if name == "int8" and device.type != "cpu":
        raise ModelUnusable(f"int8 is for the CPU; on {device} use bfloat16.")
    if name == "int8" and not is_plain:
        what = "keeps states other than keys and values and cannot run in int8"
        raise ModelUnusable(f"A {model_type} model {what}. Use bfloat16 or float32.")


def _computes_in_bfloat16(device: torch.device) -> bool:
    """By capability and not by a timing alone: the answers must not depend on how busy the machine is."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    probes = [getattr(torch.cpu, n, None) for n in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return any(probe() for probe in probes if probe is not None)


def _float32_layer(device: torch.device) -> Layer | None:
    return None if find_fault(PackedLinear, torch.float32, device) else PackedLinear


def find_fault(layer: Layer | None, dtype: torch.dtype, device: torch.device) -> str:
    """What speaks against products of a layer with weights of a dtype, to be said after "products"; "" if nothing does.

    layer: None for torch's own. Each is tried once; later calls get the same.
    """
    key = layer, dtype, device
    with _lock:
        if key not in _faults:
            is_timed = device.type == "cpu" and (dtype is not torch.float32 or layer is Int8Linear)
            single = _float32_layer(device) or _Plain if is_timed else None  # elsewhere first products take long
            _faults[key] = _on_one_thread(lambda: _try_out(layer or _Plain, dtype, device, single))
        return _faults[key]


def _on_one_thread(run: Callable[[], str]) -> str:
    """Call it where torch uses one thread: of several the last counts, and on a busy machine that may be any."""
    count = torch.get_num_threads()
    with ThreadPoolExecutor(1) as beside:
        beside.submit(torch.get_num_threads).result()  # or its first product would set the count anew
        beside.submit(torch.set_num_threads, 1).result()
        torch.set_num_threads(count)  # for threads to come; each has its own
        return beside.submit(run).result()


class _Plain:
    """torch's own product."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.weight, self.bias = weight, bias

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(states, self.weight, self.bias)


@torch.inference_mode()
def _try_out(
    layer: Callable[..., Any], dtype: torch.dtype, device: torch.device, single: Callable[..., Any] | None
) -> str:
    """Find a fault by products of random numbers. single: the layer in float32 that must not be quicker, if any."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(ROWS, FEATURES, generator=generator)
    weight = torch.randn(FEATURES, FEATURES, generator=generator)
    expected = states @ weight.T
    given = states.to(device, dtype)
    try:
        product = layer(weight.to(device, dtype), None)
        off = (product(given).cpu().float() - expected).norm() / expected.norm()
    except Exception as error:  # noqa: BLE001 - what a machine lacks may raise anything
        return f"fail here ({str(error).partition(chr(10))[0][:200]})"
    if not off < RIGHT or (layer is Int8Linear and not multiplies_int8()):
        return "are wrong here"
    if single is None:
        return ""
    other = single(weight, None)
    times = _times_as_long(lambda: product(given), lambda: other(states))
    return f"take {times:.1f} times as long here" if times > (SLOW_INT8 if layer is Int8Linear else SLOW) else ""


def _times_as_long(run: Callable[[], Any], other: Callable[[], Any]) -> float:
    """How many times as long one takes as another, by the quickest of a few runs of each in turn."""
    took_s, other_s = [], []
    for pair in range(1, PAIRS + 1):
        took_s.append(_seconds(run))
        other_s.append(_seconds(other))
        times = min(took_s) / max(min(other_s), 1e-9)
        if pair == 3 and times > HOPELESS:
            break
    return times


def _seconds(run: Callable[[], Any]) -> float:
    start_s = perf_counter()
    run()
    return perf_counter() - start_s
