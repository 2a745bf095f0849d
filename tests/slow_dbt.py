"""The plug-in for dbt on an echo engine that takes its time."""

from sqlinfer.dbt import Plugin
from tests.slow_echo import make_slow

__all__ = ["Plugin"]

make_slow()
