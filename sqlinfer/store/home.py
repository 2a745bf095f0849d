"""Where the state lies: the folder with the store file and the models that sqlinfer makes itself.

Knows environment, folders and nothing of what is kept.
"""

from __future__ import annotations

import os
from pathlib import Path

PROJECT_FILE = "sqlinfer.yml"


def state_folder(start: Path | None = None) -> Path:
    """The folder that holds the state: SQLINFER_HOME, else the project's .sqlinfer, else ~/.sqlinfer.

    The project is the nearest folder with a sqlinfer.yml, from start (default: the working folder) upwards.
    Nothing is created.
    """
    named = os.environ.get("SQLINFER_HOME")
    if named:
        return Path(named).expanduser().absolute()
    here = (start or Path.cwd()).absolute()
    for folder in (here, *here.parents):
        if (folder / PROJECT_FILE).is_file():
            return folder / ".sqlinfer"
    return Path.home() / ".sqlinfer"
