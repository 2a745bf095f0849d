"""One model of one server, as one job asks it. Knows no requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlinfer.config.job_settings import JobSettings
from sqlinfer.config.remote_source import RemoteSource, read_remote_source
from sqlinfer.remote.abilities import Abilities, abilities_of
from sqlinfer.remote.keys import find_key
from sqlinfer.remote.prices import Price, find_price
from sqlinfer.remote.server import TIMEOUT_S, Flow, ModelServer, server_of
from sqlinfer.remote.spending import Spending
from sqlinfer.remote.tokens import token_counter
from sqlinfer.types import ModelVersion


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """A model and the way to it."""

    source: RemoteSource
    server: ModelServer
    flow: Flow
    abilities: Abilities
    price: Price | None
    """None if it is not known."""
    count_tokens: Callable[[str], int]
    """Before the server counts them."""

    @classmethod
    def of(cls, version: ModelVersion) -> RemoteModel:
        """The model of a version under its settings. Raises ModelUnusable where there is no key."""
        source, settings = read_remote_source(version.source), JobSettings(**version.settings)
        flow = Flow(
            find_key(source),
            settings.max_retries,
            settings.timeout or TIMEOUT_S,
            settings.max_in_flight,
            settings.requests_per_minute,
            settings.tokens_per_minute,
        )
        count = token_counter(source.model)
        return cls(source, server_of(source), flow, abilities_of(source), find_price(source), count)

    def spending(self) -> Spending:
        """Counts what one request uses."""
        return Spending(self.price, self.count_tokens)
