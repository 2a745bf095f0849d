"""The DuckDB side: functions on a connection, and statements run as probe, infer, replay."""

from sqlinfer.sql.connect import Registration, connect, register
from sqlinfer.sql.session import Session
from sqlinfer.sql.udf.answer_types import answer_type

__all__ = ["Registration", "Session", "answer_type", "connect", "register"]
