"""What outlives a run, in one SQLite file: models, answers, jobs; knows no torch, no SQL of the user's."""

from sqlinfer.config.folders import function_folders, project_folder, state_folder
from sqlinfer.store.answer_cache import AnswerCache
from sqlinfer.store.database import Database
from sqlinfer.store.jobs import JobRecord, Jobs, RowError
from sqlinfer.store.keys import KEY_BYTES, AnswerKeys, answer_key
from sqlinfer.store.private_files import make_folder
from sqlinfer.store.registry import Registry
from sqlinfer.store.store import Store

__all__ = [
    "KEY_BYTES",
    "AnswerCache",
    "AnswerKeys",
    "Database",
    "JobRecord",
    "Jobs",
    "Registry",
    "RowError",
    "Store",
    "answer_key",
    "function_folders",
    "make_folder",
    "project_folder",
    "state_folder",
]
