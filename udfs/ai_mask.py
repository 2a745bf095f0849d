from sqlinfer import Parameters, Request, SqlinferError


def ai_mask(text: str, labels: list[str]) -> Request:
    """Replace what the labels name, such as persons or e-mail addresses, by [MASKED]."""
    check(labels)
    return Request(
        text,
        instruction=f"Replace each of these in the following text by [MASKED]: {', '.join(labels)}. Change nothing "
        "else. Answer with the text alone.",
        parameters=Parameters(max_tokens=64 * (1 + len(text.encode("utf-8", "replace")) // 128)),
    )


def check(labels: list[str]) -> None:
    if not labels or not all(label.strip() for label in labels):
        raise SqlinferError(f"labels must name what to mask, as in ai_mask(text, ['person', 'phone']), not {labels!r}")
