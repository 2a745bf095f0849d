"""Writes tables of reviews and tickets to try things on: python -m tools.tiny.samples FOLDER.

Their brand names are such as training never shows; what is true of each row stands in files of their own.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from tools.tiny.texts import Text, write_review, write_ticket

SEED = 2_000_003
NUM_REVIEWS = 2000
NUM_TICKETS = 300
_REPEATED = 0.1
"""The share of rows whose text stands in the table already, as in real tables."""

_CUSTOMERS = (
    "Adler Brandt Costa Dimitrov Eriksen Fontaine Garcia Haddad Ivanova Jansen Kowalski Lindqvist Moreau Novak Okafor "
    "Petrov Quinn Rossi Silva Tanaka Ueda Virtanen Weber Yilmaz Zhang"
)
_FACTS = ("sentiment", "product", "kind", "price", "city", "order", "date", "mood", "concern", "summary")


def main() -> None:
    """Write reviews.csv, tickets.csv and, beside each, the file with the true labels."""
    parser = argparse.ArgumentParser(prog="python -m tools.tiny.samples", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the files go")
    write(parser.parse_args().folder)


def write(folder: Path) -> None:
    """Write the four files."""
    rng = Random(SEED)
    reviews = _texts(rng, write_review, NUM_REVIEWS)
    _write(folder / "reviews.csv", ["review"], [[text.body] for text in reviews])
    _write_labels(folder / "reviews_labels.csv", reviews)
    tickets = _texts(rng, write_ticket, NUM_TICKETS)
    customers = [rng.choice(_CUSTOMERS.split()) for _ in tickets]
    rows = [[customer, text.facts.kind, text.body] for customer, text in zip(customers, tickets, strict=True)]
    _write(folder / "tickets.csv", ["customer", "product", "body"], rows)
    _write_labels(folder / "tickets_labels.csv", tickets)


def _texts(rng: Random, write: Callable[[Random, bool], Text], num_rows: int) -> list[Text]:
    """Texts in a random order, a share of them a second time."""
    new = [write(rng, True) for _ in range(round(num_rows * (1 - _REPEATED)))]
    texts = [*new, *rng.sample(new, num_rows - len(new))]
    rng.shuffle(texts)
    return texts


def _write_labels(path: Path, texts: Sequence[Text]) -> None:
    """What is true of each row: the facts; names of aspects are joined by a semicolon."""
    rows = []
    for text in texts:
        facts = text.facts
        values = [facts.sentiment if facts.concern is None else None, *(getattr(facts, name) for name in _FACTS[1:])]
        rows.append([*values, ";".join(facts.praised), ";".join(facts.criticised)])
    _write(path, [*_FACTS, "praised", "criticised"], rows)


def _write(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str | None]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", *columns])
        for number, row in enumerate(rows, 1):
            writer.writerow([number, *("" if value is None else value for value in row)])


if __name__ == "__main__":
    main()
