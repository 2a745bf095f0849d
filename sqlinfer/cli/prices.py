"""`sqlinfer prices`: what tokens of models behind an address cost."""

from __future__ import annotations

import click

from sqlinfer.cli.tables import echo_json, echo_table, json_option


@click.command()
@json_option
def prices(as_json: bool) -> None:
    """List what a million tokens cost, in US dollars, as explain, jobs and max_cost count.

    The list that comes with sqlinfer is unchecked and has a date: check the prices that you count on at your provider.
    Your own file goes before it; the command prints its path. A model that stands in no list has no cost, and a server
    in your own network costs nothing.

    \b
    sqlinfer prices --json
    """
    from sqlinfer.remote import list_prices, own_file

    listed = list(list_prices())
    if as_json:
        facts = [(line, line.price) for line in listed]
        echo_json(
            [
                {"host": line.host, "model": line.model, "input": price.input, "cached": price.cached}
                | {"output": price.output, "date": line.date, "file": str(line.file)}
                for line, price in facts
            ]
        )
        return
    rows = [[x.host, x.model, x.price.input, x.price.cached, x.price.output, x.date or "yours"] for x in listed]
    echo_table(["host", "model", "input", "cached", "output", "as of"], rows)
    click.echo("\nPrices with a date come with sqlinfer and are unchecked: compare them with your provider's page.")
    click.echo(f'Your own prices, which go first, are in {own_file()}:\n\n["api.openai.com"]')
    click.echo('"gpt-5-mini" = [0.25, 0.025, 2.0]  # input, cached input, output')
