"""`sqlinfer explain`: what files would ask, before anything is asked."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from sqlinfer.cli.state import open_session, read_scripts, session_options
from sqlinfer.cli.tables import echo_json, echo_table

if TYPE_CHECKING:
    from sqlinfer.sql.explain import Call, Explanation

_CALL_WIDTH = 36


@click.command()
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, allow_dash=True, dir_okay=False)
)
@session_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def explain(files: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Count what SQL files would ask.

    Counts rows, requests, known answers, tokens and time of each AI call, and says whether the models fit into the
    memory; asks nothing and writes nothing.

    Statements run in a transaction that is rolled back. Calls behind other calls are counted when the answers before
    them are known, so a nested query may ask more than it says here.

    \b
    sqlinfer explain query.sql
    sqlinfer explain query.sql --db news.duckdb --json
    """
    from sqlinfer.sql.explain import explain as explained

    scripts = read_scripts(files)
    with open_session(given, scripts) as session:
        found = explained(session, {script.name: script.text for script in scripts})
    if as_json:
        echo_json(asdict(found))
        return
    _echo(found)


def _echo(found: Explanation) -> None:
    """Print an explanation for people: calls, models, then all in one line."""
    if found.calls:
        names = ["line", "call", "model", "rows", "requests", "known", "prompt tokens", "answer tokens", "seconds"]
        places = {call.place.rpartition(":")[0] for call in found.calls if call.place}
        echo_table(names, [_row(call, is_one_file=len(places) < 2) for call in found.calls])
    for model in found.models:
        verdict = "it fits" if model.fits else "it does not fit: register a smaller model, or free memory"
        click.echo(
            f"{model.model} in {model.dtype} needs {_gb(model.needs_bytes)} on {model.device}, where "
            f"{_gb(model.free_bytes)} are free: {verdict}"
        )
    basis = "from the speed of earlier jobs" if found.measured else "a guess: this model was not measured here yet"
    click.echo(
        f"{found.rows:,} rows, {found.requests:,} requests: {found.known:,} known, "
        f"{found.requests - found.known:,} to ask with {found.prompt_tokens:,} prompt tokens, "
        f"about {found.est_seconds:,.1f} s" + (f" ({basis})" if found.calls else "")
    )


def _row(call: Call, is_one_file: bool) -> list[Any]:
    place = call.place.rpartition(":")[2] if is_one_file else call.place
    text = call.call if len(call.call) <= _CALL_WIDTH else call.call[: _CALL_WIDTH - 3] + "..."
    error = f" ± {call.prompt_tokens_error}" if call.prompt_tokens_error else ""
    return [
        place,
        text,
        call.model or "waits for other answers",
        call.rows,
        call.requests,
        call.known,
        f"{call.prompt_tokens}{error}",
        f"≤ {call.max_completion_tokens}" if call.max_completion_tokens else 0,
        round(call.est_seconds, 1),
    ]


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:,.2f} GB"
