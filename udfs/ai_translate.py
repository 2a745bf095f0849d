from sqlinfer import Parameters, Request


def ai_translate(text: str, to: str, into: str = "") -> Request:
    """Translate a text into a language; with two languages, from the first into the second."""
    languages = f"from {to} into {into}" if into else f"into {to}"
    return Request(
        text,
        instruction=f"Translate the following text {languages}. Answer with the translation alone.",
        parameters=Parameters(max_tokens=64 * (1 + len(text.encode("utf-8", "replace")) // 128)),
    )
