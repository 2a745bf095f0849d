"""What an answer points at is the word that it repeats, or the sentence that tells the fact."""

from __future__ import annotations

from random import Random
from typing import Any

import torch

from sqlinfer.types import Request
from tools.random_models import Size, build_tokenizer
from tools.tiny import decoder, pointing
from tools.tiny.chats import Chat, write_chat
from tools.tiny.pointing import COPY, EVIDENCE
from tools.tiny.questions import Question
from tools.tiny.texts import Facts, Text

BODY = "The Zorbex lamp arrived. I live in Oslo. It is as heavy as a brick. It was $12.50."
TEXT = Text(
    BODY,
    Facts("lamp", "Zorbex", (("weight", False),), None, None, "12.50", "Oslo", None, None),
    {"city": BODY.index("Oslo") + 4, "weight": BODY.index("brick") + 5},
)
TOKENIZER = build_tokenizer("llama", Size(vocabulary=400), [BODY], decoder.splits())


def looks(answer: str, fact: str = "") -> list[tuple[int, str, str]]:
    """Of each pointer: the head, the token that is said next, the token that is looked at."""
    chat = Chat(Question(Request(BODY, instruction="Say it."), answer, TEXT, "question", fact), ())
    row = decoder.row_of(chat, TOKENIZER)
    return [
        (head, *(TOKENIZER.decode(row.ids[at]) for at in (start + 1, source))) for head, start, source in row.pointers
    ]


def test_a_copied_value_points_at_each_of_its_tokens() -> None:
    copied = looks('{"city": "Oslo", "price": "12.50"}')
    assert all(head == COPY and said == source for head, said, source in copied)
    assert "".join(said for _, said, _ in copied) in ("12.50Oslo", "Oslo12.50")


def test_a_fact_that_is_said_in_other_words_points_at_the_end_of_its_sentence() -> None:
    ((head, said, source),) = looks("yes", "weight")
    assert (head, said[0], source) == (EVIDENCE, "y", ".")
    assert looks("no", "size") == []
    summary = looks("A negative review of the Zorbex lamp: weight criticised.")
    assert [(said.strip()[:1], source) for head, said, source in summary if head == EVIDENCE] == [("w", ".")]


def test_every_pointer_goes_back() -> None:
    rows = [decoder.row_of(write_chat(Random(number), 6), TOKENIZER) for number in range(50)]
    assert sum(bool(row.pointers) for row in rows) > 40
    for row in rows:
        assert all(0 < source <= start < len(row.ids) - 1 for _, start, source in row.pointers)
        assert all(row.weights[start + 1] > 0 for _, start, _ in row.pointers)


def test_the_loss_is_what_the_heads_attend_to() -> None:
    model = _llama()
    watched = pointing.watch(model)
    ids = torch.arange(20)[None] + 7
    attended = model(ids, output_attentions=True).attentions[pointing.LAYER][0]
    marks = [(COPY, 15, 3), (COPY, 9, 9), (EVIDENCE, 18, 0)]
    expected = (
        -torch.stack([attended[COPY, 15, 3], attended[COPY, 9, 9]]).log().mean() - attended[EVIDENCE, 18, 0].log()
    )
    torch.testing.assert_close(pointing.loss(model, watched, [marks]), expected)


def _llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(**shape, vocab_size=100, attn_implementation="eager"))
