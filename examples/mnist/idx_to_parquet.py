"""MNIST's files as a table: id, label, content (784 bytes, one a pixel).

python idx_to_parquet.py t10k-images-idx3-ubyte.gz t10k-labels-idx1-ubyte.gz digits.parquet
"""

import gzip
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

PIXELS = 28 * 28


def convert(images: Path, labels: Path, target: Path) -> None:
    """Write the table of a file of images and one of labels."""
    pixels, classes = gzip.decompress(images.read_bytes())[16:], gzip.decompress(labels.read_bytes())[8:]
    content = [pixels[start : start + PIXELS] for start in range(0, len(pixels), PIXELS)]
    pq.write_table(pa.table({"id": range(len(classes)), "label": list(classes), "content": content}), target)


if __name__ == "__main__":
    convert(*map(Path, sys.argv[1:4]))
