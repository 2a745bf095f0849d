from sqlinfer import Parameters, Request


def ai_fix_grammar(text: str) -> Request:
    """Correct the grammar and the spelling of a text, and change nothing else."""
    return Request(
        text,
        instruction="Correct the grammar and the spelling of the following text. Keep its language and its words where "
        "they are right. Answer with the corrected text alone.",
        parameters=Parameters(max_tokens=64 * (1 + len(text.encode("utf-8", "replace")) // 128)),
    )
