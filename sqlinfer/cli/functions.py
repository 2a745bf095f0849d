"""`sqlinfer functions`: the SQL functions that a query can call, the user's own among them."""

from __future__ import annotations

import click

from sqlinfer.cli.tables import echo_blocks, echo_json, json_option


@click.group()
def functions() -> None:
    """Show the SQL functions that queries can call.

    \b
    sqlinfer functions list
    """


@functions.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the built-in functions and those in udfs/, here and in the project.

    \b
    sqlinfer functions list --json
    """
    from sqlinfer.functions import OPTIONS, built_in_folder, load_functions
    from sqlinfer.store import function_folders

    functions_by_name = load_functions(*function_folders())
    by_own_name = {function.name: function for function in functions_by_name.values()}
    facts = [
        {
            "name": function.name,
            "aliases": list(function.aliases),
            "signature": function.signature,
            "returns": function.returns,
            "help": function.help,
            "built_in": function.path.parent == built_in_folder().resolve(),
            "path": str(function.path),
        }
        for function in sorted(by_own_name.values(), key=lambda function: function.name)
    ]
    if as_json:
        echo_json(facts)
        return
    echo_blocks(
        {
            "function": str(fact["signature"]),
            "returns": str(fact["returns"]),
            "help": str(fact["help"]),
            "file": "built-in" if fact["built_in"] else str(fact["path"]),
        }
        for fact in facts
    )
    click.echo(f"\nEach also takes these named parameters: {', '.join(OPTIONS)}.")
