"""What holds for one statement: which version a model's name means, which requests failed, how fields are ordered."""

from __future__ import annotations

from collections.abc import Collection

from sqlinfer.functions import Function
from sqlinfer.inference.failures import Failures
from sqlinfer.inference.keyed_request import Route
from sqlinfer.inference.runtime import Runtime
from sqlinfer.sql.udf.call_metadata import NO_METADATA, CallMetadata
from sqlinfer.sql.udf.field_order import FieldOrders
from sqlinfer.sql.udf.pair_limit import PairLimit
from sqlinfer.sql.udf.value_memo import ValueMemo
from sqlinfer.types import ModelVersion


class StatementState:
    """Made anew for each statement.

    failures: by the key of the request, or of the row that has none.
    orders: of the fields of its requests.
    memo: the values of its rows.
    pairs: bounds the requests of functions over two tables.
    cause: the last error raised inside DuckDB, which passes on only its text.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.failures: Failures = {}
        self.orders = FieldOrders(runtime.store.answers)
        self.memo = ValueMemo()
        self.pairs = PairLimit()
        self.cause: Exception | None = None
        self._runtime = runtime
        self._versions: dict[str, ModelVersion] = {}
        self._routes: dict[tuple[str, str | None, str, CallMetadata], Route] = {}

    def route(self, function: Function, model: str | None, task: str, metadata: CallMetadata = NO_METADATA) -> Route:
        """The route of a function's requests; model: a name as the user wrote it, or None."""
        key = (function.name, model, task, metadata)
        if key not in self._routes:
            version = self._version(self._runtime.model_name(model, task))
            self._routes[key] = Route(function, version, metadata.site, metadata.is_constant)
        return self._routes[key]

    def _version(self, name: str) -> ModelVersion:
        """The version that a name means for the whole statement, whichever is deployed while it runs."""
        if name not in self._versions:
            self._versions[name] = self._runtime.store.registry.get(name)
        return self._versions[name]

    def bound_pairs(self, functions: Collection[str]) -> None:
        """Bound the requests of functions that the statement computes for pairs of rows."""
        self.pairs = PairLimit(functions)

    def note_cause(self, error: BaseException) -> None:
        """Keep an error that is raised inside DuckDB."""
        self.cause = error if isinstance(error, Exception) else None

    def take_cause(self) -> Exception | None:
        """The error that was kept; it is forgotten."""
        cause, self.cause = self.cause, None
        return cause
