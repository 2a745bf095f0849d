from sqlinfer import Parameters, Request


def is_angry(text: str) -> Request:
    """Whether the author of a text is angry."""
    return Request(text, instruction="yes or no", parameters=Parameters(max_tokens=1))


def read(answer: str) -> bool:
    return answer == "yes"
