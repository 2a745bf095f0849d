"""From a DuckDB chunk to requests, and from completions back to a column."""
