"""Runs a file of a udfs/ folder together with what it imports from that folder, its helpers.

A helper belongs to the file that imports it: another folder may have another one of the same name, and an edited one
makes another module of each file that imports it. So neither sys.path nor the names in sys.modules take part.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import sys
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any


def load_module(path: Path) -> tuple[ModuleType, str, str]:
    """The module of a file, and two SHA-256, in hex, of the file and its helpers: of their texts, and of what decides
    the requests. Raises what the code raises."""
    files = _Files(path.absolute())
    return _Modules(files).module(path.stem), files.content_hash, files.requests_hash


class _Files:
    """A file and its helpers, and theirs: the paths and sources of modules by their names within the folder.

    The folder itself is the module "", and one without an __init__.py a module without a source.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sources: dict[str, tuple[Path, bytes]] = {"": (path.parent, b""), path.stem: (path, path.read_bytes())}
        unread = [path.stem]
        while unread:
            name = unread.pop()
            for imported in _imported(self.sources[name][1], self.package(name)):
                unread += [prefix for prefix in _prefixes(imported) if self._add(prefix)]
        sources = {name: source for name, (_, source) in self.sources.items() if source}
        self.content_hash = _hash(sources, path.stem)
        self.requests_hash = _hash({name: _request_code(source) for name, source in sources.items()}, path.stem)

    def _add(self, name: str) -> bool:
        """Read a module that is new; whether it is there."""
        if name in self.sources or name.partition(".")[0] in sys.stdlib_module_names:
            return False
        module_path = self.path.parent.joinpath(*name.split("."))
        for file in (module_path / "__init__.py", module_path.with_suffix(".py")):
            if file.is_file():
                self.sources[name] = file, file.read_bytes()
                return True
        if module_path.is_dir():
            self.sources[name] = module_path, b""
        return module_path.is_dir()

    def package(self, name: str) -> str:
        """The package that the relative imports of a module begin at: itself, if it is one."""
        path, _ = self.sources[name]
        return name if path.stem == "__init__" or not path.suffix else name.rpartition(".")[0]


class _Modules:
    """The modules of one file and its helpers."""

    def __init__(self, files: _Files) -> None:
        self._files = files
        self._key = hashlib.sha256(f"{files.path} {files.content_hash}".encode()).hexdigest()[:12]

    def module(self, name: str) -> ModuleType:
        """The module of a name within the folder, which is run the first time."""
        full_name = f"sqlinfer_udfs.{name}_{self._key}"
        if full_name not in sys.modules:
            path, source = self._files.sources[name]
            module = ModuleType(full_name)
            module.__file__ = str(path)
            module.__package__ = self._files.package(name)
            module.__dict__["__builtins__"] = {**vars(builtins), "__import__": self._import}
            sys.modules[full_name] = module
            try:
                exec(compile(source, str(path), "exec"), module.__dict__)
            except BaseException:
                del sys.modules[full_name]
                raise
        return sys.modules[full_name]

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        """What an import statement of these files does: as Python's own, but that helpers are found first."""
        absolute = _absolute(name, str((globals or {}).get("__package__") or ""), level)
        first = absolute.partition(".")[0]
        if first not in self._files.sources or (not level and not first):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        for prefix in ["", *_prefixes(absolute)]:
            self._set_attribute(prefix)
        module = self.module(absolute if fromlist else first)
        for each in fromlist or ():
            inner = f"{absolute}.{each}".lstrip(".")
            if not hasattr(module, each) and inner in self._files.sources:
                self._set_attribute(inner)
        return module

    def _set_attribute(self, name: str) -> None:
        """Run a module, and make it an attribute of its package."""
        if name not in self._files.sources:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        module = self.module(name)
        if name:
            package, _, own = name.rpartition(".")
            setattr(self.module(package), own, module)


def _hash(sources: Mapping[str, bytes], name: str) -> str:
    """The SHA-256 of the source of a name and of its helpers' sources."""
    hashes = sorted((each, hashlib.sha256(source).hexdigest()) for each, source in sources.items())
    own = dict(hashes)[name]
    return own if len(hashes) == 1 else hashlib.sha256(f"{own} {hashes}".encode()).hexdigest()


def _request_code(source: bytes) -> bytes:
    """The lines of a file without comments, blank lines and `read`, which makes no request.

    >>> _request_code(b"A = 1  # one\\n\\n# two\\ndef read(text):\\n    return A\\n")
    b'A = 1'
    """
    lines = source.decode("utf-8", "replace").split("\n")
    try:
        for token in tokenize.tokenize(BytesIO(source).readline):
            if token.type == tokenize.COMMENT:
                line = token.start[0] - 1
                lines[line] = lines[line][: token.start[1]]
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef) and node.name == "read":
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                lines[first - 1 : node.end_lineno] = [""] * ((node.end_lineno or first) - first + 1)
    except (SyntaxError, ValueError, tokenize.TokenError):  # raised again, with its place, when the file is run
        return source
    return "\n".join(filter(None, map(str.rstrip, lines))).encode()


def _imported(source: bytes, package: str) -> Iterator[str]:
    """The names of what a file imports, as modules of its folder; also within functions."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # raised again, with its place, when the file is run
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node.module or "", package, node.level)
            yield module
            yield from (f"{module}.{alias.name}".lstrip(".") for alias in node.names)


def _absolute(name: str, package: str, level: int) -> str:
    """The name of a module that an import of this level in a package names."""
    if not level:
        return name
    parents = package.split(".")
    return ".".join(part for part in (*parents[: len(parents) - level + 1], name) if part)


def _prefixes(name: str) -> list[str]:
    """A module and the packages that it lies in, the outermost first.

    >>> _prefixes("a.b")
    ['a', 'a.b']
    """
    parts = name.split(".") if name else []
    return [".".join(parts[: end + 1]) for end in range(len(parts))]
