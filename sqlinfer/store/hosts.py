"""The hosts that models behind an address may lie on; none listed is any host. Knows no network."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch

from sqlinfer.config.remote_source import RemoteSource
from sqlinfer.errors import ModelUnusable
from sqlinfer.store.database import Database


class AllowedHosts:
    """The list, for every process that uses the store; the command line changes it, SQL does not."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self) -> Sequence[str]:
        """The patterns of hosts, as *.example.org; http://HOST allows a public host without encryption."""
        with self._database.reading() as connection:
            return [str(host) for (host,) in connection.execute("SELECT host FROM allowed_hosts ORDER BY host")]

    def set(self, hosts: Sequence[str]) -> None:
        """Put these in place of the list."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM allowed_hosts")
            connection.executemany("INSERT OR IGNORE INTO allowed_hosts VALUES (?)", [(host,) for host in hosts])

    def check(self, remote: RemoteSource) -> None:
        """Raise ModelUnusable unless texts may be sent to a server."""
        hosts = self.list()
        if f"http://{remote.host}" in hosts and remote.url.startswith("http:"):
            return
        if remote.is_plain_and_public:
            raise ModelUnusable(
                f"{remote.url} is a public host without TLS: whoever is on the way could read the texts. "
                f"Write https://, or allow it: sqlinfer models hosts --add http://{remote.host}"
            )
        if hosts and not any(fnmatch(remote.host, pattern) for pattern in hosts):
            raise ModelUnusable(
                f"{remote.host} is not among the hosts that models may lie on: {', '.join(hosts)}. To allow it: "
                f"sqlinfer models hosts --add {remote.host}"
            )
