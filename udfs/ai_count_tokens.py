from sqlinfer import CountTokens


def ai_count_tokens(text: str) -> CountTokens:
    """Count the tokens of a text as a model sees them; no model runs."""
    return CountTokens(text)
