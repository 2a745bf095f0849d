"""`sqlinfer explain`: what files would ask, before anything is asked."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from sqlinfer.cli.state import open_session, read_scripts, session_options
from sqlinfer.cli.tables import echo_json, echo_table


@click.command()
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, allow_dash=True, dir_okay=False)
)
@session_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def explain(files: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Count what SQL files would ask.

    Counts requests, known answers, tokens and time; asks nothing and writes nothing.

    Statements run in a transaction that is rolled back. Calls behind other calls are counted when the answers before
    them are known, so a nested query may ask more than it says here.

    \b
    sqlinfer explain query.sql
    sqlinfer explain query.sql --db news.duckdb --json
    """
    from sqlinfer.sql.explain import explain as explained

    scripts = read_scripts(files)
    with open_session(given, scripts) as session:
        found = explained(session, ";\n".join(script.text for script in scripts))
    if as_json:
        echo_json(asdict(found))
        return
    if found.calls:
        echo_table(
            ["function", "model", "requests", "prompt tokens", "answer tokens, at most", "seconds"],
            [
                [c.function, c.model, c.requests, c.prompt_tokens, c.max_completion_tokens, c.est_seconds]
                for c in found.calls
            ],
        )
    basis = "from the speed of earlier jobs" if found.measured else "a guess: this model was not measured here yet"
    click.echo(
        f"{found.rows:,} rows, {found.requests:,} requests: {found.known:,} known, "
        f"{found.requests - found.known:,} to ask with {found.prompt_tokens:,} prompt tokens, "
        f"about {found.est_seconds:,.1f} s" + (f" ({basis})" if found.calls else "")
    )
