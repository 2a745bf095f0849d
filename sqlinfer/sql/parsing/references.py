"""Which words of a SQL text refer to something, and which of them lead to AI functions: calls, relations and the
columns that hold their values. Aliases, columns and words of statements that have the same name do not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache

from sqlinfer.sql.parsing.tokens import QUERY_WORDS, Token, closing, keywords, split_at_commas, tokenize

_VALUES = {
    *("SELECT", "WHERE", "ON", "GROUP", "HAVING", "QUALIFY", "ORDER", "WINDOW", "LIMIT", "OFFSET", "VALUES", "SET"),
    *("RETURNING", "BY"),
}
"""Words behind which expressions stand."""
_RELATIONS = {"FROM", "JOIN", "USING"}
_LIST_ENDS = {
    *("FROM", "WHERE", "GROUP", "HAVING", "QUALIFY", "ORDER", "WINDOW", "LIMIT", "OFFSET", "UNION", "INTERSECT"),
    *("EXCEPT", "USING"),
}
_NO_NAMES = _VALUES | _RELATIONS | _LIST_ENDS | {"AS", "IN", "AND", "OR", "NOT", "EXISTS", "ALL", "ANY", "LATERAL"}
"""Words before a parenthesis that call nothing."""
_NOT_ALIASES = {"END", "NULL", "TRUE", "FALSE", "AND", "OR", "NOT", "DISTINCT", "ALL"}
_BEFORE_STATEMENTS = {";", "FROM", "JOIN", "IN", "AS", "COPY", "EXPLAIN", "ANALYZE", "DESCRIBE"}


def is_call(tokens: Sequence[Token], index: int) -> bool:
    """Whether the word at an index is the name of a function that is called. SUMMARIZE (SELECT ..) is a statement.

    >>> [is_call(tokenize(sql), 1) for sql in ("SELECT summarize(x)", "SELECT summarize", "(SUMMARIZE (TABLE t))")]
    [True, False, False]
    """
    name = tokens[index]
    if not name.word or name.keyword in _NO_NAMES or index + 1 >= len(tokens) or tokens[index + 1].text != "(":
        return False
    if name.keyword != "SUMMARIZE":
        return True
    inside = next((token for token in tokens[index + 2 :] if token.text != "("), name)
    return inside.keyword not in QUERY_WORDS or not _begins_statement(tokens, index, tokens[index + 2].text == "(")


def _begins_statement(tokens: Sequence[Token], index: int, is_nested: bool) -> bool:
    """Whether a statement may begin at an index. is_nested: a value may be meant: f((SELECT 1))."""
    while index and tokens[index - 1].text == "(":
        index -= 1
    before = (tokens[index - 1].keyword or tokens[index - 1].text) if index else ";"
    is_macro = any(token.keyword in ("MACRO", "FUNCTION") for token in tokens[:5])
    return not is_nested or (before in _BEFORE_STATEMENTS and not (before == "AS" and is_macro))


@lru_cache(maxsize=1024)
def referenced_words(sql: str) -> frozenset[str]:
    """The words of a text that may be the name of a function, a relation or a prepared statement.

    >>> sorted(referenced_words("SELECT f(x) AS a, b FROM t JOIN (v) u ON c = d WHERE e IN (FROM w)"))
    ['f', 't', 'v', 'w']
    """
    tokens = tokenize(sql)
    return frozenset(tokens[index].word for index in references(tokens))


def references(tokens: Sequence[Token]) -> Iterator[int]:
    """The indexes of the words that may name a function, a relation or a prepared statement; no columns, no aliases."""
    clauses = [""]
    before = ""
    for index, token in enumerate(tokens):
        del clauses[max(token.depth, 0) + 1 :]
        if token.text in "([{":
            is_argument = index > 0 and tokens[index - 1].word and before not in _NO_NAMES
            clauses.append("VALUES" if token.text != "(" or is_argument else clauses[-1])
        elif token.text == "," and clauses[-1] == "ON":
            clauses[-1] = "FROM"
        elif token.keyword in _VALUES:
            clauses[-1] = token.keyword
        elif token.keyword in _RELATIONS:
            clauses[-1] = "FROM"
        elif token.word and (is_call(tokens, index) or _names_relation(tokens, index, clauses[-1])):
            yield index
        before = token.keyword


def _names_relation(tokens: Sequence[Token], index: int, clause: str) -> bool:
    before = tokens[index - 1] if index else None
    if clause in _VALUES or (before is not None and before.keyword == "AS"):
        return False
    if clause != "FROM" or before is None:
        return True
    return before.text in (",", "(", ".") or before.keyword in _RELATIONS | {"LATERAL"}


def ai_references(sql: str, names: Collection[str], columns: Collection[str] = ()) -> frozenset[int]:
    """Where a text mentions what leads to an AI function: the offsets of these tokens.

    names: of functions and relations. columns: of these relations, where they hold what AI functions give; the columns
    of the text's own subqueries are found here.

    >>> sql = "SELECT a FROM (SELECT a, f(b) AS c FROM t) WHERE c AND a"
    >>> [sql[start:start + 1] for start in sorted(ai_references(sql, {"f"}))]
    ['f', 'c', 'c']
    """
    return _ai_references(sql, frozenset(names), frozenset(columns))


@lru_cache(maxsize=256)
def _ai_references(sql: str, names: frozenset[str], columns: frozenset[str]) -> frozenset[int]:
    tokens = tokenize(sql)
    starts = {tokens[index].start for index in references(tokens) if tokens[index].word in names}
    starts |= {t.start for t in tokens if t.word in columns}
    items = [*_select_items(tokens)] if starts else []
    open_items = items
    while open_items:
        more = [item for item in open_items if any(token.start in starts for token in tokens[item[1] : item[2]])]
        open_items = [item for item in open_items if item not in more]
        mentioned = {token.start for item in more for token in _references_of(tokens, item)}
        if mentioned <= starts:
            break
        starts |= mentioned
    return frozenset(starts)


def ai_columns(sql: str, names: Collection[str], columns: Collection[str] = ()) -> frozenset[str]:
    """The names of the columns of a text, at any depth, that hold what AI functions give.

    >>> sorted(ai_columns("CREATE VIEW v AS SELECT a, f(b) AS c FROM (SELECT f(d) e, b FROM t)", {"f"}))
    ['c', 'e']
    """
    tokens, starts = tokenize(sql), ai_references(sql, names, columns)
    return frozenset(
        name
        for name, first, last in _select_items(tokens)
        if any(token.start in starts for token in tokens[first:last])
    )


SelectItem = tuple[str, int, int]
"""A column of a SELECT: its name, and the indexes of its first token and of the one after its last."""


def _select_items(tokens: Sequence[Token]) -> Iterator[SelectItem]:
    """The columns with names of their own, and those that a list of names stands for: WITH q(a) AS (..), (..) v(a)."""
    for index, token in enumerate(tokens):
        if token.keyword == "SELECT":
            yield from _items(tokens, index)
        elif token.text == "(" and index > 0 and tokens[index - 1].word:
            yield from _listed(tokens, index)


def end_of_select_list(tokens: Sequence[Token], select: int) -> int:
    """The index of the first token after the columns of the SELECT at an index."""
    depth = tokens[select].depth
    end = select + 1
    while end < len(tokens) and tokens[end].depth >= depth:
        if tokens[end].depth == depth and (tokens[end].keyword in _LIST_ENDS or tokens[end].text == ";"):
            break
        end += 1
    return end


def _items(tokens: Sequence[Token], select: int) -> Iterator[SelectItem]:
    first = select + 1
    for part in split_at_commas(tokens[first : end_of_select_list(tokens, select)], tokens[select].depth):
        last = first + len(part)
        if len(part) > 1:
            name = part[0].word if part[1].text == ":" else alias(part)
            if name:
                yield name, first, last
        first = last + 1


def alias(part: Sequence[Token]) -> str:
    """The name that a column of a SELECT ends with; "" if it ends with none. part: of two tokens at least."""
    before, name = part[-2:]
    has_alias = before.word or before.text in ")]}" or before.text[0] in "'\"0123456789"
    is_name = name.word and name.depth == part[0].depth and name.keyword not in _NOT_ALIASES
    return name.word if is_name and has_alias and before.keyword not in {"AND", "OR", "NOT", "IS"} else ""


def _listed(tokens: Sequence[Token], opening: int) -> Iterator[SelectItem]:
    """The columns of a list of names, each with the whole query that they name: CREATE VIEW v(a) AS SELECT ..,
    WITH q(a) AS (SELECT ..), (VALUES ..) AS v(a)."""
    end = closing(tokens, opening)
    names = tokens[opening + 1 : end]
    if not names or not all(token.text == "," if i % 2 else token.word for i, token in enumerate(names)):
        return
    head = keywords(tokens[:opening])
    is_view = head[0] == "CREATE" and "VIEW" in head and "AS" not in head
    follows = [token.keyword or token.text for token in tokens[end + 1 : end + 4]]
    if follows[:1] == ["AS"] and (is_view or (follows[1:2] == ["("] and follows[2:] and follows[2] in QUERY_WORDS)):
        last = len(tokens) if is_view else closing(tokens, end + 2)
        yield from ((token.word, end + 2, last) for token in names if token.word)
        return
    before = opening - 2 - (tokens[opening - 2].keyword == "AS")
    if before > 0 and tokens[before].text == ")":
        first = next(i for i in reversed(range(before)) if tokens[i].depth == tokens[before].depth)
        yield from ((token.word, first, before) for token in names if token.word)


def _references_of(tokens: Sequence[Token], item: SelectItem) -> Iterator[Token]:
    """Where a column may be mentioned: anywhere, but not in its own query if that has another column of its name."""
    name, first, last = item
    same = [i for i, token in enumerate(tokens) if token.word == name]
    if sum(first <= i < last for i in same) < 2:
        yield from (tokens[i] for i in same)
        return
    depth = tokens[first].depth
    low = next((i for i in reversed(range(first)) if tokens[i].depth < depth), 0)
    high = next((i for i in range(last, len(tokens)) if tokens[i].depth < depth), len(tokens))
    yield from (tokens[i] for i in same if not low <= i < high)
