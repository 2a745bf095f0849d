"""`sqlinfer docs`: what the page says, and how a real browser shows it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sqlinfer.store import Store
from tests.conftest import write_model
from tests.project.conftest import REVIEWS, Invoke, Write
from tests.slow_echo import PATIENCE_S

OTHER = "another-model-with-a-very-long-name-of-one-word"
FILES = {
    "seeds/reviews.csv": REVIEWS + "4,boom <b>&\n",
    "models/staging/clean.sql": "{{ config(materialized='ephemeral') }} FROM {{ ref('reviews') }}",
    "models/answers_of_a_model_with_a_very_long_name_indeed.sql": "{{ config(on_error='null', tags=['nightly']) }}\n"
    f"SELECT id, ai_gen(review) AS answer, ai_gen(review, model := '{OTHER}') AS other FROM {{{{ ref('clean') }}}}",
    "models/counts.sql": "{{ config(materialized='incremental') }}\n"
    "SELECT count(*) AS n FROM {{ ref('answers_of_a_model_with_a_very_long_name_indeed') }}",
    "models/shown.sql": "{{ config(materialized='view') }} FROM {{ ref('counts') }}",
    "models/broken.sql": "SELECT nothing FROM {{ ref('reviews') }}",
    "models/after.sql": "SELECT * FROM {{ ref('broken') }} JOIN {{ source('shop', 'tickets') }} USING (id)",
    "models/schema.yml": "models:\n"
    "  - name: answers_of_a_model_with_a_very_long_name_indeed\n"
    "    description: What the <model> says.\n"
    "    columns: [{name: answer, description: In words., tests: [not_null, unique]}]\n"
    "sources: [{name: shop, tables: [{name: tickets}]}]\n",
}
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture
def page(invoke: Invoke, write: Write, root: Path, home: Path, tmp_path: Path) -> Path:
    write_model(tmp_path / "other", weight=2.0)
    with Store(home) as store:
        store.registry.register(OTHER, str(tmp_path / "other"))
    write(FILES)
    invoke("build", code=1)
    rows = "SELECT x, ai_gen(x) AS answer FROM (VALUES ('so <b>'), ('so so')) r(x)"
    invoke("models", "compare", "echo", OTHER, "-c", rows, "--column", "answer", "--reference", "x")
    invoke("docs", "--output", "docs.html")
    return root / "docs.html"


def test_the_page_says_all_of_each_node_and_needs_nothing_else(page: Path, root: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.findall(r'<section class="card" id="([^"]+)"', text) == [
        "source:shop.tickets", "reviews", "broken", "clean", "after",
        "answers_of_a_model_with_a_very_long_name_indeed", "counts", "shown",
    ]  # fmt: skip
    assert "What the &lt;model&gt; says." in text
    assert "boom &lt;b&gt;&amp;" in text
    assert "1 row is wrong" in text
    assert f"<dd>echo/1, {OTHER}/1</dd>" in text
    assert "depends on broken, which failed" in text
    assert re.search(rf'#answers_of_a_model_with_a_very_long_name_indeed">.*\n *<td>{OTHER}/1, echo/1</td>', text)
    assert f"<h2>echo/1 and {OTHER}/1</h2>" in text
    assert re.findall(r'class="agree" style="--share: (\d+)', text) == ["70", "70"]
    assert "<th>&lt;so &lt;b&gt;&gt;</th>" in text
    assert text.count('<path d="M') == 7
    assert not re.findall(r"<script|<link rel=.stylesheet|https?://(?!www\.w3\.org)", text)
    assert str(root) not in text
    assert "<polygon" in text, "edges end in arrowheads"
    nodes, tests = (re.sub(r"<[^>]+>", "", line) for line in re.findall(r"<p>(\d+ (?:nodes|tests).*?)</p>", text, re.S))
    assert " ".join(nodes.split()) == "7 nodes: 2 done, 1 failed, 3 skipped"
    assert " ".join(tests.split()) == "2 tests: 1 done, 1 failed"


def test_the_page_has_an_index_and_the_first_rows_of_tables(page: Path, invoke: Invoke, root: Path) -> None:
    text = page.read_text(encoding="utf-8")
    index = re.search(r"<nav.*?</nav>", text, re.S)
    assert index
    assert index[0].count("<a href=") == 8
    sections = dict(re.findall(r'<section class="card" id="([^"]+)"(.*?)</section>', text, re.S))
    assert [key for key, section in sections.items() if "First rows" in section] == [
        "reviews", "answers_of_a_model_with_a_very_long_name_indeed",
    ]  # fmt: skip
    assert sections["reviews"].count("<tr>") == (1 + 2) + (1 + 3), "two columns and three rows, each with a head"
    assert "<summary>SQL" not in sections["reviews"]
    invoke("docs", "--rows", "0")
    assert "First rows" not in (root / "docs.html").read_text(encoding="utf-8")


def test_a_project_that_is_not_built_has_a_page(invoke: Invoke, write: Write, root: Path) -> None:
    write(FILES)
    invoke("docs")
    assert "not built yet" in (root / "docs.html").read_text(encoding="utf-8")
    assert not (root / "shop.duckdb").exists()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright, which drives a browser, is not installed"
    )
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=program, args=["--no-sandbox"], timeout=1000 * PATIENCE_S)
        yield opened
        opened.close()


def test_a_browser_shows_it_whole_and_without_complaint(page: Path, browser: Any) -> None:
    for device in WIDTHS:
        for scheme in ("light", "dark"):
            _show(page, browser, device, scheme)


def _show(page: Path, browser: Any, device: str, scheme: str) -> None:
    width, height = WIDTHS[device]
    tab = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    tab.set_default_timeout(1000 * PATIENCE_S)
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("requestfailed", lambda request: said.append(request.url))
    tab.goto(page.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    cut = tab.evaluate(
        "[...document.querySelectorAll('h2, p, dd, td, th')].filter(e => e.scrollWidth > e.clientWidth + 1)"
        ".map(e => e.outerHTML)"
    )
    assert cut == []
    tab.click(".graph a[href='#answers_of_a_model_with_a_very_long_name_indeed']")
    tab.click("section:target summary")
    assert tab.is_visible("section:target pre")
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    tab.screenshot(path=str(page.with_name(f"{device}-{scheme}.png")), full_page=True)
    assert said == []
    tab.close()
