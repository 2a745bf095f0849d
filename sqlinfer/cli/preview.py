"""`sqlinfer preview`: a few requests of each call, with prompt, raw answer and value side by side."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from sqlinfer.cli.option_groups import GroupedCommand
from sqlinfer.cli.state import (
    job_options,
    open_session,
    read_scripts,
    script_arguments,
    session_options,
    take_job_settings,
)
from sqlinfer.cli.stop import stopping
from sqlinfer.cli.tables import echo_blocks, echo_json, to_cell
from sqlinfer.errors import Interrupted


@click.command(cls=GroupedCommand)
@script_arguments
@session_options
@click.option(
    "--rows", default=5, show_default=True, type=click.IntRange(min=1), help="Number of requests of each AI call."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
@job_options
def preview(files: tuple[str, ...], sql: str | None, rows: int, as_json: bool, **options: Any) -> None:
    """Run a few requests of SQL files, and show what the model reads and writes.

    Shows, for a few requests of each AI call, the prompt as the model reads it, the answer as the model wrote it, and
    the value that SQL gets. Statements run in a transaction that is rolled back; answers are cached.

    \b
    sqlinfer preview query.sql --rows 3
    """
    from sqlinfer.sql.explain.preview import preview as previewed

    job_settings = take_job_settings(options)
    scripts = read_scripts(files, sql)
    with (
        open_session(options, scripts, job_settings=job_settings) as session,
        stopping(lambda: [session]) as is_stopped,
    ):
        try:
            shown = previewed(session, {script.name: script.text for script in scripts}, rows)
        except Exception:
            if is_stopped():
                raise Interrupted from None
            raise
    if as_json:
        echo_json([asdict(sample) for sample in shown])
        return
    echo_blocks(
        {
            "call": sample.call,
            "model": sample.model,
            "prompt": sample.prompt,
            "answer": sample.answer or "",
            "value": to_cell(sample.value) if sample.error is None else f"Error: {sample.error}",
        }
        for sample in shown
    )
