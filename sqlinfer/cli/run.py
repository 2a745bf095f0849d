"""`sqlinfer run`: the statements of files, in order, on one session, as one job."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from sqlinfer.cli.mlflow import mlflow_option, recorded
from sqlinfer.cli.option_groups import GroupedCommand
from sqlinfer.cli.progress import Watch, quiet_option
from sqlinfer.cli.results import FORMATS, Format, Results
from sqlinfer.cli.state import (
    SqlText,
    job_options,
    open_session,
    read_scripts,
    script_arguments,
    session_options,
    take_job_settings,
)
from sqlinfer.cli.stop import stop_message, stopping
from sqlinfer.cli.tables import echo_json
from sqlinfer.errors import Interrupted
from sqlinfer.units import amount_of, count, counted, duration

if TYPE_CHECKING:
    from sqlinfer.inference.runner import JobRunner
    from sqlinfer.sql import Session


@click.command(cls=GroupedCommand)
@script_arguments
@session_options
@click.option("--format", "format_", type=click.Choice(FORMATS), default="table", help="Output format of rows.")
@click.option("--json", "as_json", is_flag=True, help="Print the job's counts as JSON on the last line of stdout.")
@click.option("--allow-download", is_flag=True, help="Download models that the SQL refers to by hub id.")
@click.option("--no-store", is_flag=True, help="Discard the answers after the run.")
@click.option("--retry-failed", is_flag=True, help="Run only the requests that failed in earlier jobs.")
@mlflow_option
@quiet_option
@job_options
def run(files: tuple[str, ...], sql: str | None, format_: Format, as_json: bool, **options: Any) -> None:
    """Run SQL files, or the SQL of -c, and print the rows of their queries.

    Identical requests are sent to the model only once: answers are cached as they finish, and a stopped run resumes
    when it is started again. FILE may be - for standard input.

    \b
    sqlinfer run query.sql
    sqlinfer run -c "SELECT ai_sentiment('so good')"
    sqlinfer run load.sql summarize.sql --db news.duckdb --model short@champion
    sqlinfer run examples/sql/summarize_bills.sql --set bills=bills.csv --format csv > summaries.csv
    """
    if as_json and format_ == "parquet":
        raise click.UsageError(
            "--json and --format parquet both write to stdout; `sqlinfer jobs list` shows the counts too."
        )
    results = Results(format_)
    job_settings = take_job_settings(options)
    no_store, retry_failed, quiet = (options.pop(name) for name in ("no_store", "retry_failed", "quiet"))
    to_mlflow = options.pop("to_mlflow")
    scripts = read_scripts(files, sql)
    settings = {**options, "files": list(files)}
    with open_session(options, scripts, not no_store, job_settings, options["allow_download"]) as session:
        only = None
        if retry_failed:
            only = session.runtime.store.jobs.failed_keys()
            session.runtime.store.answers.forget_unusable()
        watch, text = Watch(quiet), "\n".join(script.text for script in scripts)
        words = shlex.join(files if sql is None else ("-c", sql))
        hint = f"sqlinfer run {words} --retry-failed, with the options of this run"
        recording = session.job(text, settings, show_progress=watch, retry_hint=hint, only=only)
        mlflow_run, closing_line = recorded(session, to_mlflow), _closing_line(session, quiet)
        with mlflow_run, closing_line, stopping(lambda: [session]) as is_stopped, recording as job:
            _run(session, scripts, results, watch, is_stopped)
        if as_json:
            echo_json({"job": job.job_id, **job.counts.as_dict(), "seconds": round(job.counts.seconds, 3)})


@contextmanager
def _closing_line(session: Session, quiet: bool) -> Iterator[None]:
    """Say on stderr how a run ended. quiet: only if it was stopped."""
    runner = session.evaluator.runner
    try:
        yield
    except (Interrupted, KeyboardInterrupt):
        raise Interrupted(stop_message(runner.last_job_id, runner.job.counts)) from None
    except BaseException:
        if runner.job.counts.requests and not quiet:
            _close(runner)
        raise
    if not quiet:
        _close(runner)


def _run(
    session: Session, scripts: list[SqlText], results: Results, watch: Watch, is_stopped: Callable[[], bool]
) -> None:
    """Run the statements of all scripts."""
    from sqlinfer.sql.parsing.split_statements import split_with_lines

    for script in scripts:
        for line, statement in split_with_lines(script.text):
            with _placed(f"{script.name}, line {line}", is_stopped):
                _run_statement(session, statement, results, watch)


@contextmanager
def _placed(position: str, is_stopped: Callable[[], bool]) -> Iterator[None]:
    """Note on an error which statement raised it; after a stop every error counts as the stop."""
    try:
        yield
    except Exception as error:
        if is_stopped():
            raise Interrupted from error
        error.add_note(position)
        raise
    if is_stopped():
        raise Interrupted


def _run_statement(session: Session, statement: str, results: Results, watch: Watch) -> None:
    """Run one statement; its answers are computed before the first row is printed."""
    from sqlinfer.sql.error_translation import translated

    with translated(session.evaluator):
        with watch.showing():
            rows = session.rows(statement)
        if rows is not None:
            results.write(rows)


def _close(runner: JobRunner) -> None:
    """The closing line."""
    counts = runner.job.counts
    cost = f", ${amount_of(counts.cost)}" if counts.cost else ""
    click.echo(
        f"job {runner.last_job_id}: {count(counts.rows, 'row')}, {counted(counts)}; "
        f"{counts.prompt_tokens:,} + {counts.completion_tokens:,} tokens in {duration(counts.seconds)}{cost}",
        err=True,
    )
