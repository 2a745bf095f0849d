from sqlinfer import Request


def ai_gen(prompt: str) -> Request:
    """Answer a prompt with the default model."""
    return Request(prompt)
