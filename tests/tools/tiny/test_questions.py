"""Texts and questions: seeded, true, and what is held out never shows in training."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from sqlinfer.types import Choose, Generate
from tools.tiny import wordings
from tools.tiny.questions import TASKS, TRAINING, HeldOut, Question, write_question
from tools.tiny.samples import write as write_samples
from tools.tiny.texts import MAX_SENTENCES, write_review, write_text, write_ticket
from tools.tiny.words import ASPECTS, KINDS, MOODS, is_held_out

NUM = 400
EXAMPLES = Path(__file__).parents[3] / "examples" / "data"


def questions(held_out: HeldOut = TRAINING, seed: int = 0) -> list[Question]:
    rng = Random(seed)
    return [write_question(rng, held_out) for _ in range(NUM)]


def test_the_same_seed_writes_the_same_questions_and_another_does_not() -> None:
    assert questions() == questions()
    assert questions() != questions(seed=1)


def test_brands_of_training_and_of_evaluation_never_meet() -> None:
    rng = Random(0)
    training = {write_text(rng).facts.brand for _ in range(NUM)}
    evaluation = {write_text(rng, held_out=True).facts.brand for _ in range(NUM)}
    assert not any(map(is_held_out, training))
    assert all(map(is_held_out, evaluation))
    assert len(training) > NUM * 0.9


def test_a_text_says_its_facts_in_one_to_twelve_sentences() -> None:
    rng = Random(0)
    lengths = set()
    for _ in range(NUM):
        text = write_text(rng)
        facts = text.facts
        body = text.body.lower()
        assert facts.kind in body
        assert facts.brand.lower() in body
        for told in (facts.price, facts.city, facts.order, facts.date):
            assert told is None or told.lower() in body
        lengths.add(sum(text.body.count(end + " ") for end in ".!?:") + 1)
    assert min(lengths) == 1
    assert MAX_SENTENCES - 2 <= max(lengths) <= MAX_SENTENCES + 3  # a colon or "no." counts too


def test_a_text_knows_where_the_sentence_of_each_fact_ends() -> None:
    rng = Random(0)
    for _ in range(NUM):
        text = write_text(rng)
        assert {name for name, _ in text.facts.aspects} <= set(text.ends)
        for name, end in text.ends.items():
            assert text.body[end] in ".!?"
            assert text.body[end + 1 : end + 2] in ("", " ")
            if name == "city":
                assert text.facts.city in text.body[max(0, end - 40) : end]


def test_sentiment_follows_from_what_is_praised_and_criticised() -> None:
    rng = Random(0)
    for _ in range(NUM):
        facts = write_review(rng).facts
        expected = {
            (True, False): "positive",
            (False, True): "negative",
            (True, True): "mixed",
            (False, False): "neutral",
        }
        assert facts.sentiment == expected[bool(facts.praised), bool(facts.criticised)]
        assert {name for name, _ in facts.aspects} <= set(ASPECTS)


def test_a_ticket_has_a_reason_and_a_review_has_none() -> None:
    rng = Random(0)
    assert all(write_ticket(rng).facts.concern for _ in range(NUM))
    assert not any(write_review(rng).facts.concern for _ in range(NUM))


@pytest.mark.parametrize("task", TASKS)
def test_the_answer_is_one_of_those_the_question_allows(task: str) -> None:
    rng = Random(0)
    for _ in range(100):
        question = TASKS[task][0](rng, TRAINING)
        if isinstance(question.request, Choose):
            assert question.answer in question.request.choices
        if isinstance(question.request, Generate) and question.request.schema:
            properties = json.loads(question.request.schema)["properties"]
            assert list(json.loads(question.answer)) == [name.removesuffix(" (number)") for name in properties]


def test_half_of_all_conditions_hold() -> None:
    rng = Random(0)
    answers = [TASKS["filter"][0](rng, TRAINING).answer for _ in range(1000)]
    assert 430 < answers.count("yes") < 570


def test_wordings_for_the_evaluation_are_not_among_those_of_training() -> None:
    pairs = [*wordings.CONDITIONS.values(), *wordings.CONCERNS.values(), *wordings.QUESTIONS.values()]
    pairs += [wordings.FILTERS, wordings.CLASSIFIERS, wordings.SUMMARIES, wordings.EXTRACTS]
    for training, held_out in pairs:
        assert held_out
        assert not set(training) & set(held_out)


def test_label_sets_of_the_evaluation_never_show_in_training() -> None:
    def sets(held_out: HeldOut) -> set[str]:
        rng = Random(0)
        requests = [TASKS["classify"][0](rng, held_out).request for _ in range(NUM)]
        choices = [request.choices for request in requests if isinstance(request, Choose)]
        return {",".join(sorted(label.lower() for label in labels)) for labels in choices}

    training, evaluation = sets(TRAINING), sets(HeldOut(label_sets=True))
    assert training
    assert evaluation
    assert not training & evaluation


def test_a_mood_is_told_in_words_of_its_own() -> None:
    told = [sentence for sentences in MOODS.values() for sentence in sentences]
    assert len(told) == len(set(told))
    assert len(KINDS) == 20


def test_the_sample_tables_are_the_ones_that_the_generator_writes(tmp_path: Path) -> None:
    write_samples(tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (EXAMPLES / path.name).read_bytes()
