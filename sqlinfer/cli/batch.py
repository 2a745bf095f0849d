"""`sqlinfer batch`: pending requests as batch files, and their answers back into the cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sqlinfer.cli.option_groups import GroupedCommand
from sqlinfer.cli.state import open_session, open_store, read_scripts, script_arguments, session_options
from sqlinfer.cli.tables import echo_json, json_option
from sqlinfer.errors import SqlinferError
from sqlinfer.units import count

if TYPE_CHECKING:
    from sqlinfer.inference.batch_files import ImportedAnswers
    from sqlinfer.inference.keyed_request import Route
    from sqlinfer.sql import Session
    from sqlinfer.sql.explain.pending import PendingRequests
    from sqlinfer.store import Store
    from sqlinfer.types import ModelVersion

    _Share = tuple[ModelVersion, list[Route]]

_SHOWN = 3


@click.group()
def batch() -> None:
    """Answer the pending requests of SQL files by a server's batch API, or by `vllm run-batch`.

    \b
    sqlinfer batch export query.sql requests.jsonl --model gpt
    sqlinfer batch import answers.jsonl
    sqlinfer run query.sql --model gpt
    """


@batch.command(cls=GroupedCommand)
@script_arguments
@click.argument("requests", type=click.Path(dir_okay=False, allow_dash=True))
@session_options
@json_option
def export(files: tuple[str, ...], sql: str | None, requests: str, as_json: bool, **options: Any) -> None:
    """Write the pending requests of SQL files as a batch file, REQUESTS (*.jsonl, or - for stdout).

    No model is asked. Statements run in a transaction that is rolled back, with NULL for answers that are not cached.
    The file is for one model, that of --model if the SQL names several. What depends on its answers comes with the
    next export, after their import.

    \b
    sqlinfer batch export query.sql requests.jsonl --model gpt
    """
    if requests != "-" and not requests.endswith(".jsonl"):
        raise click.UsageError(f"{requests!r} is no name of a batch file: the last argument is a *.jsonl file, or -")
    with _pending(files, sql, options) as (session, pending):
        share, notes = _choose_model(session, pending, options["model"])
        refused: Counter[str] = Counter()
        num_lines = 0
        with click.open_file(requests, "w", encoding="utf-8", atomic=requests != "-") as opened:
            for _, line in _lines(session.runtime.store, pending, share, refused):
                opened.write(line)
                num_lines += 1
    _echo_notes(pending, refused, notes, num_lines)
    if as_json and requests != "-":
        echo_json({"requests": num_lines, "refused": pending.num_refused + refused.total(), "file": requests})
    else:
        click.echo(f"{count(num_lines, 'request')} in {requests}", err=requests == "-")


@batch.command("import")
@click.argument("files", metavar="ANSWERS...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@json_option
def import_(files: tuple[str, ...], as_json: bool) -> None:
    """Keep the answers of a batch file's answers files, as OpenAI and `vllm run-batch` write them.

    They are checked as live answers are. A failed line is named and is no answer: the next export or run asks for it
    again.

    \b
    sqlinfer batch import answers.jsonl errors.jsonl
    """
    from sqlinfer.inference.batch_files import ImportedAnswers, import_answers

    imported = ImportedAnswers()
    with open_store() as store:
        for file in files:
            with Path(file).open("rb") as lines:
                import_answers(store, lines, imported)
        num_pending = store.batches.count_pending()
    _echo_imported(imported, num_pending, as_json)


@contextmanager
def _pending(
    files: tuple[str, ...], sql: str | None, options: Mapping[str, Any]
) -> Iterator[tuple[Session, PendingRequests]]:
    from sqlinfer.sql.explain.pending import pending_requests

    scripts = read_scripts(files, sql)
    with (
        open_session(options, scripts) as session,
        pending_requests(session, {script.name: script.text for script in scripts}) as pending,
    ):
        yield session, pending


def _choose_model(session: Session, pending: PendingRequests, name: str | None) -> tuple[_Share | None, list[str]]:
    """The model version that the file is for with its routes, and a note on each other one."""
    shares = [(version, routes, pending.spool.measure(routes)[0]) for version, routes in pending.spool.by_model()]
    chosen = next(iter(shares), None)
    if len(shares) > 1:
        wanted = session.runtime.store.registry.get(name).fingerprint if name else ""
        chosen = next((share for share in shares if share[0].fingerprint == wanted), None)
        if chosen is None:
            listed = ", ".join(f"{version} ({number:,})" for version, _, number in shares)
            raise SqlinferError(f"The requests are for several models: {listed}. A batch file is for one: --model NAME")
    others = [share for share in shares if share is not chosen]
    notes = [f"{count(number, 'request')} for {version}: --model {version}" for version, _, number in others]
    return (None if chosen is None else chosen[:2]), notes


def _lines(
    store: Store, pending: PendingRequests, share: _Share | None, refused: Counter[str]
) -> Iterator[tuple[str, str]]:
    from sqlinfer.inference.batch_files import write_requests

    if share is not None:
        version, routes = share
        yield from write_requests(store, version, pending.spool.requests(routes), refused)


def _echo_notes(pending: PendingRequests, refused: Counter[str], others: list[str], num_lines: int) -> None:
    """Say on stderr what is not in the file, and why."""
    notes = [f"{count(number, 'request')} left out: {reason}" for reason, number in refused.items()]
    notes += [f"Not in this file: {other}" for other in others]
    if pending.num_refused:
        notes.append(f"{count(pending.num_refused, 'row')} cannot have a request: see sqlinfer explain")
    if num_lines and pending.leads_further:
        notes.append("Requests that depend on these answers, if any, are in the next export, after the import")
    for note in notes:
        click.echo(note, err=True)


def _echo_imported(imported: ImportedAnswers, num_pending: int, as_json: bool) -> None:
    """Say what was kept, what failed and what is still to come."""
    if as_json:
        echo_json(
            {"kept": len(imported.kept), "failed": imported.failed, "unknown": imported.unknown, "pending": num_pending}
        )
    for reason, names in _by_reason(imported.failed).items():
        click.echo(f"{count(len(names), 'line')} failed: {reason} ({_some(names)})", err=True)
    if imported.unknown:
        number = count(len(imported.unknown), "answer")
        click.echo(f"{number} to no request that was exported here: {_some(imported.unknown)}", err=True)
    if not as_json:
        click.echo(
            f"{count(len(imported.kept), 'answer')} kept; {count(num_pending, 'exported request')} still pending"
        )
    if not imported.kept and (imported.failed or imported.unknown):
        raise SqlinferError("No answer was kept. Requests are exported and answers imported with the same state folder")


def _by_reason(failed: Mapping[str, str]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for name, reason in failed.items():
        reasons.setdefault(reason, []).append(name)
    return reasons


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", .." if len(names) > _SHOWN else "")
