"""A server of the API on the built-in models, and OpenAI's own client of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from sqlinfer.engine import BUILTINS, DEFAULTS
from sqlinfer.functions import load_functions
from sqlinfer.inference.runtime import Runtime
from sqlinfer.serve.http.http_server import HttpLimits, HttpServer
from sqlinfer.store import Store

TINY, EMBED = "sqlinfer/tiny", "sqlinfer/tiny-embed"


@pytest.fixture(scope="package")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """The built-in models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SQLINFER_HOME", str(tmp_path_factory.mktemp("http")))
        with Store(builtins=BUILTINS, defaults=DEFAULTS) as store:
            yield Runtime(store, load_functions(Path()))


@pytest.fixture(scope="package")
def address(runtime: Runtime) -> Iterator[str]:
    """The address of a server without a token."""
    server = HttpServer(runtime, ("127.0.0.1", 0), "", HttpLimits(max_body_bytes=1 << 20, max_requests=256))
    server.start()
    yield server.address
    server.stop()


@pytest.fixture(scope="package")
def client(address: str) -> Iterator[OpenAI]:
    """OpenAI's client, which tries nothing twice."""
    with OpenAI(base_url=f"http://{address}/v1", api_key="none", max_retries=0) as client:
        yield client
