"""What a SQL function is, how its file is loaded, and what authors of functions use."""

from sqlinfer.functions.function import OPTIONS, REQUIRED, RETURNS, Argument, Function, Functions
from sqlinfer.functions.load import SQL_TYPES, built_in_folder, load_function, load_functions

__all__ = [
    "OPTIONS",
    "REQUIRED",
    "RETURNS",
    "SQL_TYPES",
    "Argument",
    "Function",
    "Functions",
    "built_in_folder",
    "load_function",
    "load_functions",
]
