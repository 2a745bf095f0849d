"""What a wheel holds, and what an installed wheel finds."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from pathlib import Path

import duckdb
import pytest

from extension.build import can_build
from sqlinfer.engine import BUILTINS
from sqlinfer.functions import built_in_folder

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.packaging


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"), os.environ)


def build_wheel(folder: Path, environment: Mapping[str, str]) -> Path:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, env=environment, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_every_module_and_function(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        for path in [*ROOT.glob("udfs/*.py")]:
            assert archive.read(f"sqlinfer/udfs/{path.name}") == path.read_bytes()
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "sqlinfer").rglob("*.py")}
    functions = {f"sqlinfer/udfs/{path.name}" for path in (ROOT / "udfs").glob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules | functions
    assert "sqlinfer/py.typed" in names
    (info,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
    assert f"{info}/licenses/LICENSE" in names
    assert not [name for name in names if not name.startswith(("sqlinfer/", info)) or "__pycache__" in name]


def test_the_wheel_holds_the_built_in_models_whole(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for version in BUILTINS.values():
            for file in (path for path in version.path.rglob("*") if path.is_file()):
                assert archive.read(file.relative_to(ROOT).as_posix()) == file.read_bytes()


@pytest.mark.parametrize("cwd", ["/", str(ROOT)])
def test_the_unpacked_wheel_has_the_functions_of_the_checkout(wheel: Path, tmp_path: Path, cwd: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\nfrom sqlinfer import functions\n"
        "from pathlib import Path\nfound = functions.load_functions(Path.cwd() / 'udfs')\n"
        "print(functions.__file__, *sorted(found), sep='\\n')"
    )
    listed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=cwd, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert listed[0] == str(tmp_path / "sqlinfer" / "functions" / "__init__.py")
    assert {path.stem for path in built_in_folder().glob("*.py")} <= set(listed[1:])


def test_the_wheel_carries_the_extension_and_says_for_which_machines_it_is(wheel: Path, tmp_path: Path) -> None:
    if not can_build():
        pytest.skip("the extension needs a C compiler and DuckDB's headers: make extension")
    machines = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert wheel.name.endswith(f"-py3-none-{machines}.whl")
    with zipfile.ZipFile(wheel) as archive:
        carried = archive.extract("sqlinfer/serve/sqlinfer.duckdb_extension", tmp_path)
        (info,) = (name for name in archive.namelist() if name.endswith(".dist-info/WHEEL"))
        assert "Root-Is-Purelib: false" in archive.read(info).decode()
    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as connection:
        connection.execute(f"LOAD '{carried}'")
        found = "SELECT count(*) FROM duckdb_functions() WHERE function_name = '__sqlinfer_call'"
        assert connection.execute(found).fetchone() == (1,)


def test_a_wheel_that_is_built_without_a_compiler_is_for_all_machines(tmp_path: Path) -> None:
    built = build_wheel(tmp_path, {**os.environ, "PATH": ""})
    assert built.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(built) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".duckdb_extension")]
