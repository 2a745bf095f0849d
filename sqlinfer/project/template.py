"""Model files as templates: Jinja in its sandbox, with ref, source, var, config, this and is_incremental.

Knows no graph and no database: what the names give is handed in.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError
from jinja2.runtime import Macro
from jinja2.sandbox import SandboxedEnvironment

from sqlinfer.errors import SqlinferError, nearest

_REQUIRED = object()


@dataclass(frozen=True, slots=True)
class TemplateNames:
    """What the names in a template give.

    ref: the SQL of a node's relation.
    source: the SQL of a source's table, by group and name.
    config: takes the settings of config(..).
    this: the SQL of the node's own relation.
    is_incremental: what is_incremental() is.
    """

    ref: Callable[[str], str]
    source: Callable[[str, str], str]
    config: Callable[[Mapping[str, Any]], None] = lambda _: None
    this: str = ""
    is_incremental: bool = False


@dataclass(slots=True)
class Scan:
    """What a template mentions.

    config: its settings.
    refs: names of nodes, each once and in order.
    sources: group and name, each once and in order.
    """

    config: dict[str, Any] = field(default_factory=dict)
    refs: dict[str, None] = field(default_factory=dict)
    sources: dict[tuple[str, str], None] = field(default_factory=dict)


class Templates:
    """Renders the templates of one project. macros: path and text of each file of macros. variables: what var gives."""

    def __init__(self, macros: Iterable[tuple[Path, str]], variables: Mapping[str, Any]) -> None:
        self._environment = SandboxedEnvironment(undefined=StrictUndefined, extensions=["jinja2.ext.do"])
        self._variables = variables
        self._files: set[str] = set()
        self._macros = [(path, self._compile(path, text)) for path, text in macros]

    def scan(self, path: Path, text: str) -> Scan:
        """What a template mentions, in a first run and in an incremental one."""
        scan = Scan()

        def ref(name: str) -> str:
            scan.refs[name] = None
            return name

        def source(group: str, name: str) -> str:
            scan.sources[group, name] = None
            return name

        for is_incremental in (False, True):
            self.render(path, text, TemplateNames(ref, source, scan.config.update, "this", is_incremental))
        return scan

    def render(self, path: Path, text: str, names: TemplateNames) -> str:
        """The text of a template; an error names the file and the line."""
        template = self._compile(path, text)
        context = {**self._environment.globals, **self._names(names)}
        for file, macros in self._macros:
            module = self._placed(file, partial(macros.make_module, context, shared=True))
            context.update({name: value for name, value in vars(module).items() if isinstance(value, Macro)})
        return str(self._placed(path, partial(template.render, context)))

    def _names(self, names: TemplateNames) -> dict[str, Any]:
        def ref(name: str) -> str:
            return names.ref(name)

        def source(group: str, name: str) -> str:
            return names.source(group, name)

        def config(**values: Any) -> str:
            names.config(values)
            return ""

        def is_incremental() -> bool:
            return names.is_incremental

        functions = (ref, source, config, is_incremental)
        return {**{each.__name__: each for each in functions}, "var": self._var, "this": names.this}

    def _var(self, name: str, default: Any = _REQUIRED) -> Any:
        if name in self._variables:
            return self._variables[name]
        if default is _REQUIRED:
            raise SqlinferError(
                f"there is no variable {name}. {nearest(name, self._variables)}".rstrip()
                + " Set it below `vars:` in sqlinfer.yml, "
                f"with --vars '{{{name}: ..}}', or give a default: var('{name}', default)"
            )
        return default

    def _compile(self, path: Path, text: str) -> Template:
        self._files.add(str(path))
        try:
            code = self._environment.compile(text, name=str(path), filename=str(path))
        except TemplateSyntaxError as error:
            raise SqlinferError(f"{path}, line {error.lineno}: {error.message}") from None
        return Template.from_code(self._environment, code, self._environment.globals)

    def _placed(self, path: Path, run: Callable[[], Any]) -> Any:
        try:
            return run()
        except Exception as error:  # noqa: BLE001 - the author's template may raise anything
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in self._files]
            location = f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else str(path)
            raise SqlinferError(f"{location}: {error}") from None
