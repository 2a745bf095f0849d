"""A process that scores a model: it reads batches from a socket, and writes what the model makes of them.
Started as a file, so that it imports nothing of sqlinfer; the other end uses the same Channel. A frame is 4 bytes of
kind, 8 bytes of length, little-endian, and so many bytes:

    LOAD  path, file, loader and the Arrow schema of a result, as JSON   ->  GOOD  empty
    SIGN  empty                                                          ->  GOOD  the model's signature(), as JSON
    RUN_  an Arrow stream with the column `input`                        ->  GOOD  an Arrow stream, column `output`
                                                                         ->  FAIL  why, as UTF-8
"""

from __future__ import annotations

import base64
import importlib
import importlib.util
import json
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

LOAD, SIGN, RUN, GOOD, FAIL = b"LOAD", b"SIGN", b"RUN_", b"GOOD", b"FAIL"
_LOADERS = "sqlinfer_loaders"
_PARENT_CHECK_S = 1.0
_POLL_S = 0.1
_MOST_BYTES = 1 << 20
_TRACEBACK_LINES = 6
_SQL_TYPES = {"i": "BIGINT", "u": "BIGINT", "f": "DOUBLE", "b": "BOOLEAN"}
"""By the kinds of numpy's types."""


class Channel:
    """Frames over a socket. check: called while the other end is waited for, and may raise; None waits for ever."""

    def __init__(self, connection: socket.socket, check: Callable[[], None] | None = None) -> None:
        self._connection = connection
        self._check = check
        connection.settimeout(None if check is None else _POLL_S)

    def write(self, kind: bytes, payload: bytes = b"") -> None:
        """Send a frame."""
        for part in (kind + len(payload).to_bytes(8, "little"), payload):
            left = memoryview(part)
            while left:
                left = left[self._patient(partial(self._connection.send, left)) :]

    def read(self) -> tuple[bytes, bytes]:
        """The next frame: its kind and payload. Raises EOFError if the other end is gone."""
        head = self._read(12)
        return head[:4], self._read(int.from_bytes(head[4:], "little"))

    def _read(self, size: int) -> bytes:
        content = bytearray()
        while len(content) < size:
            part = self._patient(partial(self._connection.recv, min(size - len(content), _MOST_BYTES)))
            if not part:
                raise EOFError
            content += part
        return bytes(content)

    def _patient(self, transfer: Callable[[], Any]) -> Any:
        while True:
            try:
                return transfer()
            except TimeoutError:
                if self._check is not None:
                    self._check()


def to_stream(column: str, values: pa.Array) -> bytes:
    """An Arrow stream of one column."""
    batch = pa.record_batch([values], names=[column])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def from_stream(stream: bytes) -> pa.Array:
    """The only column of an Arrow stream."""
    with pa.ipc.open_stream(stream) as reader:
        column = reader.read_all().column(0)
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def load(path: Path, file: str, loader: str) -> Any:
    """Read a model with a loader, by its name."""
    os.environ["AZUREML_MODEL_DIR"] = os.environ["SQLINFER_MODEL_DIR"] = str(path if path.is_dir() else path.parent)
    loaders = Path(__file__).with_name("loaders")
    spec = importlib.util.spec_from_file_location(_LOADERS, loaders / "__init__.py", submodule_search_locations=[])
    assert spec is not None
    sys.modules[_LOADERS] = package = importlib.util.module_from_spec(spec)
    package.__path__ = [str(loaders)]
    return importlib.import_module(f"{_LOADERS}.{loader}").load(path, file)


def score(model: Any, rows: pa.Array, result: pa.DataType) -> pa.Array:
    """What a model makes of rows: as many values. STRUCTs come to it as a DataFrame, all else as a list."""
    is_struct = pa.types.is_struct(result)
    predict = model.probabilities if is_struct and hasattr(model, "probabilities") else model.predict
    values = _column(predict(_batch(rows)), result)
    if len(values) != len(rows):
        raise ValueError(f"the model returned {len(values)} values for {len(rows)} rows")
    return values


def signature(model: Any, result: pa.DataType) -> dict[str, Any]:
    """What a model knows of its types. A sample of an input is tried: it gives the result, or tells its type."""
    known: dict[str, Any] = model.signature() if hasattr(model, "signature") else {}
    if "sample" in known:
        rows = pa.array([known["sample"]])
        if result == pa.null():
            known["returns"] = _sql_type(model.predict(_batch(rows)))
        else:
            score(model, rows, result)
    return known


