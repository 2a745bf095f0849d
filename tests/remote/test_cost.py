"""Laws of money: it is known before and counted after, and a budget is passed by no more than what is in flight."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqlinfer.errors import SqlinferError, StoppedEarly
from sqlinfer.remote import list_prices
from sqlinfer.sql import Session
from sqlinfer.sql.explain.explain import explain
from tests.remote.faulty_server import FaultyServer, completion


@pytest.fixture
def priced(con: Session, server: FaultyServer, home: Path) -> Session:
    """A session whose model costs 0.1 dollars a token read, 0.05 from the cache, and 0.2 written."""
    (home / "prices.toml").write_text('["127.0.0.1"]\nm = [100000, 50000, 200000]\n')
    return con


def test_cost_is_counted_by_the_usage_of_the_server(priced: Session, server: FaultyServer) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
    server.answer = lambda body: {**completion("x"), "usage": usage}
    priced.sql("SELECT ai_gen('row ' || i) FROM range(3) r(i)").fetchall()
    cost = 3 * (6 * 0.1 + 4 * 0.05 + 5 * 0.2)
    (job,) = priced.runtime.store.jobs.list()
    assert job.cost == pytest.approx(cost)
    assert priced.sql("SELECT sum(cost) FROM sqlinfer_usage()").fetchall() == [(pytest.approx(cost),)]
    assert priced.sql("SELECT max(cost) FROM sqlinfer_jobs()").fetchall() == [(pytest.approx(cost),)]


def test_cost_is_known_before_and_zero_once_all_is_cached(priced: Session, server: FaultyServer) -> None:
    script = {"q": "SELECT ai_gen('eight by', max_tokens := 5)"}
    explanation = explain(priced, script)
    assert explanation.cost == pytest.approx(10 * 0.1 + 5 * 0.2)  # 2 tokens of text, 8 of the chat format
    assert server.bodies == []
    priced.sql(script["q"]).fetchall()
    assert explain(priced, script).cost == 0


def test_a_budget_of_money_is_passed_by_no_more_than_what_is_in_flight(priced: Session, server: FaultyServer) -> None:
    priced.execute("SET sqlinfer_max_in_flight = 2; SET sqlinfer_max_cost = 60")
    with pytest.raises(StoppedEarly, match=r"max_cost is 60.* US dollars"):
        priced.sql("SELECT ai_gen(i || '') FROM range(60) r(i)").fetchall()  # 2 dollars each, 0.9 for the prompt
    assert sum(server.answered.values()) * 2 <= 60 + (1 + 2) * 2
    priced.execute("SET sqlinfer_max_cost = 1000")
    priced.sql("SELECT ai_gen(i || '') FROM range(60) r(i)").fetchall()
    assert len(server.answered) == 60


def test_what_cannot_fit_a_budget_of_money_is_not_begun(priced: Session, server: FaultyServer) -> None:
    priced.execute("SET sqlinfer_max_cost = 1")
    with pytest.raises(StoppedEarly, match="None of these requests was asked"):
        priced.sql("SELECT ai_gen('row ' || i) FROM range(100) r(i)").fetchall()
    assert server.bodies == []


def test_a_server_in_the_own_network_costs_nothing_and_others_are_unknown(con: Session, server: FaultyServer) -> None:
    con.sql("SELECT ai_gen('a')").fetchall()
    assert con.sql("SELECT cost FROM sqlinfer_usage()").fetchall() == [(0.0,)]
    con.execute("CREATE MODEL dear FROM 'https://api.example.org/v1' WITH (remote_model = 'm')")
    assert explain(con, {"q": "SELECT ai_gen('b', model := 'dear')"}).cost is None
    con.execute("SET sqlinfer_max_cost = 5")
    with pytest.raises(SqlinferError, match="no price of dear/1"):
        con.sql("SELECT ai_gen('b', model := 'dear')").fetchall()


def test_what_a_server_says_it_cost_goes_before_the_list(priced: Session, server: FaultyServer) -> None:
    server.answer = lambda body: {
        **completion("x"),
        "usage": {"prompt_tokens": 9, "completion_tokens": 1, "cost": 0.25},
    }
    priced.sql("SELECT ai_gen('a')").fetchall()
    assert priced.runtime.store.jobs.list()[0].cost == 0.25


@pytest.mark.parametrize("content", ["no TOML", '["h"]\nm = 3', '["h"]\nm = [1, 2]', '["h"]\nm = [1, 2, -3]'])
def test_a_price_list_that_cannot_be_used_names_its_file(home: Path, content: str) -> None:
    home.mkdir(exist_ok=True)
    (home / "prices.toml").write_text(content)
    with pytest.raises(SqlinferError, match=r"prices\.toml"):
        list(list_prices())
