"""A request with the key of its answer, and the route that it takes: which function uses which model version."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlinfer.functions import Function
from sqlinfer.types import AnyRequest, ModelVersion, Parameters


@dataclass(frozen=True, slots=True)
class Route:
    """Where requests come from, and which model version answers them."""

    function: Function
    """That makes the requests."""
    version: ModelVersion
    """That answers them."""
    site: int = 0
    """The call's number in the script; 0 if nobody counts the calls."""
    is_constant: bool = False
    """Whether all rows of the call use this model."""


@dataclass(slots=True)
class KeyedRequest:
    """A function's request for one row, and what the session adds to it."""

    draft: AnyRequest
    """As the function made it."""
    parameters: Parameters
    """Those that hold: of the call, then the function's, then the model's."""
    key: bytes
    """Of its answer."""
    route: Route
    """Its function and its model version."""
    step: int
    """Of the row's call; the first is 1."""
    order_key: bytes = b""
    """Under which the order of its fields will be cached, if it is still to be chosen; no answer is cached before."""

    def defer(self, order_key: bytes, key: bytes) -> None:
        """Wait for an order of the fields. key: one that has no answer."""
        self.order_key, self.key = order_key, key

    def reorder(self, draft: AnyRequest, key: bytes) -> None:
        """Take the draft with its fields in the order that was chosen, and the key of its answer."""
        self.draft, self.key, self.order_key = draft, key, b""

    @property
    def needs_weights(self) -> bool:
        """Whether a model runs to answer it."""
        return self.draft.needs_weights

    @property
    def request(self) -> AnyRequest:
        """As the engine gets it."""
        return replace(self.draft, parameters=self.parameters, key=self.key, route=self.route)
