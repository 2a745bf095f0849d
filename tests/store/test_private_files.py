"""Whatever is used first makes the state folder: for its owner alone, and left out by git."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sqlinfer.project.state import last_build
from sqlinfer.serve.server import Server
from sqlinfer.serve.service import Service
from sqlinfer.store import Store
from sqlinfer.store.private_files import make_folder, open_file, write_file


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def begin_build(home: Path) -> None:
    (home.parent / "sqlinfer.yml").write_text("name: shop")
    last_build(home.parent).begin(["a"], {}, full_refresh=False)


def listen(home: Path) -> None:
    server = Server(Service.__new__(Service))
    server.listen(home / "serve.sock")


FIRST_USES: dict[str, Callable[[Path], object]] = {
    "store": lambda home: Store(home).close(),
    "build": begin_build,
    "server": listen,
    "log": lambda home: os.close(open_file(home / "serve.log", os.O_WRONLY | os.O_APPEND)),
    "file": lambda home: write_file(home / "functions.sql", "SELECT 1"),
}


@pytest.mark.parametrize("use", FIRST_USES.values(), ids=FIRST_USES)
def test_the_state_folder_is_for_its_owner_alone(use: Callable[[Path], object], tmp_path: Path) -> None:
    home = tmp_path / "home"
    use(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert (home / ".gitignore").read_text() == "*\n"
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()} == {0o600}


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_folder(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert not list(tmp_path.iterdir())


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_file(tmp_path / "a", "before")
    with pytest.raises(UnicodeEncodeError):
        write_file(tmp_path / "a", "x" * 100_000 + "\ud800")
    assert (tmp_path / "a").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
