"""How a model is scored, as its registration, its files and the model itself say."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from sqlinfer.errors import ModelNotFound, ModelUnusable, SqlinferError
from sqlinfer.model_files import CONFIG
from sqlinfer.scoring.probe import probe_scorer
from sqlinfer.scoring.values import read_type
from sqlinfer.types import Loader, Scorer

_PICKLES = (".joblib", ".pkl", ".pickle")
_LIBRARIES: dict[str, tuple[str, str]] = {
    "sklearn": ("sklearn", '"sqlinfer[tabular]"'),
    "xgboost": ("xgboost", "xgboost"),
    "lightgbm": ("lightgbm", "lightgbm"),
    "onnx": ("onnxruntime", '"sqlinfer[onnx]"'),
}
_KINDS = "*.joblib, *.pkl and *.skops of scikit-learn, *.json and *.ubj of XGBoost, *.txt of LightGBM, and *.onnx"
_HEAD_BYTES = 4096


def read_scorer(
    source: str, *, script: str | None = None, returns: str | None = None, input_type: str = "", trust: bool = False
) -> Scorer | None:
    """How worker processes score the model of a source; None for one that an engine runs. The model is loaded in such
    a process, once its author is trusted where its format needs that.

    script: its Python file. returns, input_type: SQL types that the registration names.
    """
    returns = read_type(returns)[0] if returns else None
    input_type = read_type(input_type)[0] if input_type else ""
    if script is not None:
        if not trust:
            raise ModelUnusable(f"{source} runs the Python code of {script}. If you trust it, add --trust")
        if not returns:
            example = "STRUCT(class INTEGER, p DOUBLE)"
            raise SqlinferError(f"{script}: say the SQL type of its result, as returns = '{example}'")
        return Scorer(script, returns, input_type)
    path = Path(source).expanduser()
    model = _find_model(path, source)
    if model is None:
        if returns or input_type:
            raise SqlinferError(
                "returns and input are the types of a model that worker processes score, and "
                f"{source} is none: name its script, as script = 'score.py', or its file: {_KINDS}"
            )
        return None
    file, loader = model
    _check(path / file, loader, trust)
    return probe_scorer(path.resolve(), loader, returns, input_type, file)


def _find_model(path: Path, source: str) -> tuple[str, Loader] | None:
    """The model's file in a folder, "" if the path is the file, and what reads it; None if an engine may run it."""
    if path.is_file():
        if not source.startswith(("./", "../", "/", "~")):
            raise ModelNotFound(f"{source!r} could be a hub id, and a file of that name is here. Write './{source}'.")
        loader = _loader(path)
        if loader is None:
            raise ModelUnusable(f"{path} is no model that is known here: they are {_KINDS}, and folders")
        return "", loader
    if not path.is_dir() or (path / CONFIG).exists():
        return None
    loaders = {file.name: loader for file in sorted(path.iterdir()) if file.is_file() and (loader := _loader(file))}
    if len(loaders) > 1:
        first = next(iter(loaders))
        raise ModelUnusable(f"{path} holds several models: {', '.join(loaders)}. Register one: {source}/{first}")
    return next(iter(loaders.items()), None)


def _loader(file: Path) -> Loader | None:
    """What reads a file, by its content where that tells, else by its name."""
    with file.open("rb") as opened:
        head = opened.read(_HEAD_BYTES)
    if head.startswith(b"{") and b"learner" in head:
        return "xgboost"
    if head.startswith(b"tree\n"):
        return "lightgbm"
    if file.suffix == ".onnx":
        return "onnx"
    return "sklearn" if file.suffix in (*_PICKLES, ".skops") else None


def _check(file: Path, loader: Loader, trust: bool) -> None:
    """Refuse a pickle without trust, and a model whose library is not here."""
    if file.suffix in _PICKLES and not trust:
        raise ModelUnusable(
            f"{file} is a pickle, and loading a pickle can run arbitrary code. Save the model as *.skops, as XGBoost's "
            "*.ubj or as *.onnx, or register it with --trust if you trust its author."
        )
    module, package = _LIBRARIES[loader]
    if find_spec(module) is None:
        raise ModelUnusable(f"{file} needs {module}, which is not installed: pip install {package}")
