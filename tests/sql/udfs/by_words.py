from sqlinfer import Request, Steps


def by_words(text: str) -> Steps[str]:
    """Ask about each word of a text, then about the answers."""
    answers = yield [Request(word) for word in text.split()]
    together = yield Request(" ".join(answers))
    if together == "<<odd>>":
        raise ValueError("odd")
    return together
