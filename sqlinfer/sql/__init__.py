"""The DuckDB side: functions on a connection, and statements run as probe, infer, replay."""

from sqlinfer.sql.udf.answer_types import answer_type
from sqlinfer.sql.connect import Registration, connect, register
from sqlinfer.sql.session import Session

__all__ = ["Registration", "Session", "answer_type", "connect", "register"]
