"""The names that sqlinfer makes in a DuckDB connection, beside those that users know."""

from __future__ import annotations

PREFIX = "__sqlinfer_"
"""How the names of the user-defined functions under our macros begin."""

SITE = f"{PREFIX}site"
"""The parameter that takes a call's number, and its field in the struct of options."""

CONSTANT = f"{PREFIX}constant"
"""The field that is true, and not NULL, if all rows of the call name the same model, or none."""

MISSING = f"{PREFIX}missing"
"""The field that names the arguments that are missing; NULL if none is."""
