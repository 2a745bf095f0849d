"""Chats: every turn is true of the text of the first, and says nothing that is held out."""

from __future__ import annotations

from random import Random

from tools.random_models import ASSISTANT, END, SPECIAL, Size, build_tokenizer
from tools.tiny import decoder, wordings
from tools.tiny.chats import write_chat
from tools.tiny.questions import write_question

NUM_TURNS = 6
CHATS = [write_chat(Random(number), NUM_TURNS) for number in range(100)]
TURNS = [(chat.first.text.facts, turn.message, turn.answer) for chat in CHATS for turn in chat.turns]
TOKENIZER = build_tokenizer(
    "llama", Size(vocabulary=400), [chat.first.request.text for chat in CHATS], decoder.splits()
)


def test_the_first_turn_is_an_ordinary_question() -> None:
    assert [chat.first for chat in CHATS] == [write_question(Random(number)) for number in range(100)]
    assert {len(chat.turns) for chat in CHATS} == {NUM_TURNS}


def test_an_answer_is_a_fact_of_the_text_or_a_word_that_the_question_allows() -> None:
    for facts, question, answer in TURNS:
        told = {facts.product, facts.kind, facts.brand, facts.mood, facts.price, facts.city, facts.order, facts.date}
        lists = {", ".join(facts.praised), ", ".join(facts.criticised)}
        assert answer in {*told, *lists, facts.concern, facts.sentiment, "yes", "no", "null", "nothing"}, question


def test_half_of_all_conditions_hold() -> None:
    answers = [answer for _, _, answer in TURNS]
    assert 0.4 < answers.count("yes") / (answers.count("yes") + answers.count("no")) < 0.6


def test_no_turn_is_worded_as_in_the_evaluation() -> None:
    kept = {question for _, held_out in wordings.QUESTIONS.values() for question in held_out}
    assert not kept & {question for _, question, _ in TURNS}


def test_a_name_and_a_number_have_the_same_tokens_after_a_space_and_after_a_quote() -> None:
    for word in ("Vienna", "Shoubiael", "Bergen", "G-48996", "870.99", "2025-05-06"):
        after_quote, after_space = (TOKENIZER.tokenize(text + word)[-3:] for text in ('"', " "))
        assert after_quote == after_space
        assert TOKENIZER.decode(TOKENIZER(f"in {word}")["input_ids"], skip_special_tokens=True) == f"in {word}"


def test_only_answers_weigh_and_the_first_weighs_most() -> None:
    for chat in CHATS:
        row = decoder.row_of(chat, TOKENIZER)
        starts = [at + 1 for at, token in enumerate(row.ids) if token == SPECIAL.index(ASSISTANT)]
        assert len(starts) == NUM_TURNS + 1
        answers = []
        for start in starts:
            end = row.ids.index(SPECIAL.index(END), start) + 1
            answers.append(row.weights[start:end])
        assert sum(map(len, answers)) == sum(weight > 0 for weight in row.weights)
        sizes = [sum(weights) / len(weights) ** 0.5 for weights in answers]
        assert [round(size, 6) for size in sizes] == [2.0, *[1.0] * NUM_TURNS]
