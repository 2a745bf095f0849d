from sqlinfer import Request


def ai_complete(model: str, prompt: str) -> Request:
    """Complete a prompt with a model named by its registered name, hub id or folder."""
    return Request(prompt)
