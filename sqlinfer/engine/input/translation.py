"""How a model that was trained to translate is asked: by the prefix of its own that names both languages."""

from __future__ import annotations

import re
from typing import Any

from sqlinfer.engine.generation_settings import Defaults
from sqlinfer.types import ModelVersion

_PREFIX = re.compile(r"translate (\w+) to (\w+):", re.IGNORECASE)
_CODE = re.compile(r"__[a-z]{2,3}__|[a-z]{2}_[A-Z]{2}|[a-z]{3}_[A-Z][a-z]{3}")
"""The token of a language, as M2M100, mBART and NLLB have it."""


def has_language_codes(tokenizer: Any) -> bool:
    """Whether a tokenizer takes the languages of a text as codes, by an attribute or by tokens of its own."""
    if hasattr(tokenizer, "src_lang") or hasattr(tokenizer, "source_lang"):
        return True
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    return sum(_CODE.fullmatch(str(token)) is not None for token in added) > 1


def translation_prefix(
    version: ModelVersion, defaults: Defaults, languages: tuple[str, ...], takes_codes: bool
) -> str | None:
    """The prefix with which a model was trained to translate between languages; None for one that follows
    instructions. Raises ValueError if it was trained for others, or takes their codes.

    languages: the one to translate to, or the one to translate from before it.
    takes_codes: whether the model's tokenizer has codes of languages.
    """
    pairs = {}
    for params in defaults.tasks.values():
        prefix = str(params.get("prefix") or "")
        if match := _PREFIX.match(prefix):
            pairs[match[1].casefold(), match[2].casefold()] = prefix
    wanted = tuple(language.strip().casefold() for language in languages)
    matching = [prefix for pair, prefix in pairs.items() if pair[-len(wanted) :] == wanted]
    if len(matching) == 1:
        return matching[0]
    if pairs:
        known = ", ".join(f"{source.title()} to {target.title()}" for source, target in pairs)
        raise ValueError(f"model {version} was trained to translate {known}, and not {' to '.join(languages)}")
    if takes_codes:
        raise ValueError(
            f"model {version} takes languages as codes, which ai_translate does not know; name a model that follows "
            "instructions, or a T5"
        )
    return None
