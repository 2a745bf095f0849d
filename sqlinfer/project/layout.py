"""Where the nodes of a graph stand when it is drawn: layers from left to right, edges as curves. Knows no colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 176, 44
_GAP_X, _GAP_Y, _MARGIN = 56, 18, 8


@dataclass(frozen=True, slots=True)
class Box:
    """The box of a node.

    key: of the node.
    x, y: of its upper left corner.
    """

    key: str
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Drawing:
    """A graph with coordinates.

    width, height: of the picture.
    boxes: of its nodes.
    edges: SVG paths.
    """

    width: int
    height: int
    boxes: tuple[Box, ...]
    edges: tuple[str, ...]


def layout(reads: Mapping[str, Sequence[str]]) -> Drawing:
    """Draw a graph. reads: what each node reads; each node stands after those.

    >>> [(box.key, box.x, box.y) for box in layout({"a": [], "b": [], "c": ["a"]}).boxes]
    [('a', 8, 8), ('b', 8, 70), ('c', 240, 8)]
    """
    layers: dict[int, list[str]] = {}
    depth: dict[str, int] = {}
    for key, above in reads.items():
        depth[key] = max((depth[other] + 1 for other in above), default=0)
    for key in reads:
        below = [depth[other] for other, above in reads.items() if key in above]
        if not reads[key] and below:  # what reads nothing stands beside what reads it, so that its edge is short
            depth[key] = min(below) - 1
        layers.setdefault(depth[key], []).append(key)
    rows: dict[str, float] = {}
    for number in sorted(layers):
        row = 0.0
        for key in sorted(layers[number], key=lambda key: (_middle(reads[key], rows), key)):
            rows[key] = row = max(row, float(round(_middle(reads[key], rows))) if reads[key] else row)
            row += 1
    boxes = {
        key: Box(key, _MARGIN + depth[key] * (WIDTH + _GAP_X), round(_MARGIN + rows[key] * (HEIGHT + _GAP_Y)))
        for key in reads
    }
    edges = tuple(_edge(boxes[other], boxes[key]) for key, above in reads.items() for other in above)
    right = max((box.x for box in boxes.values()), default=0) + WIDTH + _MARGIN
    bottom = max((box.y for box in boxes.values()), default=0) + HEIGHT + _MARGIN
    return Drawing(right, bottom, tuple(boxes.values()), edges)


def _middle(above: Sequence[str], rows: Mapping[str, float]) -> float:
    return sum(rows[key] for key in above) / len(above) if above else 0.0


def _edge(start: Box, end: Box) -> str:
    x, y, to_x, to_y = start.x + WIDTH, start.y + HEIGHT // 2, end.x, end.y + HEIGHT // 2
    bend = (to_x - x) // 2
    return f"M{x} {y} C{x + bend} {y} {to_x - bend} {to_y} {to_x} {to_y}"
