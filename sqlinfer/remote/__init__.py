"""Models behind an OpenAI-shaped address: requests in, completions out; knows no store and no SQL.

The one door to them: other packages import from here only. It loads no HTTP library.
"""

from sqlinfer.remote.batch_lines import read_answer_line, request_line
from sqlinfer.remote.engine import RemoteEngine, cost, count_prompt_tokens, describe, read_prompt, unsupported_reason
from sqlinfer.remote.prices import ListedPrice, list_prices, own_file

__all__ = [
    "ListedPrice",
    "RemoteEngine",
    "cost",
    "count_prompt_tokens",
    "describe",
    "list_prices",
    "own_file",
    "read_answer_line",
    "read_prompt",
    "request_line",
    "unsupported_reason",
]
