from typing import Literal

from sqlinfer import Embed, TextOrBlob


def ai_embed(text: TextOrBlob, overflow: Literal["truncate", "error"] = "truncate") -> Embed:
    """Embed a text, or an image as a BLOB: a vector of numbers, close to those of others with a similar meaning."""
    return Embed("", overflow, files=text.blobs) if text.blobs else Embed(text.text, overflow)
