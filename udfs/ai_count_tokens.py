from sqlinfer import Request


def ai_count_tokens(text: str) -> Request:
    """Count the tokens of a text as a model sees them; no model runs."""
    return Request(text, task="count_tokens")


def read(answer: str) -> int:
    return int(answer)
