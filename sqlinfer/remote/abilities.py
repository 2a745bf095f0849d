"""What a model behind an address can do: what its preset says, less what its server has refused. Knows no network."""

from __future__ import annotations

import re
import threading

from sqlinfer.config.remote_source import RemoteSource
from sqlinfer.remote.exchange import ServerError

_ALIASES = {
    "logprobs": ("logprobs", "top_logprobs"),
    "response_format": ("response_format", "json_schema", "schema", "structured", "guided", "grammar"),
    "max_tokens": ("max_completion_tokens",),  # which the server names in its place
}
"""The words by which a server's error names a parameter."""


class Abilities:
    """Learns from refusals: names of parameters that the model does not take are left out of later requests.

    A parameter that the user gave is not left out: its refusal is an error.
    """

    def __init__(self, source: RemoteSource) -> None:
        self._source = source
        self._refused: set[tuple[str, str]] = set()

    def takes(self, parameter: str, value: str = "") -> bool:
        """Whether a parameter may be sent; value: of one that is refused by its value, as a schema is."""
        features = {"response_format": "json_schema", "strict": "json_schema", "logprobs": "logprobs"}
        has_feature = parameter not in features or features[parameter] in self._source.preset.features
        return has_feature and not {(parameter, ""), (parameter, value)} & self._refused

    def learn(self, error: ServerError, optional: dict[str, str]) -> bool:
        """Whether a request would now be made otherwise. optional: the parameters that it may do without, in the order
        in which they are given up, and the value that each is refused by."""
        if error.status not in (400, 404, 415, 422, 501) or error.is_about_length:
            return False
        for parameter, value in optional.items():
            if not self.takes(parameter, value):
                return True  # refused to another request meanwhile
        named = f"{error.parameter} {error}".lower()
        for parameter, value in optional.items():
            words = _ALIASES.get("response_format" if parameter == "strict" else parameter, (parameter,))
            if any(re.search(rf"(?<![a-z]){word}", named) for word in words):
                self._refused.add((parameter, value))
                return True
        return False


_abilities: dict[tuple[str, str], Abilities] = {}
_lock = threading.Lock()


def abilities_of(source: RemoteSource) -> Abilities:
    """What this process knows of a model."""
    with _lock:
        return _abilities.setdefault((source.url, source.model), Abilities(source))
