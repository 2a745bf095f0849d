"""What tokens cost: the price list that comes with sqlinfer, and the user's own file that goes before it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sqlinfer.config.folders import state_folder
from sqlinfer.config.remote_source import RemoteSource
from sqlinfer.errors import SqlinferError

FILE_NAME = "prices.toml"
_SNAPSHOT = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{4})$")
"""The date that ends the name of a dated version of a model."""


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens of a model: read, read from the server's cache, and written."""

    input: float
    cached: float
    output: float

    def of(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float:
        """The cost of tokens; cached_tokens: those of prompt_tokens that the server had in its cache.

        >>> Price(1.0, 0.5, 10.0).of(1_000_000, 100_000, 500_000)
        1.75
        """
        read = (prompt_tokens - cached_tokens) * self.input + cached_tokens * self.cached
        return (read + completion_tokens * self.output) / 1_000_000


FREE = Price(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """A line of a price list.

    host: of the server.
    model: its name there.
    price: of its tokens.
    date: of the list; "" for a user's own that has none.
    file: the list.
    """

    host: str
    model: str
    price: Price
    date: str
    file: Path


def find_price(source: RemoteSource) -> Price | None:
    """The price of a model; None if no list has it. A server on this machine or in this network costs nothing unless
    listed."""
    names = [source.model, _SNAPSHOT.sub("", source.model)]
    listed = {(line.host, line.model): line.price for line in reversed(list(list_prices()))}
    price = next((listed[source.host, name] for name in names if (source.host, name) in listed), None)
    return FREE if price is None and source.is_local else price


def list_prices() -> Iterator[ListedPrice]:
    """All prices, the user's own first. Raises SqlinferError for a file that cannot be used."""
    for file in (own_file(), Path(__file__).parent / FILE_NAME):
        if file.is_file():
            yield from _read(file, file.stat().st_mtime_ns)


def own_file() -> Path:
    """Where the user's own prices are."""
    return state_folder() / FILE_NAME


@lru_cache(maxsize=8)
def _read(file: Path, _changed_ns: int) -> tuple[ListedPrice, ...]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SqlinferError(f"{file} is not valid TOML: {error}") from None
    date = str(content.pop("date", ""))
    return tuple(
        ListedPrice(host, model, _price(numbers, f"{file}: {host} {model}"), date, file)
        for host, models in content.items()
        for model, numbers in (models.items() if isinstance(models, Mapping) else [("", models)])
    )


def _price(numbers: object, where: str) -> Price:
    is_price = isinstance(numbers, list) and len(numbers) == 3
    if not is_price or not all(type(number) in (int, float) and 0 <= number < 1e6 for number in numbers):  # type: ignore[attr-defined]  # a list
        raise SqlinferError(f"{where}: a price is [input, cached input, output] in dollars, not {numbers!r}")
    return Price(*map(float, numbers))  # type: ignore[call-overload]  # a list
