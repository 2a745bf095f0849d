"""The plug-in for dbt on an echo engine that takes its time."""

from typing import Any

from sqlinfer import dbt
from tests.slow_echo import make_slow


class Plugin(dbt.Plugin):
    """Makes the engine of its process the slow one before anything else."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        make_slow()
        super().initialize(plugin_config)
