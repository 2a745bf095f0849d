"""`sqlinfer jobs`: what ran, how it ended, and which rows failed."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from sqlinfer.cli.state import open_store
from sqlinfer.cli.tables import echo_facts, echo_json, echo_table

if TYPE_CHECKING:
    from sqlinfer.store import Job

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_COUNTS = ("rows", "requests", "known", "generated", "failed")
_STATEMENT_WIDTH = 40
_WATCH_S = 1.0


@click.group()
def jobs() -> None:
    """Look at what ran, and at what is running.

    \b
    sqlinfer jobs list
    sqlinfer jobs watch 3
    sqlinfer jobs errors 3
    """


@jobs.command("list")
@click.option("--limit", default=20, show_default=True, help="How many, newest first; -1 is all.")
@_json_option
def list_(limit: int, as_json: bool) -> None:
    """List the last jobs, newest first.

    \b
    sqlinfer jobs list --limit 5
    """
    with open_store() as store:
        shown_jobs = store.jobs.list(limit)
    if as_json:
        echo_json([_facts(job) for job in shown_jobs])
        return
    rows = []
    for job in shown_jobs:
        statement = " ".join(job.statement.split())
        shown = statement if len(statement) <= _STATEMENT_WIDTH else statement[: _STATEMENT_WIDTH - 3] + "..."
        counts = [getattr(job, name) for name in _COUNTS]
        rows.append([job.job_id, job.state, *counts, round(job.seconds, 1), shown])
    echo_table(["job", "state", *_COUNTS, "seconds", "statement"], rows)


@jobs.command()
@click.argument("job_id", metavar="ID", type=int)
@_json_option
def show(job_id: int, as_json: bool) -> None:
    """Show one job: statement, state, models, settings, counts.

    \b
    sqlinfer jobs show 3 --json
    """
    with open_store() as store:
        facts = _facts(store.jobs.show(job_id))
    if as_json:
        echo_json(facts)
    else:
        echo_facts(facts)


@jobs.command()
@click.argument("job_id", metavar="ID", type=int)
def watch(job_id: int) -> None:
    """Follow a job of another process until it ends; Ctrl-C ends the watching and not the job.

    \b
    sqlinfer jobs watch 3
    """
    from sqlinfer.inference.progress import progress_line, wipe

    on_terminal, shown = sys.stdout.isatty(), ""
    with open_store() as store:
        while (job := store.jobs.show(job_id)).state == "running":
            line = progress_line(job, job.seconds)
            if on_terminal:
                wipe(sys.stdout)
                click.echo(line[: shutil.get_terminal_size().columns - 1], nl=False)
            elif line != shown:
                click.echo(line)
            shown = line
            time.sleep(_WATCH_S)
    if on_terminal and shown:
        wipe(sys.stdout)
    click.echo(
        f"job {job.job_id} is {job.state}: {job.rows:,} rows, {job.requests:,} requests: {job.known:,} known, "
        f"{job.generated:,} generated, {job.failed:,} failed; {job.prompt_tokens:,} + {job.completion_tokens:,} tokens "
        f"in {job.seconds:.1f} s"
    )


@jobs.command()
@click.argument("job_id", metavar="ID", type=int)
@_json_option
def errors(job_id: int, as_json: bool) -> None:
    """List the requests of a job that got no answer, and why.

    \b
    sqlinfer jobs errors 3
    """
    with open_store() as store:
        store.jobs.show(job_id)
        failed_requests = store.jobs.errors(job_id)
    if as_json:
        echo_json([asdict(error) for error in failed_requests])
    else:
        echo_table(
            ["function", "model", "text", "error"],
            [[e.function, e.model, e.excerpt, e.message] for e in failed_requests],
        )


def _facts(job: Job) -> dict[str, Any]:
    facts = asdict(job)
    for name in ("started", "ended"):
        if facts[name] is not None:
            facts[name] = datetime.fromtimestamp(facts[name], UTC).isoformat(timespec="seconds")
    return {"job": facts.pop("job_id"), **facts, "seconds": round(job.seconds, 3)}
