"""Where a model behind an address is: how a user writes it, and what its server is known for. Sends nothing.

openai:gpt-5-mini, http://127.0.0.1:8000/v1#NAME, vllm+http://gpu1:8000/v1#NAME
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from sqlinfer.errors import ModelNotFound, ModelUnusable, nearest

_PRESET = re.compile(r"([A-Za-z][\w.-]*):(?!/)(.*)", re.DOTALL)
_URL = re.compile(r"(?:([\w.-]+)\+)?(https?://.*)", re.DOTALL | re.IGNORECASE)
_VARIABLE = re.compile(r"\{(\w+)\}")
_LOCAL_NAMES = (".local", ".internal", ".localhost", ".lan")
REMOTE_SETTINGS = {"max_retries": 10}
"""Job settings of models behind an address, unless they are given: servers fail more often than machines."""
_FORMS = "Write PRESET:MODEL, as in openai:gpt-5-mini, or the server's base URL with --remote-model MODEL"


@dataclass(frozen=True, slots=True)
class Preset:
    """What is known of a kind of server; see presets.toml."""

    name: str = ""
    """"" for a server of which nothing is known: what it can is found out by trial."""
    url: str = ""
    hosts: tuple[str, ...] = ()
    key: str = ""
    needs_key: bool = False
    header: str = ""
    features: tuple[str, ...] = ("json_schema", "logprobs")
    extras: tuple[str, ...] = ("top_k", "min_tokens")


@dataclass(frozen=True, slots=True)
class RemoteSource:
    """A model of a server."""

    preset: Preset
    """Of the server."""
    url: str
    """Its base URL, without a / at the end."""
    model: str
    """The name that the server has for the model."""

    @property
    def host(self) -> str:
        """The host, without its port."""
        return urlsplit(self.url).hostname or ""

    @property
    def key_variables(self) -> tuple[str, ...]:
        """The environment variables that may hold the key, most specific first. That of a preset is for the hosts of
        the preset: whoever names another host does not get it."""
        own = "SQLINFER_KEY_" + re.sub(r"\W", "_", self.host).upper()
        is_its_host = any(fnmatch(self.host, pattern) for pattern in self.preset.hosts)
        return (own, self.preset.key) if is_its_host and self.preset.key else (own,)

    @property
    def is_local(self) -> bool:
        """Whether the host is this machine or one of its network, by its name."""
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return "." not in self.host.strip(".") or self.host.endswith(_LOCAL_NAMES)
        return address.is_private or address.is_loopback or address.is_link_local

    @property
    def is_plain_and_public(self) -> bool:
        """Whether texts would go over the internet unencrypted."""
        return self.url.startswith("http:") and not self.is_local

    def __str__(self) -> str:
        if self.url == self.preset.url:
            return f"{self.preset.name}:{self.model}"
        return f"{self.preset.name}+{self.url}#{self.model}" if self.preset.name else f"{self.url}#{self.model}"


def is_remote(source: str) -> bool:
    """Whether a source is written as a model behind an address.

    >>> [is_remote(each) for each in ("openai:gpt-5-mini", "https://example.org/v1", "org/name", "models:/m/1")]
    [True, True, False, False]
    """
    return bool(_URL.fullmatch(source) or _PRESET.fullmatch(source))


def read_remote_source(source: str, model: str = "") -> RemoteSource:
    """Take a source apart; model: in place of one that the source names. Variables in the address of a preset are read
    now, and str(..) of the result no longer depends on them.

    Raises ModelNotFound for an unknown preset and for a source without a model, ModelUnusable for an unusable URL.

    >>> str(read_remote_source("vllm+http://gpu1:8000/v1/", "qwen"))
    'vllm+http://gpu1:8000/v1#qwen'
    """
    if (short := _PRESET.fullmatch(source)) and not _URL.fullmatch(source):
        preset = _preset(short[1], source)
        url, name = _VARIABLE.sub(lambda match: _variable(match[1], source), preset.url), short[2]
    elif long := _URL.fullmatch(source):
        preset = _preset(long[1], source) if long[1] else Preset()
        url, _, name = long[2].partition("#")
    else:
        raise ModelNotFound(f"{source!r} is no address. {_FORMS}.")
    url, name = _checked_url(url), model or name
    if not name.strip():
        raise ModelNotFound(f"{source!r} names a server and no model of it. {_FORMS}.")
    return RemoteSource(preset, url, name)


@lru_cache(maxsize=1)
def presets() -> dict[str, Preset]:
    """The known servers by name."""
    content = tomllib.loads((Path(__file__).parent / "presets.toml").read_text(encoding="utf-8"))
    lists = ("hosts", "features", "extras")
    return {
        name: Preset(name, **{"extras": (), **facts, **{key: tuple(facts[key]) for key in lists if key in facts}})
        for name, facts in content.items()
    }


def _preset(name: str, source: str) -> Preset:
    preset = presets().get(name.lower())
    if preset is None:
        raise ModelNotFound(f"{source!r}: there is no preset {name!r}. {nearest(name, presets())} {_FORMS}.")
    return preset


def _variable(name: str, source: str) -> str:
    value = os.environ.get(name, "").strip().rstrip("/")
    if not value:
        raise ModelUnusable(f"{source!r}: the address of its server is in the variable {name}, and {name} is not set")
    return value if "://" in value else f"https://{value}"


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        has_host = False
    if not has_host or re.search(r"\s", url):
        raise ModelUnusable(f"{url!r} is not the base URL of a server, as http://127.0.0.1:8000/v1 is")
    if parts.username or parts.password or parts.query:
        hint = "Keys come from the environment: see the page on remote models"
        raise ModelUnusable(f"the address of {parts.hostname} may hold neither a user, a password nor a query. {hint}")
    path = parts.path.rstrip("/").removesuffix("/chat/completions").removesuffix("/embeddings").rstrip("/")
    netloc = parts.netloc.lower()
    return f"{parts.scheme.lower()}://{netloc}{path}"
