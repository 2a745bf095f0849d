"""The order of nodes, what is wrong with it, and which of them --select means."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from sqlinfer.errors import SqlinferError, nearest
from sqlinfer.project.node import Node


def check(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """The nodes, each after those that it reads; SqlinferError for a reference to nothing and for a cycle."""
    names = {key: node.name for key, node in nodes.items() if node.node_type != "test"}
    for node in nodes.values():
        for ref in node.refs:
            if ref not in names:
                hint = nearest(ref, names.values())
                raise SqlinferError(f"{node.path}: there is no model or seed {ref}. {hint}")
    try:
        order = list(TopologicalSorter({key: nodes[key].refs for key in sorted(nodes)}).static_order())
    except CycleError as error:
        around = " -> ".join(str(nodes[key].path) for key in reversed(error.args[1]))
        raise SqlinferError(f"These models depend on each other: {around}") from None
    return {key: nodes[key] for key in order}


def above(nodes: Mapping[str, Node]) -> dict[str, set[str]]:
    """All that each node waits for in a build: what it stands on, near and far, and the tests of that."""
    refs = {key: node.refs for key, node in nodes.items()}
    waits_for = {key: _reach({key}, refs) - {key} for key in nodes}
    tests = [node for node in nodes.values() if node.node_type == "test" and node.refs]
    for key, node in nodes.items():
        if node.node_type != "test":
            waits_for[key] |= {test.key for test in tests if waits_for[key].issuperset(test.refs)}
    return waits_for


def select(
    nodes: Mapping[str, Node],
    selectors: Iterable[str],
    exclude: Iterable[str] = (),
    is_modified: Callable[[Node], bool] = lambda _: True,
) -> list[str]:
    """The keys of the nodes that selectors mean and those to exclude do not, in order; no selector means all.

    name, a path, tag:name or state:modified; with + before it all that it reads too, with + behind it all that reads
    it. The tests of what is selected come along. is_modified: whether a node differs from what was built last.
    """
    excluded = _matching(nodes, exclude, "--exclude", is_modified)
    words = list(selectors)
    chosen = (_matching(nodes, words, "--select", is_modified) if words else set(nodes)) - excluded
    for node in nodes.values():
        if node.node_type == "test" and node.refs and node.key not in excluded:
            if chosen.intersection(node.refs):
                chosen.add(node.key)
            elif excluded.issuperset(node.refs):
                chosen.discard(node.key)
    return [key for key in nodes if key in chosen]


def _matching(
    nodes: Mapping[str, Node], selectors: Iterable[str], option: str, is_modified: Callable[[Node], bool]
) -> set[str]:
    up = {key: node.refs for key, node in nodes.items()}
    down = {key: [other.key for other in nodes.values() if key in other.refs] for key in nodes}
    chosen: set[str] = set()
    for word in (word for selector in selectors for word in selector.split()):
        matched = _meant(nodes, word.strip("+"), option, is_modified)
        chosen |= matched
        chosen |= _reach(matched, up) if word.startswith("+") else set()
        chosen |= _reach(matched, down) if word.endswith("+") else set()
    return chosen


def _meant(nodes: Mapping[str, Node], word: str, option: str, is_modified: Callable[[Node], bool]) -> set[str]:
    if word == "state:modified":
        return {key for key, node in nodes.items() if is_modified(node)}
    if word.startswith("tag:"):
        tag = word.removeprefix("tag:")
        matched = {key for key, node in nodes.items() if tag in node.config.tags}
        names = sorted({f"tag:{tag}" for node in nodes.values() for tag in node.config.tags})
    else:
        path = word.removeprefix("path:").rstrip("/")
        matched = {
            key
            for key, node in nodes.items()
            if fnmatch.fnmatchcase(key, word.lower())
            or path in (node.path.as_posix(), *(folder.as_posix() for folder in node.path.parents[:-1]))
        }
        names = ["state:modified", *(node.name for node in nodes.values())]
    if not matched:
        raise SqlinferError(f"{option}: nothing is called {word!r}. {nearest(word, names)}")
    return matched


def _reach(start: set[str], edges: Mapping[str, Iterable[str]]) -> set[str]:
    """The nodes that edges lead to, those at the start with them."""
    reached, open_keys = set(start), list(start)
    while open_keys:
        more = set(edges[open_keys.pop()]) - reached
        reached |= more
        open_keys += more
    return reached
