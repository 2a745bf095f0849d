"""Where the state and the user's functions lie: the folder of the store file, the project, the udfs/ folders.

Knows environment, folders and nothing of what is kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
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
    return (project_folder(start) or Path.home()) / ".sqlinfer"


def project_folder(start: Path | None = None) -> Path | None:
    """The nearest folder with a sqlinfer.yml, from start (default: the working folder) upwards."""
    here = (start or Path.cwd()).absolute()
    return next((folder for folder in (here, *here.parents) if (folder / PROJECT_FILE).is_file()), None)


def function_folders(beside: Iterable[Path] = ()) -> list[Path]:
    """Where the user's functions lie: udfs/ beside the given folders' files, here, and in the project."""
    project = project_folder()
    return [folder / "udfs" for folder in (*beside, Path.cwd(), *([project] if project else []))]
