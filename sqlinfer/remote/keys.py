"""The key of a server: from the environment, or the system's keyring. It is never in SQL, the store or a log."""

from __future__ import annotations

import os
from contextlib import suppress

from sqlinfer.config.remote_source import RemoteSource
from sqlinfer.errors import ModelUnusable
from sqlinfer.redact import secrets_among

_SERVICE = "sqlinfer"


def find_key(source: RemoteSource) -> str:
    """The key, "" for a server that needs none; from now on *** stands for it in all that is kept or shown. Raises
    ModelUnusable, which names the variables, if the server needs one."""
    if key := _look_up(source):
        secrets_among({"api_key": key})
    elif source.preset.needs_key:
        raise ModelUnusable(f"there is no key for {source.host}. {how_to_give_a_key(source)}")
    return key


def has_key(source: RemoteSource) -> bool:
    """Whether there is a key for a server."""
    return bool(_look_up(source))


def how_to_give_a_key(source: RemoteSource) -> str:
    """What a user does so that a key is there."""
    return (
        f"Set the variable {' or '.join(reversed(source.key_variables))}, or keep it in the system's keyring: "
        f"keyring set {_SERVICE} {source.host}"
    )


def _look_up(source: RemoteSource) -> str:
    key = next((value for name in source.key_variables if (value := os.environ.get(name, "").strip())), "")
    return key or _from_keyring(source.host)


def _from_keyring(host: str) -> str:
    try:
        import keyring
    except ImportError:
        return ""
    with suppress(Exception):  # its backends raise errors of many kinds where there is no keyring
        return keyring.get_password(_SERVICE, host) or ""
    return ""
