from sqlinfer import Parameters, Request, SqlinferError


def ai_translate(text: str, to: str, into: str = "") -> Request:
    """Translate a text into a language; with two languages, from the first into the second.

    A model that was trained to translate, such as T5, is asked by its own prefix and refuses other languages;
    models that take languages as codes (M2M100, NLLB, Marian) are refused.
    """
    check(to)
    languages = f"from {to} into {into}" if into else f"into {to}"
    return Request(
        text,
        instruction=f"Translate the following text {languages}. Answer with the translation alone.",
        parameters=Parameters(max_tokens=64 * (1 + len(text.encode("utf-8", "replace")) // 128)),
        languages=(to, into) if into else (to,),
    )


def check(to: str) -> None:
    if not to.strip():
        raise SqlinferError("to is blank; name a language, as in ai_translate(text, 'German')")
