from sqlinfer import Request


def ai_classify(text: str, labels: list[str], instructions: str = "") -> Request:
    """Choose the label that fits a text best."""
    asked = f"Classify the following text as one of these labels: {', '.join(labels)}. Answer with the label alone."
    return Request(text, instruction=f"{instructions}\n{asked}" if instructions else asked, choices=tuple(labels))
