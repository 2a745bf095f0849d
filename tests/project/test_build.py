"""`sqlinfer build`, `test` and `retry` on the echo model."""

from __future__ import annotations

import json
import logging
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from sqlinfer.store import Store
from tests.conftest import EchoEngine
from tests.project.conftest import REVIEWS, Invoke, Rows, Write

FILES = {
    "seeds/reviews.csv": REVIEWS,
    "models/clean.sql": "{{ config(materialized='ephemeral') }}\n"
    "SELECT id, trim(review) AS review FROM {{ ref('reviews') }}",
    "models/answers.sql": "SELECT id, ai_gen(review) AS answer FROM {{ ref('clean') }} -- each",
    "models/angry.sql": "{{ config(materialized='view') }}\n"
    "SELECT * FROM {{ ref('answers') }} WHERE answer LIKE '%angry%'",
    "models/other.sql": "SELECT count(*) AS n FROM {{ ref('reviews') }}",
}
TESTED = "models: [{name: answers, columns: [{name: id, tests: [unique, not_null]}]}]"
INCREMENTAL = """
{{ config(materialized='incremental', unique_key='id') }}
SELECT id, review, ai_gen(review) AS answer FROM {{ ref('reviews') }} AS new
{% if is_incremental() %}
WHERE NOT EXISTS (FROM {{ this }} AS old WHERE old.id = new.id AND old.review = new.review)
{% endif %}
"""


def states(invoke: Invoke, *words: str, code: int = 0) -> dict[str, str]:
    results = json.loads(invoke(*words, "--json", code=code).stdout)
    return {result["name"]: result["state"] for result in results}


def test_files_become_the_tables_and_views_of_their_names(invoke: Invoke, write: Write, rows: Rows) -> None:
    write(FILES)
    result = invoke("build")
    assert rows("FROM answers ORDER BY id") == [(1, "<angry lamp>"), (2, "<calm chair>"), (3, "<angry desk>")]
    assert rows("FROM angry ORDER BY id") == [(1, "<angry lamp>"), (3, "<angry desk>")]
    assert rows("SELECT table_name, table_type FROM information_schema.tables ORDER BY ALL") == [
        ("angry", "VIEW"), ("answers", "BASE TABLE"), ("other", "BASE TABLE"), ("reviews", "BASE TABLE"),
    ]  # fmt: skip
    assert "4 done, 0 failed, 0 skipped" in result.stderr
    assert "3 requests: 0 known, 3 generated, 0 failed" in result.stderr


def test_the_duckdb_program_reads_what_a_build_made(
    invoke: Invoke, write: Write, root: Path, duckdb_program: str
) -> None:
    write(FILES)
    invoke("build")
    command = [duckdb_program, "shop.duckdb", "-list", "-noheader", "-c", "FROM angry ORDER BY id"]
    read = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True)
    assert read.stdout == "1|<angry lamp>\n3|<angry desk>\n"


def test_a_second_build_asks_nothing(invoke: Invoke, write: Write, echoing: EchoEngine) -> None:
    write(FILES)
    invoke("build")
    invoke("build", "--threads", "4")
    assert len(echoing.asked) == 3


