"""What our macros say of a call besides its arguments and options: in fields of the struct of options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlinfer.sql.internal_names import CONSTANT, MISSING, SITE

NOT_GIVEN = "NULL::ENUM('required')"
"""The SQL of the default of an argument that must be given: nothing else is of this type."""


@dataclass(frozen=True, slots=True)
class CallMetadata:
    """What is the same for all rows of a call."""

    site: int = 0
    """The call's number in the script; 0 if nobody counts the calls."""
    is_constant: bool = False
    """Whether all its rows name the same model, or none."""
    missing: str = ""
    """The arguments that are missing, in words."""


NO_METADATA = CallMetadata()


def take_metadata(options: dict[str, Any]) -> CallMetadata:
    """The metadata among the fields of the options that are not NULL, by name; they are taken out."""
    site, constant, missing = (options.pop(name, None) for name in (SITE, CONSTANT, MISSING))
    return CallMetadata(
        0 if site is None else site[0].as_py(), constant is not None, "" if missing is None else missing[0].as_py()
    )


_BOUND_ANEW = "system.main.now() IS NOT NULL"
"""True. DuckDB binds a statement that reads the time anew for each EXECUTE, with the values of its parameters. Else a
parameter that stands plainly in a structure, and elsewhere under a cast, counts as known: DuckDB runs the structure
with a field of unknown type, and invalidates the whole database."""


def is_constant(model: str) -> str:
    """The SQL that is true if an expression, which names a model, is a constant, and NULL else. Of a constant path
    DuckDB sees as it binds the call whether it may find several values; such a result has another type.

    It holds for what is folded (parameters, variables), in views and in macros, of which the text says nothing.
    """
    path = f"'$[*]' || left(coalesce({model}::VARCHAR, ''), 0)"
    return f"CASE WHEN {_BOUND_ANEW} AND typeof(json_extract('[]', {path})) = 'JSON[]' THEN true END"


def missing(arguments: Mapping[str, str]) -> str:
    """The SQL that names those of some arguments that are not given; empty if all are. arguments: the SQL of each."""
    names = [f"CASE WHEN typeof({sql}) = typeof({NOT_GIVEN}) THEN '{name}' END" for name, sql in arguments.items()]
    return f"concat_ws(' and ', {', '.join(names)})"
