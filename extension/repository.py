"""Writes a signed extension repository, from which DuckDB 2.0 takes the extension without -unsigned.

`python -m extension.repository FOLDER [KEY.pem]`. Knows the layout that DuckDB reads; `openssl` signs.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from extension.build import BUILT, HERE, SIGNATURE_BYTES, duckdb_platform

KEY = HERE / "key.pem"
VERSIONS = ("v2.0.0",)
"""DuckDB looks below its own exact version; the file is the same for all."""
_CHUNK = 1 << 20


def main(argv: list[str]) -> int:
    """Write the repository and print the SQL that a user runs once."""
    if not argv:
        sys.exit("usage: python -m extension.repository FOLDER [KEY.pem]")
    if not BUILT.is_file():
        sys.exit(f"{BUILT} is not there; build it first: make extension")
    folder = Path(argv[0])
    write_repository(folder, BUILT, Path(argv[1]) if len(argv) > 1 else KEY)
    print(install_sql(str(folder.absolute())))
    return 0


def write_repository(folder: Path, extension: Path, key: Path) -> None:
    """Sign an extension and write it where DuckDB looks for it. key: a private key in PEM, made if it is not there."""
    if shutil.which("openssl") is None:
        sys.exit("repository: there is no `openssl` program to sign with; install OpenSSL")
    if not key.exists():
        _openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key)
        key.chmod(0o600)
    code = extension.read_bytes()[:-SIGNATURE_BYTES]
    signed = gzip.compress(code + _signature(code, key), mtime=0)
    for version in VERSIONS:
        place = folder / version / duckdb_platform()
        place.mkdir(parents=True, exist_ok=True)
        (place / "sqlinfer.duckdb_extension.gz").write_bytes(signed)
    known = folder / ".well-known"
    known.mkdir(exist_ok=True)
    public = _openssl("pkey", "-in", key, "-pubout").decode()
    (known / "duckdb-extension-repo.json").write_text(json.dumps({"signature_keys": [public]}))


def install_sql(prefix: str) -> str:
    """What a user of DuckDB 2.0 runs once; after it, LOAD sqlinfer FROM sqlinfer does in every session."""
    escaped = prefix.replace("'", "''")
    return (
        "SET allow_extension_repositories = 'allowed';\n"
        f"CREATE EXTENSION REPOSITORY sqlinfer WITH PREFIX '{escaped}';\n"
        "INSTALL sqlinfer FROM sqlinfer;\n"
        "LOAD sqlinfer FROM sqlinfer;"
    )


def _signature(code: bytes, key: Path) -> bytes:
    """Of the hash of the hashes of each MiB, as DuckDB checks it."""
    chunks = (code[at : at + _CHUNK] for at in range(0, len(code), _CHUNK))
    digest = hashlib.sha256(b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)).digest()
    with tempfile.NamedTemporaryFile() as file:
        file.write(digest)
        file.flush()
        return _openssl("pkeyutl", "-sign", "-inkey", key, "-pkeyopt", "digest:sha256", "-in", file.name)


def _openssl(*words: str | Path) -> bytes:
    return subprocess.run(["openssl", *words], check=True, capture_output=True).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