def _sql_type(returned: Any) -> str:
    """The SQL type of a row of a DataFrame or an array."""
    if hasattr(returned, "columns"):
        names = ['"{}"'.format(str(name).replace('"', '""')) for name in returned.columns]
        types = [_sql_type(returned.iloc[:, place]) for place in range(len(names))]
        return f"STRUCT({', '.join(map(' '.join, zip(names, types, strict=True)))})"
    kind = _SQL_TYPES.get(returned.dtype.kind, "VARCHAR")
    return kind + "".join(f"[{size}]" for size in reversed(returned.shape[1:]))


def _batch(rows: pa.Array) -> Any:
    return _frame(rows) if pa.types.is_struct(rows.type) else rows.to_pylist()


def _frame(rows: pa.Array) -> Any:
    columns = [
        column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column  # numpy has no decimals
        for column in rows.flatten()
    ]
    return pa.table(columns, names=[field.name for field in rows.type]).to_pandas()


def _column(returned: Any, result: pa.DataType) -> pa.Array:
    """A frame, series, array, tensor or list as Arrow has it; of numbers without a Python value for each."""
    if hasattr(returned, "to_dict") and hasattr(returned, "columns"):
        return _frame_column(returned, result)
    if getattr(returned, "ndim", 0) == 1 and getattr(getattr(returned, "dtype", None), "kind", "O") in "iufb":
        column = pa.array(getattr(returned, "values", returned))
        return column if column.type == result else column.cast(result)
    if hasattr(returned, "tolist"):
        returned = returned.tolist()
    if isinstance(returned, str | bytes | dict) or not hasattr(returned, "__iter__"):
        raise TypeError(f"the model returned a {type(returned).__name__}, not a list, an array or a DataFrame")
    return pa.array([value.tolist() if hasattr(value, "tolist") else value for value in returned], type=result)


def _frame_column(returned: Any, result: pa.DataType) -> pa.Array:
    """A frame as STRUCTs of its columns, or as the values of its only one."""
    columns = ", ".join(map(str, returned.columns))
    if pa.types.is_struct(result):
        if absent := [field.name for field in result if field.name not in returned.columns]:
            raise ValueError(f"the model returned the columns {columns}, and no {', '.join(absent)}")
        fields = [_column(returned[field.name], field.type) for field in result]
        return pa.StructArray.from_arrays(fields, fields=list(result))
    if len(returned.columns) != 1:
        raise ValueError(f"the model returned the columns {columns} for one value")
    return _column(returned[returned.columns[0]], result)


def _explain(error: BaseException) -> bytes:
    """An error in a line, and where in the files of the model it arose."""
    if isinstance(error, SystemExit):
        return f"the model called sys.exit({error.code!r})".encode()
    frames = traceback.extract_tb(error.__traceback__)
    folder = os.environ.get("SQLINFER_MODEL_DIR", "")
    own = [frame for frame in frames if frame.filename.startswith(folder) and "site-packages" not in frame.filename]
    place = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if folder and own else ""
    traceback.print_exception(error, limit=-_TRACEBACK_LINES)
    return f"{type(error).__name__}: {error}{place}".encode("utf-8", "replace")


def _end_with_parent() -> None:
    """A script that hangs must not outlive the process that it works for."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_S)
    os._exit(1)


def _serve(channel: Channel) -> None:
    model: Any = None
    result = pa.null()
    while True:
        kind, payload = channel.read()
        try:
            answer = b""
            if kind == LOAD:
                asked = json.loads(payload)
                result = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(asked["schema"]))).field(0).type
                model = load(Path(asked["path"]), asked["file"], asked["loader"])
            elif kind == SIGN:
                answer = json.dumps(signature(model, result)).encode()
            else:
                answer = to_stream("output", score(model, from_stream(payload), result))
            kind = GOOD
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the script may raise anything
            kind, answer = FAIL, _explain(error)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        channel.write(kind, answer)


def main() -> None:
    """Serve on the socket whose descriptor is the first argument, until its other end is closed."""
    del sys.path[0]  # the folder of this file, whose names are not the script's
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)
    os.dup2(2, 1)  # what the script prints is its log
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _serve(Channel(connection))
    except (EOFError, OSError):
        return


if __name__ == "__main__":
    main()
