from sqlinfer import Request


def ai_query(model: str, request: str) -> Request:
    """Answer a request with a model named by its registered name, hub id or folder."""
    return Request(request)
