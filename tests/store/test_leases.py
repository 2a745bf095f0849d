"""What one process asks, another waits for; who is gone claims nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sqlinfer.store import Store

A, B, C = (letter * 16 for letter in (b"a", b"b", b"c"))


@pytest.fixture
def second(store: Store, tmp_path: Path) -> Store:
    """The same store, opened again."""
    return Store(tmp_path / "home")


def test_a_key_belongs_to_one_lease(store: Store, second: Store) -> None:
    one, two = store.lease(), second.lease()
    assert one.take([A, B], ()) == set()
    assert two.take([B, C], ()) == {B}
    assert one.take([C], [A]) == {C}  # B was let go of
    assert two.take([B], [C]) == set()
    one.release()
    assert two.take([A], [B, C]) == set()
    two.release()
    second.close()


def test_claims_of_a_private_store_hinder_nobody(store: Store, tmp_path: Path) -> None:
    store.lease().take([A], ())
    with Store(tmp_path / "home", keep_answers=False) as private:
        assert private.lease().take([A], ()) == set()


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param("UPDATE claims SET process = 'another-boot:x:1'", id="its machine was started anew"),
        pytest.param("UPDATE claims SET touched = touched - 3600", id="it is silent"),
        pytest.param("UPDATE claims SET touched = touched + 3600", id="the clock went back"),
    ],
)
def test_who_is_gone_claims_nothing(store: Store, second: Store, spoil: str) -> None:
    one, two = store.lease(), second.lease()
    one.take([A], ())
    with store._database.writing() as connection:
        connection.execute(spoil)
    assert two.take([A], ()) == set()
    one.touch()
    one.release()
    assert store.lease().take([A], ()) == {A}
    second.close()


def test_who_shows_life_keeps_its_lease(store: Store, second: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = store.lease(), second.lease()
    one.take([A], ())
    later: Callable[[], float] = time.monotonic
    monkeypatch.setattr("sqlinfer.store.leases.time.monotonic", lambda: later() + 60)
    with store._database.writing() as connection:
        connection.execute("UPDATE claims SET touched = touched - 500")
    one.touch()
    with store._database.reading() as connection:
        ((touched,),) = connection.execute("SELECT touched FROM claims").fetchall()
    assert abs(time.time() - touched) < 60
    assert two.take([A], ()) == {A}
    second.close()
