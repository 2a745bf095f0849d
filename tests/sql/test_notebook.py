"""Progress in a real Jupyter kernel: one line below the cell, written over, and no garbage."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbclient
import nbformat

from tests.slow_echo import PATIENCE_S

CELL = """
import time
import sqlinfer
from sqlinfer.types import Completion, Text


class Slow:
    "Takes its time, so that there is progress to show."

    def generate(self, requests, cancel=None):
        for request in requests:
            time.sleep(0.02)
            yield Completion(request, Text(f"<{request.text}>"), 10, 5)


con = sqlinfer.connect(model="echo", store=False)
con.runtime.open_engine = lambda version: Slow()
con.execute("SELECT count(ai_gen('text ' || i)) AS n FROM range(100) t(i)").fetchall()
"""


def outputs_of(folder: Path, *sources: str) -> list[Any]:
    """What each cell of a notebook shows."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    nbclient.NotebookClient(
        notebook,
        timeout=PATIENCE_S,
        startup_timeout=PATIENCE_S,
        kernel_name="python3",
        resources={"metadata": {"path": folder}},
    ).execute()
    return [cell.outputs for cell in notebook.cells]


def test_a_notebook_shows_one_line_that_is_written_over(registered: None, tmp_path: Path) -> None:
    (outputs,) = outputs_of(tmp_path, CELL)
    assert [output.output_type for output in outputs] == ["display_data", "execute_result"]
    shown, result = (output.data["text/plain"] for output in outputs)
    assert re.fullmatch(r"1 row, asking \d+/100 requests, \d+ \+ \d+ tokens/s(, 0:00:\d\d left)?", shown)
    assert not set("\r\n\x1b") & set(shown)
    assert result == "[(100,)]"


def test_each_cell_has_its_own_line(registered: None, tmp_path: Path) -> None:
    again = "con.execute(\"SELECT count(ai_gen('other ' || i)) FROM range(60) t(i)\").fetchall()"
    lines = [outputs[0].data["text/plain"] for outputs in outputs_of(tmp_path, CELL, again)]
    assert ["asking 100/100 requests" in lines[0], "asking 60/60 requests" in lines[1]] == [True, True]
    assert not any("-" in line for line in lines)
