"""A request with the key of its answer, and the route that it takes: which function asks which model version."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlinfer.functions import Function
from sqlinfer.types import AnyRequest, ModelVersion, Parameters


@dataclass(frozen=True, slots=True)
class Route:
    """Where requests come from and who answers them: one function asking one model version. site: the call's number
    in the script; 0 if nobody counts the calls. is_constant: all rows of the call ask this model."""

    function: Function
    version: ModelVersion
    site: int = 0
    is_constant: bool = False


@dataclass(slots=True)
class KeyedRequest:
    """What a row asks: the function's request, the parameters that hold, the answer's key, who asks whom, and in which
    step of the row's call; the first is 1. order_key: under which the order of its columns will be kept, if it is still
    to be chosen; there is no answer before that."""

    asked: AnyRequest
    parameters: Parameters
    key: bytes
    origin: Route
    step: int
    order_key: bytes = b""

    @property
    def request(self) -> AnyRequest:
        """As the engine gets it."""
        return replace(self.asked, parameters=self.parameters, key=self.key, route=self.origin)
