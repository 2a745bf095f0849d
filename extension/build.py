"""Builds the DuckDB extension with the C compiler of the machine: `python -m extension.build`.

DuckDB's two C headers come from its source distribution; they are fetched once with pip and lie in extension/headers.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE / "sqlinfer.c"
HEADERS = HERE / "headers"
BUILT = HERE.parent / "sqlinfer" / "serve" / "sqlinfer.duckdb_extension"
DUCKDB = "duckdb==2.0.0"
API = (1, 2, 0)
"""The oldest stable C API that has what the extension calls: DuckDB 1.2 and all after it load it."""
_NAMES = ("duckdb.h", "duckdb_extension.h")
_SECTION = b"\x00\x93\x04\x10duckdb_signature\x80\x04"
"""How DuckDB begins its footer: a custom section, as WebAssembly has them."""
SIGNATURE_BYTES = 256


def main() -> int:
    """Fetch the headers if they are not there, then build; says where the extension lies."""
    if not has_compiler():
        sys.exit("extension: there is no C compiler `cc`; install gcc or clang")
    if not has_headers():
        fetch_headers()
    print(build(BUILT))
    return 0


def has_headers() -> bool:
    """Whether DuckDB's headers are here."""
    return all((HEADERS / name).is_file() for name in _NAMES)


def has_compiler() -> bool:
    """Whether this machine has what the extension needs besides the headers."""
    return sys.platform != "win32" and shutil.which("cc") is not None


def can_build() -> bool:
    """Whether there are a compiler and headers, so that nothing need be fetched."""
    return has_compiler() and has_headers()


def fetch_headers() -> None:
    """Download DuckDB's source distribution with pip and keep its two C headers."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "duckdb", DUCKDB]
        subprocess.run([*pip, "--dest", folder], check=True)
        (archive,) = Path(folder).glob("duckdb-*.tar.gz")
        HEADERS.mkdir(exist_ok=True)
        with tarfile.open(archive) as opened:
            for member in opened:
                path = Path(member.name)
                if path.name in _NAMES and path.parent.as_posix().endswith("/src/include"):
                    source = opened.extractfile(member)
                    assert source is not None  # it is a file
                    (HEADERS / path.name).write_bytes(source.read())


def build(target: Path) -> Path:
    """Compile the extension, unsigned, to target, whose name must be sqlinfer.duckdb_extension."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "sqlinfer.so"
        version = [
            f"-DDUCKDB_EXTENSION_API_VERSION_{n}={v}" for n, v in zip(("MAJOR", "MINOR", "PATCH"), API, strict=True)
        ]
        flags = ["-O2", "-Wall", "-Wextra", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread"]
        defines = ["-DDUCKDB_EXTENSION_NAME=sqlinfer", "-DDUCKDB_BUILD_LOADABLE_EXTENSION", *version]
        # -isystem: the headers' own warnings are not ours
        subprocess.run(["cc", *flags, *defines, "-isystem", HEADERS, SOURCE, "-o", library], check=True)
        code = library.read_bytes() + footer()
    made = target.with_suffix(f".{os.getpid()}")
    made.write_bytes(code + bytes(SIGNATURE_BYTES))
    made.replace(target)  # one that is loaded somewhere keeps its own
    return target


def footer() -> bytes:
    """What stands between the library and its signature: eight fields of 32 bytes, the last first."""
    fields = ["", "", "", "C_STRUCT", _version(), "v" + ".".join(map(str, API)), duckdb_platform(), "4"]
    return _SECTION + b"".join(field.encode().ljust(32, b"\0") for field in fields)


def duckdb_platform() -> str:
    """This machine as DuckDB names it."""
    system = {"linux": "linux", "darwin": "osx"}.get(sys.platform, sys.platform)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return f"{system}_{machine}"


def _version() -> str:
    match = re.search(r'__version__ = "(.+)"', (HERE.parent / "sqlinfer" / "__init__.py").read_text())
    assert match is not None
    return match[1]


if __name__ == "__main__":
    sys.exit(main())
