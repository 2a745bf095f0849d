"""Hatchling's hook: a wheel carries the DuckDB extension if it can be built here, and is pure Python otherwise."""

from __future__ import annotations

import importlib.util
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Extension(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the extension into the package and says for which machines the wheel is then."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the wheel's files are collected."""
        build = _build_module(Path(self.root))
        if version == "editable" or not build.has_compiler():
            return
        try:
            if not build.has_headers():
                build.fetch_headers()
            path = build.build(build.BUILT)
        except (OSError, subprocess.CalledProcessError) as error:
            self.app.display_warning(f"this wheel is without the DuckDB extension: {error}")
            return
        build_data["force_include"][str(path)] = path.relative_to(self.root).as_posix()
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"


def _build_module(root: Path) -> Any:
    """extension/build.py, which no installed package holds."""
    spec = importlib.util.spec_from_file_location("sqlinfer_extension_build", root / "extension" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
