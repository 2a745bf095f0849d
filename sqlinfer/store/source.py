"""Finds the folder behind what a user writes: a folder, or a hub id 'org/name'; checks that it is whole.

Loads no weights and runs no code of the model's. huggingface_hub is imported when a hub id is asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sqlinfer.errors import ModelNotFound, ModelUnusable, nearest
from sqlinfer.model_files import (
    CONFIG,
    MLMODEL,
    BrokenFile,
    check_references,
    model_files,
    read_header,
    read_json,
    scorer_files,
    unread_patterns,
    weight_files,
)
from sqlinfer.redact import redact
from sqlinfer.types import Scorer

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_PICKLES = ("*.bin", "*.pt", "*.pth")


@dataclass(frozen=True, slots=True)
class SourceFiles:
    """A source that was found.

    path: the folder of its files.
    revision: the commit, for a hub id.
    source: as the registry keeps it; "" for as it was written.
    """

    path: Path
    revision: str | None = None
    source: str = ""


def is_folder(source: str) -> bool:
    """Whether a source is written as a folder: './path', '../path', '/path' or '~/path'."""
    return source.startswith(("./", "../", "/", "~")) or source in (".", "..") or Path(source).is_absolute()


def is_hub_id(source: str) -> bool:
    """Whether a source can be the id of a repository on the hub."""
    return _HUB_ID.fullmatch(source) is not None


def find_source(
    source: str, revision: str | None = None, trust: bool = False, download: bool = False, scorer: Scorer | None = None
) -> SourceFiles:
    """The folder of a source, checked; a hub id comes from the local cache, and from the hub if download says so.
    scorer: how worker processes score it; the model may be one file then, and its folder holds no other kind of model.

    ModelNotFound if there is none, ModelUnusable if files are missing, cut short or of a kind not allowed.
    """
    if is_folder(source):
        path = Path(source).expanduser().resolve()
        if not path.is_dir() and not (scorer is not None and path.is_file()):
            near = nearest(path.name, (other.name for other in path.parent.glob("*")))
            kinds = "A model is a folder with config.json and *.safetensors, or a file as docs/models.md lists them."
            raise ModelNotFound(f"There is no folder or file {path}. {near} {kinds}".replace("  ", " "))
        if revision is not None:
            raise ModelNotFound(f"The folder {source} has no revision {revision}: only a hub id has revisions.")
        if scorer is not None:
            check_scorer(path, scorer)
        else:
            check_files(path, trust)
        return SourceFiles(path)
    if scorer is not None:
        raise ModelUnusable(f"{source!r}: a model that worker processes score lies here, written './path'")
    if not is_hub_id(source):
        raise ModelNotFound(f"{source!r} is neither a folder ('./path') nor a hub id ('org/name').")
    if Path(source).is_dir():
        raise ModelNotFound(f"{source!r} could be a hub id, and a folder of that name is here. Write './{source}'.")
    return _find_on_hub(source, revision, trust, download)


def _find_on_hub(source: str, revision: str | None, trust: bool, download: bool) -> SourceFiles:
    problem: ModelNotFound | ModelUnusable
    try:
        path = _snapshot(source, revision, trust, local=True)
        check_files(path, trust)
        return SourceFiles(path, path.name)
    except (ModelNotFound, ModelUnusable) as error:
        problem = error  # not there, or perhaps a download that was cut off: fetch the rest
    if not download:
        if isinstance(problem, ModelUnusable):
            raise ModelUnusable(f"{problem} To fetch the rest: {_pull(source, revision)}") from problem
        raise problem
    try:
        path = _snapshot(source, revision, trust, local=False)
    except ModelNotFound as error:
        raise (problem if isinstance(problem, ModelUnusable) else error) from None
    check_files(path, trust)
    return SourceFiles(path, path.name)


def _pull(source: str, revision: str | None) -> str:
    return f"sqlinfer models pull {source}" + (f" --revision {revision}" if revision else "")


def _snapshot(source: str, revision: str | None, trust: bool, local: bool) -> Path:
    try:
        import huggingface_hub
    except ImportError:
        raise ModelNotFound(f"{source!r} is a hub id; to fetch it: pip install huggingface_hub") from None
    try:
        return Path(
            huggingface_hub.snapshot_download(
                source, revision=revision, local_files_only=local, ignore_patterns=unread_patterns(trust)
            )
        )
    except Exception as error:  # the hub's errors have many roots, and all mean the same here
        at = f" at revision {revision}" if revision else ""
        if local:
            raise ModelNotFound(
                f"The model {source!r}{at} is not in the local hub cache, and SQL does not download models. "
                f"To download it: {_pull(source, revision)}"
            ) from error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelNotFound(
            f"The model {source!r}{at} is not in the local hub cache and could not be downloaded: {redact(reason)} "
            "With a network: log in with `hf auth login` if it is gated, or check its name. "
            "Without: copy its folder here and use './folder'."
        ) from error


def check_scorer(path: Path, scorer: Scorer) -> None:
    """Raise ModelUnusable unless the model's file is there."""
    file = path / scorer.file
    if not file.resolve().is_relative_to(path.resolve()):
        raise ModelUnusable(f"the file {scorer.file!r} lies outside of the model's folder {path}")
    if not file.exists():
        others = [other.relative_to(path).as_posix() for other in scorer_files(path) if other.suffix == file.suffix]
        raise ModelUnusable(f"{path} holds no file {scorer.file!r}. {nearest(scorer.file, others)}".rstrip())


def check_files(path: Path, trust: bool = False) -> None:
    """Raise ModelUnusable unless the folder holds a whole model and names nothing outside; reads headers only."""
    if (path / MLMODEL).is_file():
        raise ModelUnusable(f"{path} is a model of MLflow. To use it: sqlinfer models register NAME {path}")
    if not (path / CONFIG).is_file():
        script = next((f"Or name its script: --script {file.name}" for file in sorted(path.glob("*.py"))), "")
        missing_config = f"{path} is not a model folder, or is incomplete: {CONFIG} is missing. {_AGAIN} {script}"
        raise ModelUnusable(missing_config.rstrip())
    try:
        if not isinstance(read_json(path / CONFIG), dict):
            raise BrokenFile(path / CONFIG, "cannot be read: it contains no JSON object")
        if missing := check_references(path):
            index, name = missing[0]
            raise ModelUnusable(f"{path} is incomplete: {index.name} names {name}. {_AGAIN}")
        weights = {*weight_files(path), *(file for file in model_files(path) if file.suffix == ".safetensors")}
        for file in sorted(weights):
            read_header(file)
    except BrokenFile as error:
        raise ModelUnusable(f"{error}. {error.remedy}") from error
    pickles = sorted(file.name for pattern in _PICKLES for file in path.glob(pattern))
    if weights or (pickles and trust):
        return
    if pickles:
        raise ModelUnusable(
            f"{path} holds pickled weights only ({pickles[0]}), and loading a pickle can run arbitrary code. "
            "Take a version with *.safetensors, or register it with --trust if you trust its author."
        )
    raise ModelUnusable(f"{path} is incomplete: it contains no *.safetensors. {_AGAIN}")


_AGAIN = "Download or copy it again."
