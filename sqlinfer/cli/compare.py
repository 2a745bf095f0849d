"""`sqlinfer models compare`: the same SQL with two versions of a model, and how far their answers agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from sqlinfer.cli.option_groups import GroupedCommand
from sqlinfer.cli.progress import Watch, quiet_option
from sqlinfer.cli.state import database_options, open_session, read_scripts, script_arguments
from sqlinfer.cli.stop import stopping
from sqlinfer.cli.tables import echo_json, echo_table, json_option
from sqlinfer.errors import Interrupted
from sqlinfer.units import amount_of, count

if TYPE_CHECKING:
    from sqlinfer.metrics import Agreement
    from sqlinfer.sql.comparison import Comparison

_COUNTS = ("rows", "requests", "known", "generated", "failed", "prompt_tokens", "completion_tokens", "seconds")
_SHOWN_PAIRS = 12


@click.command(cls=GroupedCommand)
@click.argument("first")
@click.argument("second")
@script_arguments
@click.option("--key", metavar="COLUMN", help="Match rows by this column.  [default: by their position]")
@click.option("--reference", metavar="COLUMN", help="The column with the true values, for accuracy or rouge.")
@click.option(
    "columns", "--column", metavar="COLUMN", multiple=True,
    help="Compare this column; repeatable.  [default: all that differ]",
)  # fmt: skip
@database_options
@json_option
@quiet_option
def compare(first: str, second: str, files: tuple[str, ...], sql: str | None, as_json: bool, **options: Any) -> None:
    """Run SQL with two versions of a model, FIRST and SECOND, and compare the rows of its last statement.

    Each version answers the calls that name no model, or the model without a version. Answers are cached; statements
    run in a transaction that is rolled back, and no file is written. The page of `sqlinfer docs` shows the result.

    \b
    sqlinfer models compare short@default short@candidate query.sql --key id
    sqlinfer models compare digits/1 digits/2 query.sql --reference label --json
    """  # fmt: skip
    from sqlinfer.sql.comparison import Matching
    from sqlinfer.sql.comparison import compare as compared

    scripts = read_scripts(files, sql)
    text, label = "\n".join(script.text for script in scripts), ", ".join(script.name for script in scripts)
    matching = Matching(options.pop("key"), options.pop("reference"), options.pop("columns"))
    watch = Watch(options.pop("quiet"))
    has_rows = {"output_action": "fail_if_exists"}  # whatever the project says
    with open_session(options, scripts, job_settings=has_rows) as session, stopping(lambda: [session]) as is_stopped:
        try:
            with watch.showing():
                comparison = compared(session, (first, second), text, label, matching, watch)
        except Exception:
            if is_stopped():
                raise Interrupted from None
            raise
        session.runtime.store.comparisons.add(asdict(comparison))
    if as_json:
        echo_json(asdict(comparison))
    else:
        _echo(comparison)


def _echo(comparison: Comparison) -> None:
    runs = (comparison.first, comparison.second)
    versions = [run.model for run in runs]
    counts = [[name.replace("_", " "), *(getattr(run, name) for run in runs)] for name in _COUNTS]
    if any(run.cost for run in runs):
        counts.append(["cost", *(f"${amount_of(run.cost)}" for run in runs)])
    echo_table(["", *versions], counts)
    if any(run.known for run in runs):
        click.echo("Tokens and seconds are those of generated answers; known ones were cached.")
    how = "by position" if comparison.key is None else f"by {comparison.key}"
    only = ", ".join(f"{run.unmatched:,} only with {run.model}" for run in runs if run.unmatched)
    click.echo(f"\n{count(comparison.rows, 'row')} matched {how}{'; ' + only if only else ''}")
    if comparison.same:
        click.echo(f"the same in all rows: {', '.join(comparison.same)}")
    if comparison.columns:
        rows = list(_measures(comparison))
        echo_table(["column", "", "agreement", *(f"{version} and {comparison.reference}" for version in versions)]
                   if comparison.reference else ["column", "", "agreement"], rows)  # fmt: skip
    for column in comparison.columns:
        if column.agreement.confusion:
            click.echo(f"\n{column.column}")
            echo_table([*versions, "rows"], column.agreement.confusion[:_SHOWN_PAIRS])
            if (rest := len(column.agreement.confusion) - _SHOWN_PAIRS) > 0:
                click.echo(f"and {count(rest, 'other pair')}; --json prints all.")


def _measures(comparison: Comparison) -> Iterator[list[Any]]:
    """A line for each measure of each column: of the versions with each other, then of each with the reference."""
    for column in comparison.columns:
        against = (column.first, column.second) if comparison.reference else ()
        measures = [_numbers(agreement) for agreement in (column.agreement, *against)]
        for measure in measures[0]:
            yield [column.column, measure, *(f"{each[measure]:.3f}" if measure in each else "" for each in measures)]


def _numbers(agreement: Agreement | None) -> dict[str, float]:
    """The measures of an agreement by name, without those that it does not have."""
    if agreement is None:
        return {}
    measures = {"equal": agreement.equal, "correlation": agreement.correlation, "difference": agreement.difference}
    return {name: value for name, value in (measures | dict(agreement.rouge or {})).items() if value is not None}
