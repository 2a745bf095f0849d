"""The server that other programs ask: the DuckDB shell through its extension, any DuckDB that loads it."""
