"""Trains the forest on the first digits of a table and writes it as ONNX; the others are left to test it.

python forest/train.py digits.parquet forest/model.onnx
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from skl2onnx import to_onnx
from sklearn.ensemble import ExtraTreesClassifier

NUM_TRAINED = 5000
NUM_TREES = 30


def train(table: Path, target: Path) -> None:
    """Train on the rows with an id below NUM_TRAINED."""
    rows = pq.read_table(table, columns=["content", "label"]).slice(0, NUM_TRAINED)
    pixels = np.frombuffer(b"".join(rows["content"].to_pylist()), dtype=np.uint8).reshape(NUM_TRAINED, -1)
    forest = ExtraTreesClassifier(NUM_TREES, random_state=0).fit(pixels.astype(np.float32), rows["label"].to_numpy())
    model = to_onnx(forest, pixels[:1].astype(np.float32), options={"zipmap": False})
    model.graph.node[0].input[0] = model.graph.input[0].name = "pixels"
    target.write_bytes(model.SerializeToString())


if __name__ == "__main__":
    train(*map(Path, sys.argv[1:3]))
