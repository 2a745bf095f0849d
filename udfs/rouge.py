import re
import unicodedata
from typing import TypedDict

UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
)


class Rouge(TypedDict):
    rouge1: float
    rouge2: float
    rougeL: float
    rougeLsum: float


class Tokenizer:
    """Words of any script: of ASCII text the same as the library's own."""

    def tokenize(self, text: str) -> list[str]:
        text = unicodedata.normalize("NFC", text.lower())
        text = "".join(each if each.isalnum() or unicodedata.category(each)[0] == "M" else " " for each in text)
        return UNSPACED.sub(r" \1 ", text).split()


def rouge(prediction: str, reference: str) -> Rouge:
    """Compare a summary with a reference: F-measures from 0 to 1; lines are the sentences of rougeLsum.

    A word is a run of letters and digits; of scripts that put no space between words (Chinese, Japanese, Thai, Lao,
    Khmer, Burmese) it is one character.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scores = RougeScorer(list(Rouge.__annotations__), tokenizer=Tokenizer()).score(reference, prediction)
    return Rouge(**{name: score.fmeasure for name, score in scores.items()})
