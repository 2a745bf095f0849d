"""A model whose dtype this machine lacks answers all the same; one line says what runs, and none if that was asked."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from sqlinfer.engine import close_all
from sqlinfer.engine.model import builtin, precision
from sqlinfer.engine.model.cpu_linear import Int8Linear, PackedLinear
from tests.cli.conftest import Invoke, last_json

Query = Callable[..., str]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int8"])
def test_a_dtype_that_the_machine_lacks_is_said_in_one_line_unless_quiet(
    dtype: str, invoke: Invoke, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu = torch.device("cpu")
    faults = {
        (layer, kind, cpu): "fail here" for layer in (PackedLinear, None) for kind in (torch.bfloat16, torch.half)
    }
    monkeypatch.setattr(precision, "_faults", {**faults, (Int8Linear, torch.float32, cpu): "fail here"})
    monkeypatch.setenv("SQLINFER_DEVICE", "cpu")
    invoke("models", "register", "mine", str(builtin.WEIGHTS / "tiny"), "--dtype", dtype)

    def said(*words: str) -> list[str]:
        close_all()
        precision._warn_once.cache_clear()
        text = query("SELECT ai_gen('The lamp is fine.', max_tokens := 4) AS a")
        return [line for line in invoke(*words, text, "--model", "mine").stderr.splitlines() if "runs in" in line]

    (line,) = said("run", "--no-store")
    assert line == f"mine/1 runs in float32, not in {dtype}: {dtype} matmuls fail here"
    assert said("run", "--no-store", "--quiet") == []
    assert said("explain") == [line]
    (model,) = last_json(invoke("explain", query("SELECT ai_gen('a')"), "--model", "mine", "--json"))["models"]
    assert model["dtype"] == "float32"
    close_all()
