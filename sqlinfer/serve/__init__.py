"""The server that other programs call: the DuckDB shell through its extension, any DuckDB that loads it."""
