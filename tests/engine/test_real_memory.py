"""Memory that the system really refuses, in a process of its own: right answers, or errors of rows."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LIMITED = """
import json, resource
from pathlib import Path
from sqlinfer.engine import open_engine
from sqlinfer.engine import BUILTINS
from sqlinfer.engine.generation_loop import GenerationLoop
from sqlinfer.types import Parameters, Request

engine = open_engine(BUILTINS["sqlinfer/tiny"], device="cpu")
requests = [
    Request(f"{i} " + "word " * 100, parameters=Parameters(max_tokens=8, min_tokens=8), key=bytes([i]))
    for i in range(32)
]
right = {completion.request.key: completion.output for completion in engine.generate(requests)}
refused, preempt = [], GenerationLoop._preempt
GenerationLoop._preempt = lambda loop, admitted: (refused.append(len(loop.scheduler.running)), preempt(loop, admitted))

for left_mb in (128, 48, 16):
    sizes = Path("/proc/self/statm").read_text().split()
    held = int(sizes[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + left_mb * 2**20, resource.RLIM_INFINITY))
    completions = {completion.request.key: completion for completion in engine.generate(requests)}
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(json.dumps({
        "refused": len(refused),
        "right": sum(c.output == right[key] for key, c in completions.items()),
        "failed": sum(c.output is None and "out of memory" in c.error for c in completions.values()),
    }))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the bound of a process's memory is Linux's")
def test_memory_that_the_system_refuses_costs_no_right_answer() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert [outcome["right"] + outcome["failed"] for outcome in outcomes] == [32] * 3
    assert outcomes[-1]["refused"] > 0
    assert any(outcome["right"] for outcome in outcomes)
