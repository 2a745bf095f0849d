"""`sqlinfer jobs`: what ran, how it ended, and which rows failed."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, get_args

import click

from sqlinfer.cli.state import open_store
from sqlinfer.cli.tables import echo_facts, echo_json, echo_table, json_option, to_text
from sqlinfer.store.jobs import JobState
from sqlinfer.units import amount_of, count, counted, duration, moment, size

if TYPE_CHECKING:
    from sqlinfer.store import JobRecord

_STATEMENT_WIDTH = 60
_WATCH_S = 1.0
_AGES = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@click.group()
def jobs() -> None:
    """Show finished and running jobs.

    \b
    sqlinfer jobs list
    sqlinfer jobs watch 3
    sqlinfer jobs errors 3
    """


def _time(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    """The unix time that --since or --before means."""
    if text is None:
        return None
    try:
        if text[-1:] in _AGES:
            return (datetime.now(UTC) - timedelta(**{_AGES[text[-1]]: float(text[:-1])})).timestamp()
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is no date, time or age; write 2026-01-31, '2026-01-31 12:00' or 2h"
        ) from None


@jobs.command("list")
@click.option("--limit", default=20, show_default=True, help="Number of jobs, newest first; -1: all.")
@click.option("--state", type=click.Choice(get_args(JobState)), help="Only jobs in this state.")
@click.option(
    "--since", metavar="TIME", callback=_time, help="Only jobs started since: a date, a time, or 30m, 2h, 7d."
)
@click.option("--model", metavar="NAME", help="Only jobs that used this model: a name, or NAME/VERSION.")
@json_option
def list_(limit: int, state: str | None, since: float | None, model: str | None, as_json: bool) -> None:
    """List the last jobs, newest first.

    \b
    sqlinfer jobs list --limit 5
    sqlinfer jobs list --state failed --since 2h --model short
    """
    with open_store() as store:
        chosen = [
            job
            for job in store.jobs.list(-1 if state or since or model else limit)
            if state in (None, job.state) and job.started >= (since or 0) and (model is None or _uses(job, model))
        ]
    shown_jobs = chosen if limit < 0 else chosen[:limit]
    if as_json:
        echo_json([_facts(job) for job in shown_jobs])
        return
    rows = []
    for job in shown_jobs:
        statement = " ".join(job.statement.split())
        shown = statement if len(statement) <= _STATEMENT_WIDTH else statement[: _STATEMENT_WIDTH - 3] + "..."
        counts = (job.requests, job.generated, job.failed)
        times = (moment(job.started), duration(job.seconds))
        rows.append([job.job_id, job.state, times[0], job.source, "\n".join(job.models), *counts, times[1], shown])
    names = ["job", "state", "started", "source", "model", "requests", "generated", "failed", "time", "statement"]
    echo_table(names, rows)


def _uses(job: JobRecord, model: str) -> bool:
    return any(model in (used, used.rpartition("/")[0]) for used in job.models)


@jobs.command()
@click.argument("job_id", metavar="ID", type=int)
@click.option("--log", "shows_log", is_flag=True, help="Print what the job's scoring scripts printed.")
@json_option
def show(job_id: int, shows_log: bool, as_json: bool) -> None:
    """Show one job: statement, state, models, settings, counts.

    \b
    sqlinfer jobs show 3 --json
    sqlinfer jobs show 3 --log
    """
    with open_store() as store:
        job = store.jobs.show(job_id)
        log_file = store.log_file(job_id)
    if shows_log:
        click.echo(log_file.read_text(encoding="utf-8") if log_file.exists() else "", nl=False)
        return
    if as_json:
        echo_json(_facts(job))
        return
    settings = {name: value for name, value in job.settings.items() if value not in (None, "", {}, [], False)}
    echo_facts(
        {
            "job": job.job_id,
            "state": job.state,
            "started": moment(job.started),
            "ended": None if job.ended is None else moment(job.ended),
            "time": duration(job.seconds),
            "phases": ", ".join(f"{name} {duration(seconds)}" for name, seconds in job.phases.items()),
            "source": job.source,
            "models": ", ".join(job.models),
            "snapshots": "; ".join(f"{model}: {', '.join(texts)}" for model, texts in job.snapshots.items()),
            "written": "; ".join(f"{target} by {', '.join(models)}" for target, models in job.written.items()),
            "rows": f"{job.rows:,}",
            "requests": counted(job),
            "tokens": f"{job.prompt_tokens:,} read, {job.completion_tokens:,} written",
            "cost": f"${amount_of(job.cost)}" if job.cost else None,
            "batch fill": f"{job.batch_fill:.0%}",
            "peak memory": size(job.peak_memory_bytes) if job.peak_memory_bytes else None,
            "peak GPU memory": size(job.peak_device_bytes) if job.peak_device_bytes else None,
            "settings": ", ".join(f"{name}={value}" for name, value in settings.items()),
            "error": job.error,
        }
    )
    click.echo(f"\n{to_text(job.statement)}")


@jobs.command()
@click.argument("job_id", metavar="ID", type=int)
def watch(job_id: int) -> None:
    """Follow a job of another process until it ends. Ctrl-C stops watching, not the job.

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
        f"job {job.job_id} is {job.state}: {count(job.rows, 'row')}, {counted(job)}; {job.prompt_tokens:,} + "
        f"{job.completion_tokens:,} tokens in {duration(job.seconds)}"
    )


@jobs.command()
@click.argument("job_id", metavar="ID", type=int)
@json_option
def errors(job_id: int, as_json: bool) -> None:
    """List the failed requests of a job, and why they failed.

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


@jobs.command()
@click.option(
    "--before", metavar="TIME", callback=_time, help="Only jobs started before: a date, a time, or 30m, 2h, 7d."
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
def clear(before: float | None, yes: bool, as_json: bool) -> None:
    """Delete the record of jobs that have ended, with their errors and logs. Cached answers stay.

    `--retry-failed` then no longer knows which requests failed in them.

    \b
    sqlinfer jobs clear --before 30d --yes
    """
    with open_store() as store:
        if not yes:
            which = "all jobs that have ended" if before is None else f"the jobs that began before {moment(before)}"
            click.confirm(f"Delete {which} in {store.path}?", abort=True, err=True)
        gone = store.jobs.clear(before)
        for job_id in gone:
            store.log_file(job_id).unlink(missing_ok=True)
    if as_json:
        echo_json({"cleared": len(gone)})
    else:
        click.echo(f"{count(len(gone), 'job is', 'jobs are')} deleted.")


def _facts(job: JobRecord) -> dict[str, Any]:
    facts = asdict(job)
    for name in ("started", "ended"):
        if facts[name] is not None:
            facts[name] = datetime.fromtimestamp(facts[name], UTC).isoformat(timespec="seconds")
    return {"job": facts.pop("job_id"), "source": job.source, **facts, "seconds": round(job.seconds, 3)}