def test_a_project_is_found_from_a_folder_inside(
    invoke: Invoke, write: Write, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(FILES)
    monkeypatch.chdir("models")
    invoke("build", "other+", "reviews")
    assert rows("FROM other") == [(3,)]


def test_an_incremental_model_asks_new_and_changed_rows_only(
    invoke: Invoke, write: Write, rows: Rows, echoing: EchoEngine, home: Path
) -> None:
    write({"seeds/reviews.csv": REVIEWS, "models/m.sql": INCREMENTAL})
    invoke("build")
    write({"seeds/reviews.csv": REVIEWS.replace("calm", "dear") + "4,new lamp\n"})
    invoke("build")
    assert echoing.texts == ["angry lamp", "calm chair", "angry desk", "dear chair", "new lamp"]
    assert rows("SELECT id, answer FROM m ORDER BY id") == [
        (1, "<angry lamp>"), (2, "<dear chair>"), (3, "<angry desk>"), (4, "<new lamp>"),
    ]  # fmt: skip
    with Store(home) as store:
        second, first = store.jobs.list()
    assert (first.rows, first.requests, first.generated) == (3, 3, 3)
    assert (second.rows, second.requests, second.known, second.generated) == (2, 2, 0, 2)
    assert first.settings["node"] == "m"


def test_a_full_refresh_makes_an_incremental_model_anew(invoke: Invoke, write: Write, rows: Rows) -> None:
    write({"seeds/reviews.csv": REVIEWS, "models/m.sql": INCREMENTAL})
    invoke("build")
    write({"models/m.sql": INCREMENTAL.replace("AS answer", "AS told")})
    assert "models/m.sql: " in invoke("build", code=1).stderr
    invoke("build", "--full-refresh")
    assert rows("SELECT max(told) FROM m") == [("<calm chair>",)]


def test_without_a_unique_key_rows_are_added(invoke: Invoke, write: Write, rows: Rows) -> None:
    write({"models/m.sql": "{{ config(materialized='incremental') }} SELECT 1 AS i"})
    invoke("build")
    invoke("build")
    assert rows("FROM m") == [(1,), (1,)]


def test_a_table_becomes_a_view_and_back(invoke: Invoke, write: Write, rows: Rows) -> None:
    for kind in ("table", "view", "table", "incremental", "view", "incremental"):
        write({"models/m.sql": f"{{{{ config(materialized='{kind}') }}}} SELECT '{kind}' AS kind"})
        invoke("build")
        assert rows("FROM m")[-1] == (kind,)


def test_what_fails_holds_back_what_stands_on_it_and_no_more(
    invoke: Invoke, write: Write, rows: Rows, echoing: EchoEngine
) -> None:
    write({**FILES, "seeds/reviews.csv": REVIEWS + "4,boom\n"})
    result = invoke("build", code=1)
    assert "models/answers.sql: 1 request failed" in result.stderr
    assert "depends on answers, which failed" in result.stderr
    assert rows("SELECT table_name FROM information_schema.tables ORDER BY ALL") == [("other",), ("reviews",)]
    write(
        {
            "models/answers.sql": FILES["models/answers.sql"]
            .replace("AS answer", "AS answer")
            .replace("review)", "replace(review, 'boom', 'calm'))")
        }
    )
    assert states(invoke, "retry") == {"answers": "done", "angry": "done"}
    assert echoing.texts[-1] == "calm"
    assert len(echoing.asked) == 5
    assert "left nothing to do" in invoke("retry").stderr


def test_a_failed_build_leaves_the_table_as_it_was(invoke: Invoke, write: Write, rows: Rows) -> None:
    write(FILES)
    invoke("build")
    write({"seeds/reviews.csv": "id,review\n7,boom\n"})
    invoke("build", code=1)
    assert len(rows("FROM answers")) == 3


def test_on_error_and_model_of_a_config_hold_for_calls_that_say_none(
    invoke: Invoke, write: Write, rows: Rows, home: Path
) -> None:
    with Store(home) as store:
        store.registry.register("other", str(store.registry.get("echo").path))
    write(
        {
            "seeds/reviews.csv": REVIEWS + "4,boom\n",
            "models/m.sql": "{{ config(on_error='null', model='other') }}\n"
            "SELECT id, ai_gen(review) AS a FROM {{ ref('reviews') }}",
        }
    )
    invoke("build", "--threads", "2")
    assert rows("SELECT a FROM m WHERE id > 2 ORDER BY id") == [("<angry desk>",), (None,)]
    with Store(home) as store:
        assert store.jobs.list()[0].models == ("other/1",)


def test_a_failed_test_holds_back_what_stands_on_its_model(invoke: Invoke, write: Write, rows: Rows) -> None:
    write({**FILES, "models/schema.yml": TESTED, "seeds/reviews.csv": REVIEWS + "3,twice\n"})
    result = invoke("build", code=1)
    assert "models/schema.yml: 1 row is wrong:" in result.stderr
    assert "id = 3, num_rows = 2" in result.stderr
    assert "depends on unique_answers_id, which failed" in result.stderr
    assert len(rows("FROM answers")) == 4
    write({"seeds/reviews.csv": REVIEWS})
    assert states(invoke, "build")["angry"] == "done"


def test_tests_find_the_rows_that_are_wrong(invoke: Invoke, write: Write) -> None:
    write(
        {
            "models/m.sql": "FROM (VALUES (1, 'a'), (1, 'b'), (NULL, '{{ '{{' }}')) AS v(i, s)",
            "models/m.yml": "models: [{name: m, columns: [{name: i, tests: [unique, not_null]}, {name: s, tests: "
            "[not_null, {accepted_values: {arguments: {values: [a, '{{']}}}]}]}]",
            "tests/long.sql": "SELECT s FROM {{ ref('m') }} WHERE length(s) > 1 AND ai_filter(s, 'angry')",
        }
    )
    invoke("build", "m", code=1)
    assert states(invoke, "test", code=1) == {
        "unique_m_i": "failed", "not_null_m_i": "failed", "not_null_m_s": "done",
        "accepted_values_m_s": "failed", "long": "done",
    }  # fmt: skip


def test_what_a_node_needs_and_is_not_built_is_named(invoke: Invoke, write: Write) -> None:
    write(FILES)
    assert (
        "reviews not built yet. Build it too: sqlinfer build --select +answers"
        in invoke("build", "answers", code=1).stderr
    )


def test_a_secret_variable_is_not_kept_and_is_given_again(invoke: Invoke, write: Write, rows: Rows, home: Path) -> None:
    write({"models/a.sql": "SELECT '{{ var('api_key') }}' AS k, {{ var('n') }} AS n FROM {{ var('t') }}"})
    words = "{api_key: s3cr3t-V4lue, n: 1, t: nosuch}"
    invoke("build", "--vars", words, code=1)
    (file,) = home.glob("build-*")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "s3cr3t" not in file.read_text()
    assert "variable api_key, which holds a secret" in invoke("retry", code=1).output
    invoke("retry", "--vars", "{api_key: s3cr3t-V4lue, t: range(1)}")
    assert rows("FROM a") == [("s3cr3t-V4lue", 1)]
    assert "s3cr3t" not in file.read_text()


def test_variables_of_a_build_hold_for_its_retry(invoke: Invoke, write: Write, rows: Rows) -> None:
    write({"models/m.sql": "SELECT {{ var('n') }} AS n, i FROM broken"})
    invoke("build", "--vars", "{n: 5}", code=1)
    write({"models/m.sql": "SELECT {{ var('n') }} AS n"})
    invoke("retry")
    assert rows("FROM m") == [(5,)]


@pytest.mark.parametrize("command", ["build", "test", "retry"])
def test_a_quiet_command_says_errors_alone(invoke: Invoke, write: Write, root: Path, command: str) -> None:
    (root / "sqlinfer.yml").write_text("settings: {mini_batch_size: 2}\n")  # which is answered by a warning
    write({"models/a.sql": "SELECT ai_gen('a', model := 'echo') AS a, i FROM broken"})
    failed = invoke("build", code=1)
    assert "1 failed" in failed.stderr
    write(
        {
            "models/a.sql": "SELECT ai_gen('a', model := 'echo') AS a",
            "tests/t.sql": "SELECT a FROM (SELECT ai_gen('b', model := 'echo') AS a) WHERE a = 'x'",
        }
    )
    assert "mini_batch_size" in invoke("build").stderr
    write({"models/a.sql": "SELECT ai_gen('c', model := 'echo') AS a, i FROM broken"})
    invoke("build", code=1)
    write({"models/a.sql": "SELECT ai_gen('d', model := 'echo') AS a"})
    assert invoke(command, "--quiet").stderr == ""
    assert logging.getLogger("sqlinfer").level == logging.NOTSET


def test_nodes_are_built_at_once(invoke: Invoke, write: Write, root: Path, echoing: EchoEngine) -> None:
    write({f"models/m{i}.sql": f"SELECT ai_gen('{i}') AS a" for i in range(6)})
    at_once: list[int] = []
    answer = echoing._answer

    def watched(request: object) -> str:
        at_once.append(sum(thread.name.startswith("ThreadPool") for thread in threading.enumerate()))
        return answer(request)  # type: ignore[arg-type]

    echoing._answer = watched
    assert set(states(invoke, "build", "--threads", "3").values()) == {"done"}
    assert max(at_once) == 3
    assert sorted(echoing.texts) == list("012345")


def test_nodes_are_listed_in_order(invoke: Invoke, write: Write) -> None:
    write({**FILES, "models/schema.yml": TESTED})
    listed = json.loads(invoke("ls", "+angry", "--json").stdout)
    assert [node["name"] for node in listed][:2] == ["reviews", "clean"]
    assert {node["name"]: node["materialized"] for node in listed} == {
        "reviews": "seed", "clean": "ephemeral", "answers": "table", "angry": "view",
        "unique_answers_id": "test", "not_null_answers_id": "test",
    }  # fmt: skip
    assert "models/answers.sql" in invoke("ls").stdout


def test_outside_of_a_project_the_way_to_one_is_named(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "`sqlinfer init FOLDER` makes a project" in invoke("build", code=1).stderr


def test_what_a_build_writes_is_not_said_by_output_action(invoke: Invoke, write: Write) -> None:
    write(FILES)
    assert "materialized" in invoke("build", "--output-action", "append_row", code=1).stderr


def test_explain_tells_the_cost_of_each_node_and_asks_and_builds_nothing(
    invoke: Invoke, write: Write, root: Path, echoing: EchoEngine
) -> None:
    write({"sqlinfer.yml": "name: shop"})  # the tokens are counted by a real tokenizer
    write({**FILES, "models/m.sql": INCREMENTAL, "models/again.sql": "SELECT ai_gen(answer) FROM {{ ref('answers') }}"})
    told = json.loads(invoke("explain", "--json").stdout)
    assert {node["name"]: (node["requests"], node["to_ask"]) for node in told["nodes"]} == {
        "again": (0, 0), "answers": (3, 3), "m": (3, 3),
    }  # fmt: skip
    assert not echoing.asked
    assert not (root / "shop.duckdb").exists()
    invoke("build", "+m", "+answers")
    write({"seeds/reviews.csv": REVIEWS + "4,new lamp\n"})
    told = json.loads(invoke("explain", "--select", "+m", "--json").stdout)
    assert [(node["requests"], node["known"]) for node in told["nodes"]] == [(1, 0)]
    assert "answers" in invoke("explain").stdout
