"""The command line, in an empty folder."""

from tests.cli.conftest import invoke

__all__ = ["invoke"]
