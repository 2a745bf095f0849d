"""Laws of the scheduler; no torch."""

from __future__ import annotations

import subprocess
import sys

from sqlinfer.engine.generation_settings import Defaults
from sqlinfer.engine.scheduler import Limits, Scheduler
from sqlinfer.engine.sequence import Sequence
from sqlinfer.types import Parameters, Request

DEFAULTS = Defaults({}, {}, eos=frozenset({0}), context=None, is_encoder_decoder=False)


def sequence(prompt_tokens: int, max_tokens: int = 4) -> Sequence:
    settings = DEFAULTS.resolve(Parameters(max_tokens=max_tokens), "generate")
    prompt = [1] * prompt_tokens
    return Sequence(Request(""), settings, prompt, prompt)


def lengths(rows: list[Sequence]) -> list[int]:
    return [len(row.prompt) for row in rows]


def finish(row: Sequence) -> None:
    row.append(0)


def test_engine_package_loads_no_torch() -> None:
    code = (
        "import sys, sqlinfer.engine, sqlinfer.engine.scheduler\n"
        "bad = {'torch', 'transformers', 'tokenizers', 'duckdb'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_longest_rows_start_first() -> None:
    scheduler = Scheduler(Limits(max_slots=2))
    scheduler.add([sequence(3), sequence(9), sequence(5)])
    assert lengths(scheduler.admit()) == [9, 5]


def test_finished_row_leaves_and_another_takes_its_place() -> None:
    scheduler = Scheduler(Limits(max_slots=2))
    scheduler.add([sequence(n) for n in (9, 8, 7, 6)])
    first, second = scheduler.admit()
    assert scheduler.admit() == []
    finish(second)
    assert scheduler.pop_finished() == [second]
    assert lengths(scheduler.admit()) == [7]
    assert scheduler.running[0] is first


def test_batch_without_refill_runs_to_its_end() -> None:
    scheduler = Scheduler(Limits(max_slots=2, can_refill=False))
    scheduler.add([sequence(n) for n in (9, 8, 7)])
    first, second = scheduler.admit()
    finish(first)
    scheduler.pop_finished()
    assert scheduler.admit() == []
    finish(second)
    scheduler.pop_finished()
    assert lengths(scheduler.admit()) == [7]


def test_refill_waits_until_an_eighth_is_free() -> None:
    scheduler = Scheduler(Limits(max_slots=16))
    scheduler.add([sequence(5) for _ in range(32)])
    rows = scheduler.admit()
    finish(rows[0])
    scheduler.pop_finished()
    assert scheduler.admit() == []
    finish(rows[1])
    scheduler.pop_finished()
    assert len(scheduler.admit()) == 2


def test_token_budget_counts_padding() -> None:
    scheduler = Scheduler(Limits(max_tokens=50))
    scheduler.add([sequence(21), sequence(2), sequence(2)])
    assert lengths(scheduler.admit()) == [21, 2]  # two slots of 25 tokens


def test_row_beyond_the_budget_runs_alone() -> None:
    scheduler = Scheduler(Limits(max_tokens=10))
    scheduler.add([sequence(100), sequence(2)])
    assert lengths(scheduler.admit()) == [100]


def test_prefill_is_bounded() -> None:
    scheduler = Scheduler(Limits(max_prefill_tokens=20))
    scheduler.add([sequence(10) for _ in range(5)])
    assert len(scheduler.admit()) == 2
    assert len(scheduler.admit()) == 2


def test_out_of_memory_halves_the_batch_and_loses_no_row() -> None:
    scheduler = Scheduler(Limits(max_slots=8))
    scheduler.add([sequence(5) for _ in range(8)])
    scheduler.admit()
    scheduler.preempt_and_halve(list(scheduler.running))
    assert scheduler.running == []
    assert len(scheduler.waiting) == 8
    assert len(scheduler.admit()) == 4
