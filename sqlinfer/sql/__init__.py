"""The DuckDB side: functions on a connection, and statements run as probe, infer, replay."""
