"""Runs a file of a udfs/ folder together with the files beside it that it imports, its helpers.

A helper belongs to the file that imports it: another folder may have another one of the same name, and an edited one
makes another module of each file that imports it. So neither sys.path nor the names in sys.modules take part.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any


def load_module(path: Path) -> tuple[ModuleType, str]:
    """The module of a file, and the SHA-256, in hex, of the file and its helpers. Raises what the code raises."""
    sources = _sources(path.absolute())
    hashes = {file.stem: hashlib.sha256(source).hexdigest() for file, source in sources.items()}
    content_hash = hashes.pop(path.stem)
    if hashes:
        content_hash = hashlib.sha256(f"{content_hash} {sorted(hashes.items())}".encode()).hexdigest()
    return _Modules(path.absolute(), sources, content_hash).module(path.stem), content_hash


def _sources(path: Path) -> Mapping[Path, bytes]:
    """A file and its helpers, and theirs."""
    sources: dict[Path, bytes] = {}
    unread = [path]
    while unread:
        file = unread.pop()
        if file not in sources:
            sources[file] = file.read_bytes()
            beside = (path.with_name(f"{name}.py") for name in _imported(sources[file]))
            unread += [helper for helper in beside if helper.is_file()]
    return sources


def _imported(source: bytes) -> Iterator[str]:
    """The first parts of the names of the modules that a file imports, also within functions."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # raised again, with its place, when the file is run
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module else [alias.name for alias in node.names]
        else:
            continue
        yield from {name.partition(".")[0] for name in names} - sys.stdlib_module_names


class _Modules:
    """The modules of one file and its helpers, by the stems of their files."""

    def __init__(self, path: Path, sources: Mapping[Path, bytes], content_hash: str) -> None:
        self._files = {file.stem: (file, source) for file, source in sources.items()}
        self._key = hashlib.sha256(f"{path} {content_hash}".encode()).hexdigest()[:12]

    def module(self, stem: str) -> ModuleType:
        """The module of a file, which is run the first time."""
        name = f"sqlinfer_udfs.{stem}_{self._key}"
        if name not in sys.modules:
            path, source = self._files[stem]
            module = ModuleType(name)
            module.__file__ = str(path)
            module.__dict__["__builtins__"] = {**vars(builtins), "__import__": self._import}
            sys.modules[name] = module
            try:
                exec(compile(source, str(path), "exec"), module.__dict__)
            except BaseException:
                del sys.modules[name]
                raise
        return sys.modules[name]

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> Any:
        """What an import statement of these files does: as Python's own, but that helpers are found first."""
        if name in self._files and level <= 1:
            return self.module(name)
        if level == 1 and not name:
            return SimpleNamespace(**{each: self.module(each) for each in fromlist if each in self._files})
        return builtins.__import__(name, globals, locals, fromlist, level)
