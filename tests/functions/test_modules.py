"""A function's helpers are those beside its file, as they are now."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sqlinfer.errors import SqlinferError
from sqlinfer.functions import Function, load_function

IMPORTS = [
    "from _help import word",
    "import _help\nword = _help.word",
    "from . import _help\nword = _help.word",
    "from ._help import word",
    "import os, sys\nsys.path.insert(0, os.path.dirname(__file__))\nfrom _help import word",
]
CODE = "{imports}\n\ndef shout(text: str) -> str:\n    'Shout.'\n    return text + word()\n"
PACKAGES = [
    "from _lib.words import word",
    "import _lib.words\nword = _lib.words.word",
    "import _lib.words as words\nword = words.word",
    "from _lib import words\nword = words.word",
    "from ._lib import words\nword = words.word",
    "from ._lib.words import *",
    "import os, sys\nsys.path.insert(0, os.path.dirname(__file__))\nfrom _lib.words import word",
]
LATE = "def shout(text: str) -> str:\n    'Shout.'\n    from _help import word\n    return text + word()\n"


def write(folder: Path, code: str, word: str) -> Function:
    folder.mkdir(exist_ok=True)
    (folder / "shout.py").write_text(code)
    (folder / "_words.py").write_text(f"WORD = '{word}'\n")
    (folder / "_help.py").write_text("from _words import WORD\n\ndef word():\n    return WORD\n")
    (folder / "_lib").mkdir(exist_ok=True)
    (folder / "_lib" / "words.py").write_text(
        "from . import deep\nfrom .. import _words\nimport json\nword = deep.word\n"
    )
    (folder / "_lib" / "deep.py").write_text(
        "import _help\nfrom .last import last\nword = lambda: last(_help.word())\n"
    )
    (folder / "_lib" / "last.py").write_text("def last(text):\n    from .. import _words\n    return _words.WORD\n")
    return load_function(folder / "shout.py")


ALL = [*(CODE.format(imports=imports) for imports in (*IMPORTS, *PACKAGES)), LATE]


@pytest.mark.parametrize("code", ALL)
def test_each_folder_has_its_own_helpers_and_an_edited_one_makes_another_function(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    functions = [write(tmp_path / "a", code, "x"), write(tmp_path / "b", code, "y"), write(tmp_path / "a", code, "z")]
    assert [function.ask("-") for function in functions] == ["-x", "-y", "-z"]
    assert len({function.file_hash for function in functions}) == 3
    assert write(tmp_path / "c", code, "x").file_hash == functions[0].file_hash


def test_a_file_of_the_name_of_a_module_of_python_is_no_helper(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise ValueError('wrong one')\n")
    (tmp_path / "to_json.py").write_text(
        "import json\n\ndef to_json(x: str) -> str:\n    'J.'\n    return json.dumps(x)\n"
    )
    assert load_function(tmp_path / "to_json.py").ask("a") == '"a"'


def test_an_error_in_a_helper_names_the_function_and_the_next_try_reads_it_anew(tmp_path: Path) -> None:
    with pytest.raises(SqlinferError, match=r"shout\.py: ImportError: .*nothing"):
        write(tmp_path, "from _help import nothing\n", "x")
    with pytest.raises(SqlinferError, match=r"shout\.py: ModuleNotFoundError: .*_absent"):
        write(tmp_path, "from _absent import nothing\n", "x")
    assert write(tmp_path, LATE, "x").ask("-") == "-x"


def test_a_package_may_have_code_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "_lib").mkdir()
    (tmp_path / "shout.py").write_text(CODE.format(imports="import _lib\nword = _lib.word"))
    values = []
    for word in ("x", "y"):
        (tmp_path / "_lib" / "__init__.py").write_text(f"from .words import word\nEND = '{word}'\n")
        (tmp_path / "_lib" / "words.py").write_text("def word():\n    from . import END\n    return END\n")
        values.append(load_function(tmp_path / "shout.py").ask("-"))
    assert values == ["-x", "-y"]


def test_answers_outlive_an_edit_that_changes_no_request(tmp_path: Path) -> None:
    code = "from _help import word\nfrom sqlinfer import Request, Text\n\n\ndef shout(text: str) -> Request:\n    {}\n"
    code += "    return Request(text, 'Shout # loud')\n\n\ndef read(text: Text) -> str:\n    return text{}\n"
    edits = [('"""Shout."""', ""), ('"""Shout."""  # loudly\n\n    # now', ""), ('"""Shout."""', ".strip()")]
    hashes = []
    for body, reading in [*edits, ('"""Shout."""\n    text += "!"', "")]:
        path = tmp_path / "shout.py"
        path.write_text(code.format(body, reading))
        (tmp_path / "_help.py").write_text("word = 1\n")
        hashes.append(load_function(path).answer_hash)
    assert hashes[0] == hashes[1] == hashes[2] != hashes[3]
    (tmp_path / "_help.py").write_text("word = 2\n")
    assert load_function(path).answer_hash != hashes[3]
