"""A pass over the text of a probe: a branch waits while an answer that its condition needs is not there.

In a probe an answer that is not there yet is NULL. A condition that is NULL would lead to ELSE, and a NULL to the next
argument of coalesce, whose calls may never be needed. So both are NULL as long as a call of the condition is.

A call whose answer is NULL itself waits too: for those rows a last probe runs the text without this pass.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from sqlinfer.sql.parsing.conditions import Condition, condition_text, split_condition
from sqlinfer.sql.parsing.edits import Edits
from sqlinfer.sql.parsing.parsed_calls import aggregate_names
from sqlinfer.sql.parsing.references import is_call
from sqlinfer.sql.parsing.tokens import QUERY_WORDS, Token, closing, has_any, split_at_commas, tokenize
from sqlinfer.sql.rewrite.context import RewriteContext

_LAZY = {"coalesce", "ifnull", "if"}
"""Functions that compute an argument only where those before it leave it open."""
_MARKS = {"WHEN", "THEN", "ELSE"}


def wait_for_answers(sql: str, context: RewriteContext) -> str:
    """Let the branches of a statement wait.

    >>> from sqlinfer.functions import load_functions
    >>> context = RewriteContext(load_functions(), ai_names=frozenset({"f", "g"}))
    >>> wait_for_answers("SELECT CASE WHEN f(x) > 1 THEN 'y' ELSE g(x) END", context)
    "SELECT CASE WHEN f(x) IS NULL THEN NULL WHEN f(x) > 1 THEN 'y' ELSE g(x) END"
    >>> wait_for_answers("SELECT coalesce(nullif(f(x), 'none'), g(x))", context)
    "SELECT CASE WHEN f(x) IS NULL THEN NULL ELSE coalesce(nullif(f(x), 'none'), g(x)) END"
    >>> wait_for_answers("SELECT CASE WHEN f(x) THEN g(x) END", context)
    'SELECT CASE WHEN f(x) THEN g(x) END'
    >>> wait_for_answers("SELECT f(g(x)), f(concat('a', g(x)))", context)
    "SELECT f(g(x)), CASE WHEN g(x) IS NULL THEN NULL ELSE f(concat('a', g(x))) END"
    """
    tokens, ai_offsets = tokenize(sql), context.ai_references(sql)
    if len(ai_offsets) < 2:
        return sql
    waits = _Waits(sql, ai_offsets)
    for index in reversed(range(len(tokens))):
        if tokens[index].keyword == "CASE":
            waits.in_case(index)
        elif tokens[index].word in _LAZY and is_call(tokens, index):
            waits.in_call(index)
        elif tokens[index].start in ai_offsets and is_call(tokens, index):
            waits.in_ai_call(index)
    return waits.edits.apply()


class _Waits:
    """Writes the waits into a text, from the inside out."""

    def __init__(self, sql: str, ai_offsets: Collection[int]) -> None:
        self.edits = Edits(sql)
        self._tokens = tokenize(sql)
        self._ai_offsets = ai_offsets
        self._index = {token.start: index for index, token in enumerate(self._tokens)}

    def in_case(self, start: int) -> None:
        """CASE [operand] WHEN condition THEN value .. [ELSE value] END."""
        tokens, end = self._tokens, self._end(start)
        marks = [*self._marks(start, end)]
        if end == len(tokens) or not marks:
            return
        if marks[0] > start + 1:  # the operand is compared with each value
            wait = self._wait(split_condition(tokens[start + 1 : marks[0]]))
            if wait and has_any(tokens[marks[0] : end], self._ai_offsets):
                self._replace(
                    start, end, f"CASE WHEN {wait} THEN NULL ELSE {self._render(tokens[start : end + 1])} END"
                )
            return
        for when, then, after in zip(marks, marks[1:], [*marks[2:], end], strict=False):
            if tokens[when].keyword != "WHEN":
                continue
            condition = tokens[when + 1 : then]
            is_needed = has_any(tokens[after:end], self._ai_offsets) or (
                has_any(tokens[then:after], self._ai_offsets) and self._may_hold_of_null(condition)
            )
            wait = self._wait(split_condition(condition)) if is_needed and condition else ""
            if wait:
                self.edits.insert(tokens[when].start, f"WHEN {wait} THEN NULL ")

    def in_call(self, start: int) -> None:
        """coalesce(first, ..), ifnull(first, second) and if(condition, value, value)."""
        tokens, end = self._tokens, self._end(start)
        parts = split_at_commas(tokens[start + 2 : end], tokens[start].depth + 1)
        if end == len(tokens) or not all(parts):
            return
        if tokens[start].word == "if":
            wait = self._wait(split_condition(parts[0]))
            if wait and any(has_any(part, self._ai_offsets) for part in parts[1:]):
                self._replace(
                    start, end, f"CASE WHEN {wait} THEN NULL ELSE {self._render(tokens[start : end + 1])} END"
                )
            return
        arguments: list[str] = []
        is_needed = is_changed = False
        for part in reversed(parts):
            arguments.insert(0, self._render(part))
            wait = self._wait(Condition("", (), part)) if is_needed else ""
            if wait:
                arguments = [f"CASE WHEN {wait} THEN NULL ELSE coalesce({', '.join(arguments)}) END"]
            is_changed |= bool(wait)
            is_needed |= has_any(part, self._ai_offsets)
        if is_changed:
            self._replace(start, end, arguments[0] if len(arguments) == 1 else f"coalesce({', '.join(arguments)})")

    def in_ai_call(self, start: int) -> None:
        """A call whose arguments are made of other calls and are not NULL where these are, as concat(..) is."""
        tokens, end = self._tokens, self._end(start)
        parts = split_at_commas(tokens[start + 2 : end], tokens[start].depth + 1)
        if end == len(tokens) or any(token.keyword in ("OVER", "FILTER") for token in tokens[end + 1 : end + 2]):
            return
        waits = [
            self._is_open(Condition("", (), part[2:] if part[1:] and part[1].text in (":=", "=>") else part))
            for part in parts
            if has_any(part, self._ai_offsets) and self._may_hold_of_null(part)
        ]
        if waits:
            self._let_wait(self._start(start, 0), end, " OR ".join(waits))

    def _wait(self, condition: Condition) -> str:
        """The condition that a call of a condition is open, asked in the order in which its parts are; "" if it has no
        call."""
        if not has_any(condition.tokens, self._ai_offsets):
            return ""
        if not condition.parts:
            return self._is_open(condition)
        wait = ""
        for part in reversed(condition.parts):
            first = self._wait(part)
            if not wait:
                wait = first
                continue
            arm, text = f"WHEN {first} THEN true " if first else "", condition_text(part, self.edits)
            rest = f"{wait} ELSE false" if condition.operator == "AND" else f"false ELSE {wait}"
            wait = f"CASE {arm}WHEN {text} THEN {rest} END"
        return wait

    def _is_open(self, condition: Condition) -> str:
        """The condition that a call of a part is open."""
        tokens, first = self._tokens, self._index[condition.tokens[0].start]
        last = self._index[condition.tokens[-1].start]
        waits, index = [], first
        while index <= last:
            end = self._end(index)
            if end > last or not has_any(tokens[index : end + 1], self._ai_offsets):
                index += 1
                continue
            start = self._start(index, first)
            wait = self._is_null(first, start, end)
            if not wait:
                return f"({self._render(condition.tokens)}) IS NULL"
            waits.append(wait)
            index = end + 1
        return " OR ".join(dict.fromkeys(waits))

    def _start(self, index: int, first: int) -> int:
        """Where a name begins that ends at an index: at its schema, its table, or the value whose method it is."""
        while index >= first + 2 and self._tokens[index - 1].text == ".":
            index -= 2
        return index

    def _end(self, index: int) -> int:
        """The index of the last token of what is computed as one: a call of an AI function or of a lazy one, a column,
        CASE .. END; len(tokens) for what is none."""
        tokens, token = self._tokens, self._tokens[index]
        if token.keyword == "CASE":
            open_cases = 0
            for end in range(index, len(tokens)):
                if tokens[end].depth == token.depth:
                    open_cases += (tokens[end].keyword == "CASE") - (tokens[end].keyword == "END")
                if open_cases == 0:
                    return end
            return len(tokens)
        if (token.start in self._ai_offsets or token.word in _LAZY) and is_call(tokens, index):
            return closing(tokens, index + 1)
        return index if token.start in self._ai_offsets else len(tokens)

    def _is_null(self, first: int, start: int, last: int) -> str:
        """The condition that what stands from start to last is NULL, asked outside of what it stands in from the index
        first on; "" if that cannot be done: in a subquery, and in a lambda."""
        tokens = self._tokens
        text = is_null = f"{self._render(tokens[start : last + 1])} IS NULL"
        if not tokens[start].word:
            return ""
        for opening in range(first, start):
            end = closing(tokens, opening) if tokens[opening].text in ("(", "[", "{") else start
            if end <= start:
                continue
            inside = {token.keyword or token.text for token in tokens[opening + 1 : start]}
            before = tokens[opening - 1].keyword if opening else ""
            if tokens[opening + 1].keyword in QUERY_WORDS or inside & {"->", "LAMBDA"} or before == "FILTER":
                return ""
            if any(token.keyword == "FOR" and token.depth == tokens[opening].depth + 1 for token in tokens[start:end]):
                return ""
            is_window = before == "OVER" or any(token.keyword == "OVER" for token in tokens[end + 1 : end + 2])
            if is_window:
                return f"bool_or({is_null}) OVER ()"
            if tokens[opening - 1].word in aggregate_names() and is_call(tokens, opening - 1):
                text = f"bool_or({is_null})"
                if end + 2 < len(tokens) and tokens[end + 1].keyword == "FILTER":
                    text += " " + self._render(tokens[end + 1 : closing(tokens, end + 2) + 1])
        return text

    def _marks(self, start: int, end: int) -> Iterator[int]:
        """The WHEN, THEN and ELSE of a CASE."""
        index = start + 1
        while index < end:
            token = self._tokens[index]
            if token.depth == self._tokens[start].depth and token.keyword == "CASE":
                index = self._end(index)
            elif token.depth == self._tokens[start].depth and token.keyword in _MARKS:
                yield index
            index += 1

    def _may_hold_of_null(self, condition: Sequence[Token]) -> bool:
        """Whether a condition may be true where a call in it is NULL."""
        calls = (t for i, t in enumerate(condition) if is_call(condition, i) and t.start not in self._ai_offsets)
        return any(token.keyword in {"IS", "CASE", "EXISTS"} for token in condition) or any(calls)

    def _let_wait(self, start: int, end: int, wait: str) -> None:
        text = self._render(self._tokens[start : end + 1])
        self._replace(start, end, f"CASE WHEN {wait} THEN NULL ELSE {text} END")

    def _render(self, tokens: Sequence[Token]) -> str:
        return self.edits.render(tokens[0].start, tokens[-1].end)

    def _replace(self, start: int, end: int, text: str) -> None:
        self.edits.replace(self._tokens[start].start, self._tokens[end].end, text)
