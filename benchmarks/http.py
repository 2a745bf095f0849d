"""Clients of OpenAI's API beside the engine itself, on the same requests: tokens a second, and time to the first piece.

Usage: python -m benchmarks http [--model tiny] [--rows 256] [--clients 64] [--rounds 3]. The server is a process of its
own, and shares the machine with the clients, which are threads of this one. Server and engine run in turn, and must
write the same. Beside the clock's speed stand the processor's seconds of the server, and of the engine alone, which
other work on the machine disturbs less. Prints a summary, then one line of JSON. Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from openai import OpenAI

from benchmarks import _engine_model as model
from sqlinfer.backends import open_engine
from sqlinfer.engine import BUILTINS
from sqlinfer.store import Store
from sqlinfer.types import ModelVersion, Parameters, Request

MODELS = {"tiny": "sqlinfer/tiny", "135m": "smollm2-135m"}
MOST_TOKENS = 64


def main(argv: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks http", description=__doc__)
    parser.add_argument("--model", choices=MODELS, default="tiny")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    if os.environ.get("OMP_WAIT_POLICY") != "passive":  # as the server has it; read when torch is loaded
        command = [sys.executable, "-m", "benchmarks", "http", *argv]
        os.execve(sys.executable, command, {**os.environ, "OMP_WAIT_POLICY": "passive"})
    prompts = [f"Summarize: {request.text}" for request in model.distinct(options.rows).requests]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SQLINFER_HOME"] = folder
        version = _version(options.model, Path(folder))
        with _serving() as (address, pid), ExitStack() as stack:
            clients: SimpleQueue[OpenAI] = SimpleQueue()
            for _ in range(options.clients):
                clients.put(stack.enter_context(OpenAI(base_url=address, api_key="none", timeout=3600)))
            results = _measure(version, prompts, clients, pid, options)
    speed = results["api"]["tokens_per_s"] / results["engine"]["tokens_per_s"]
    processor = results["engine"]["processor_s"] / results["api"]["processor_s"]
    print(f"{options.model}, {options.rows} rows, {options.clients} clients: engine {results['engine']}")
    print(f"API {results['api']}, streamed {results['streamed']}: {speed:.2f} of the engine's speed")
    print(f"by the processor's seconds, without the clients: {processor:.2f} of the engine's speed")
    print(
        json.dumps(
            {
                "model": options.model,
                **results,
                "api_to_engine_speed": round(speed, 2),
                "by_processor": round(processor, 2),
            }
        )
    )


def _measure(
    version: ModelVersion, prompts: list[str], clients: SimpleQueue[OpenAI], pid: int, options: Any
) -> dict[str, Any]:
    engine = open_engine(version)
    parameters = Parameters(max_tokens=MOST_TOKENS)
    requests = [Request(prompt, parameters=parameters, key=str(i).encode()) for i, prompt in enumerate(prompts)]
    rates: dict[str, list[float]] = {"engine": [], "api": [], "streamed": []}
    processor_s: dict[str, list[float]] = {"engine": [], "api": [], "streamed": []}
    first_s: list[float] = []

    def ask(prompt: str) -> tuple[str, int]:
        client = clients.get()
        answer = client.chat.completions.create(**_call(version, prompt))
        clients.put(client)
        return str(answer.choices[0].message.content), answer.usage.completion_tokens

    def stream(prompt: str) -> tuple[str, int]:
        client, started_s, pieces, num_tokens = clients.get(), time.perf_counter(), [], 0
        for chunk in client.chat.completions.create(
            **_call(version, prompt), stream=True, stream_options={"include_usage": True}
        ):
            if not pieces:
                first_s.append(time.perf_counter() - started_s)
            pieces += [choice.delta.content for choice in chunk.choices]
            num_tokens = chunk.usage.completion_tokens if chunk.usage else 0
        clients.put(client)
        return "".join(pieces), num_tokens

    def write() -> list[tuple[str, int]]:
        completions = sorted(engine.generate(requests), key=lambda completion: int(completion.request.key))
        return [(str(completion.output), completion.completion_tokens) for completion in completions]

    with ThreadPoolExecutor(options.clients) as pool:
        ways = {
            "engine": write,
            "api": lambda: list(pool.map(ask, prompts)),
            "streamed": lambda: list(pool.map(stream, prompts)),
        }
        expected, *_ = [way() for way in ways.values()]  # loads the weights here and there
        first_s.clear()
        for _ in range(options.rounds):
            for name, way in ways.items():
                worker = os.getpid() if name == "engine" else pid
                used_s, started_s = _processor_s(worker), time.perf_counter()
                answers = way()
                processor_s[name].append(_processor_s(worker) - used_s)
                rates[name].append(sum(count for _, count in answers) / (time.perf_counter() - started_s))
                if answers != expected:
                    raise SystemExit(f"{name} writes other answers than the engine")
    results: dict[str, Any] = {
        name: {
            "tokens_per_s": round(statistics.median(rate)),
            "processor_s": round(statistics.median(processor_s[name]), 2),
        }
        for name, rate in rates.items()
    }
    tenths = statistics.quantiles(first_s, n=10)
    results["streamed"] |= {"first_piece_s": {"median": round(tenths[4], 3), "p90": round(tenths[8], 3)}}
    return results


def _processor_s(pid: int) -> float:
    """Seconds that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _call(version: ModelVersion, prompt: str) -> dict[str, Any]:
    return {"model": version.name, "messages": [{"role": "user", "content": prompt}], "max_tokens": MOST_TOKENS}


def _version(name: str, folder: Path) -> ModelVersion:
    """The model; one of random weights is registered first."""
    with Store(builtins=BUILTINS) as store:
        if name == "tiny":
            return store.registry.get(MODELS[name])
        model.build_published(*model.PUBLISHED[MODELS[name]], folder / name, writes_text=True)
        return store.registry.register(name, str(folder / name), dtype="float32")


@contextmanager
def _serving() -> Iterator[tuple[str, int]]:
    """The base URL of a server in a process of its own, and the number of that."""
    command = [sys.executable, "-m", "sqlinfer", "serve", "--http", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        addresses = (re.search(r"http://\S+", line) for line in process.stderr)
        try:
            yield next(address[0] for address in addresses if address), process.pid
        finally:
            process.send_signal(signal.SIGTERM)
