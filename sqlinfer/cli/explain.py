"""`sqlinfer explain`: counts and costs of the requests of SQL files, before any runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from sqlinfer.cli.option_groups import GroupedCommand
from sqlinfer.cli.state import IN_MEMORY, open_session, read_scripts, script_arguments, session_options
from sqlinfer.cli.tables import echo_json, echo_table
from sqlinfer.units import amount_of, count, duration

if TYPE_CHECKING:
    from sqlinfer.sql.explain.explain import CallEstimate, Explanation

_CALL_WIDTH = 36


@click.command(cls=GroupedCommand)
@script_arguments
@session_options
@click.option("--select", "-s", "select", metavar="NODES", multiple=True, help="Nodes, as for sqlinfer build.")
@click.option("--exclude", metavar="NODES", multiple=True, help="Leave these nodes out; as for --select.")
@click.option("--vars", "variables", metavar="YAML", default="{}", help="Values of var(..), as for sqlinfer build.")
@click.option("--full-refresh", is_flag=True, help="Assume that incremental models are rebuilt from scratch.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def explain(files: tuple[str, ...], sql: str | None, as_json: bool, **options: Any) -> None:
    """Estimate the requests of SQL files or, without FILE, of building the project.

    Counts rows, requests, cached answers, tokens and time of each AI call, and checks whether the models fit into
    memory. Runs no model and writes nothing.

    Statements run in a transaction that is rolled back. A call that depends on other calls is counted once their
    answers are cached, so a nested query may run more requests than shown.

    \b
    sqlinfer explain query.sql
    sqlinfer explain query.sql --db news.duckdb --json
    sqlinfer explain --select moods+
    """
    from sqlinfer.sql.explain.explain import explain as explained

    if not files and sql is None:
        _explain_project(as_json, options)
        return
    if options["select"] or options["exclude"] or options["full_refresh"] or options["variables"] != "{}":
        raise click.UsageError(
            "--select, --exclude, --vars and --full-refresh are about a project, which is explained without FILE"
        )

    scripts = read_scripts(files, sql)
    with open_session(options, scripts) as session:
        explanation = explained(session, {script.name: script.text for script in scripts})
    if as_json:
        echo_json(asdict(explanation))
        return
    _echo(explanation)


def _explain_project(as_json: bool, options: dict[str, Any]) -> None:
    from sqlinfer.cli.project import open_project, project_session, to_build
    from sqlinfer.project.explain import explain as explained

    project = open_project(options["variables"])
    if options["db"] == IN_MEMORY and (project.root / project.database).is_file():
        options["db"] = None
    keys = to_build(project, options["select"], options["exclude"])
    with project_session(project, options) as session:
        explanation, costs = explained(project, session, keys, options["full_refresh"])
    if as_json:
        echo_json({"nodes": [asdict(cost) for cost in costs], **asdict(explanation)})
        return
    if costs:
        names = ["node", "requests", "known", "to ask", "prompt tokens", "seconds"]
        values = [[c.name, c.requests, c.known, c.to_ask, c.prompt_tokens, round(c.est_seconds, 1)] for c in costs]
        echo_table(names, values)
    _echo(explanation, with_calls=False)


def _echo(explanation: Explanation, with_calls: bool = True) -> None:
    """Print an explanation for people: calls, models, then all in one line."""
    if explanation.calls and with_calls:
        names = ["line", "call", "model", "rows", "requests", "known", "prompt tokens", "answer tokens", "seconds"]
        files = {call.place.rpartition(":")[0] for call in explanation.calls if call.place}
        echo_table(names, [_row(call, is_one_file=len(files) < 2) for call in explanation.calls])
    for model in explanation.models:
        verdict = "it fits" if model.fits else "it does not fit: register a smaller model, or free memory"
        click.echo(
            f"{model.model} in {model.dtype} needs {_gb(model.needs_bytes)} on {model.device}, where "
            f"{_gb(model.free_bytes)} are free: {verdict}"
        )
    if explanation.refused:
        click.echo(f"{count(explanation.refused, 'row')} would fail: {explanation.refusal}")
    basis = (
        "from the speed of earlier jobs"
        if explanation.measured
        else "a guess: this model has not been measured here yet"
    )
    most = explanation.requests - explanation.known
    to_ask = f"{most - explanation.avoidable:,} to {most:,}" if explanation.avoidable else f"{most:,}"
    click.echo(
        f"{count(explanation.rows, 'row')}, {count(explanation.requests, 'request')}: {explanation.known:,} known, "
        f"{to_ask} to ask with {count(explanation.prompt_tokens, 'prompt token')}, "
        f"about {duration(explanation.est_seconds)}" + (f" ({basis})" if explanation.calls else "") + _cost(explanation)
    )


def _cost(explanation: Explanation) -> str:
    if explanation.cost is None:
        return ", at a price that is not known: see `sqlinfer prices`"
    return f", about ${amount_of(explanation.cost)}" if explanation.cost else ""


def _row(call: CallEstimate, is_one_file: bool) -> list[Any]:
    position = call.place.rpartition(":")[2] if is_one_file else call.place
    text = call.call if len(call.call) <= _CALL_WIDTH else call.call[: _CALL_WIDTH - 3] + "..."
    error = f" ± {call.prompt_tokens_error}" if call.prompt_tokens_error else ""
    return [
        position,
        text,
        call.model or "depends on other answers",
        call.rows,
        call.requests,
        call.known if call.is_kept else "not kept",
        f"{call.prompt_tokens}{error}",
        f"≤ {call.max_completion_tokens}" if call.max_completion_tokens else 0,
        round(call.est_seconds, 1),
    ]


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:,.2f} GB"
