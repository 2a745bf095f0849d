"""How people ask: wordings of questions and conditions; knows no text and no answer.

Each is a pair: wordings to learn from, and wordings that are kept for the evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

Wordings = tuple[tuple[str, ...], tuple[str, ...]]


def choose(rng: Random, pair: Wordings, held_out: bool) -> str:
    """A wording to learn from, or one that is kept."""
    return rng.choice(pair[1] if held_out else pair[0])


CONDITIONS: Mapping[str, Wordings] = {
    "mentioned": (
        (
            "it mentions the {x}",
            "the text mentions the {x}",
            "the {x} is mentioned",
            "it talks about the {x}",
            "the customer writes about the {x}",
            "something is said about the {x}",
            "the author has an opinion on the {x}",
            "the review mentions {x}",
            "mentions the {x}",
        ),
        ("it says something about the {x}", "the customer mentions the {x}", "there is a remark on the {x}"),
    ),
    "praised": (
        (
            "the {x} is praised",
            "the {x} is good",
            "the customer likes the {x}",
            "it praises the {x}",
            "the author is pleased with the {x}",
            "the {x} is described as good",
            "it says that the {x} is great",
            "the customer is happy with the {x}",
        ),
        ("the author likes the {x}", "the text praises the {x}", "the {x} is great"),
    ),
    "criticised": (
        (
            "the {x} is criticised",
            "the {x} is bad",
            "the customer complains about the {x}",
            "it complains about the {x}",
            "the author dislikes the {x}",
            "the customer is unhappy with the {x}",
            "it says that the {x} is poor",
            "the {x} is a problem",
        ),
        ("the author complains about the {x}", "the {x} is poor", "the customer dislikes the {x}"),
    ),
    "mood": (
        (
            "the customer is {x}",
            "the author is {x}",
            "the writer feels {x}",
            "the customer sounds {x}",
            "it was written by someone who is {x}",
            "the person is {x}",
            "the mood is {x}",
            "the author feels {x}",
        ),
        ("the customer feels {x}", "the author sounds {x}", "the person who wrote it is {x}"),
    ),
    "sentiment": (
        (
            "the review is {x}",
            "it is {x}",
            "the text is {x}",
            "the sentiment is {x}",
            "the overall tone is {x}",
            "this is a {x} review",
            "the customer's opinion is {x}",
        ),
        ("the tone of the text is {x}", "the overall opinion is {x}", "the author's opinion is {x}"),
    ),
    "kind": (
        (
            "it is about a {x}",
            "the product is a {x}",
            "the text is about a {x}",
            "the customer bought a {x}",
            "a {x} is the subject",
            "the author has a {x}",
            "the customer writes about a {x}",
        ),
        ("the author writes about a {x}", "the subject is a {x}", "the customer has a {x}"),
    ),
    "concern": (
        (
            "it is a {x} ticket",
            "the reason is {x}",
            "the customer writes because of {x}",
            "this is about {x}",
            "the ticket belongs to {x}",
            "the concern is {x}",
        ),
        ("the customer's concern is {x}", "this is a {x} ticket", "the reason for the ticket is {x}"),
    ),
    "city": (
        ("{x} is mentioned", "the text names {x}", "the city is {x}", "it mentions {x}"),
        ("the text mentions {x}", "the city of {x} is named"),
    ),
}
"""Conditions on a text, for a filter; {x} is an aspect, a mood, a sentiment, a kind of product, a concern, a city."""

CONCERNS: Mapping[str, Wordings] = {
    "bug": (
        ("something does not work", "the product is broken", "it reports a defect", "the customer reports a bug"),
        ("the product does not work", "the customer reports a defect"),
    ),
    "billing": (
        ("it is about a bill", "the customer was charged wrongly", "there is a problem with the invoice"),
        ("it is about an invoice", "there is a problem with the bill"),
    ),
    "delivery": (
        ("a parcel is missing or late", "the customer waits for a parcel", "the parcel did not arrive"),
        ("the customer's parcel is missing", "a parcel did not arrive"),
    ),
    "refund": (
        ("the customer wants a refund", "the customer asks for money back", "a refund is asked for"),
        ("the customer asks for a refund", "the customer wants the money back"),
    ),
    "question": (
        ("the customer asks a question", "it is a question about the product", "the customer wants to know something"),
        ("it asks a question", "the customer has a question"),
    ),
    "cancellation": (
        ("the customer wants to cancel", "an order is to be cancelled", "it asks for a cancellation"),
        ("the customer cancels an order", "the customer asks for a cancellation"),
    ),
    "praise": (
        ("the customer praises the shop", "it is praise", "the customer is full of praise"),
        ("the customer writes to praise", "it praises the shop"),
    ),
}
"""Conditions on a ticket, by the concern that they hold for."""

FILTERS: Wordings = (
    (
        "{x}: yes or no?\n\n{text}",
        "Answer with yes or no. Is it true that {x}?\n\n{text}",
        "{text}\n\nIs it true that {x}? Answer yes or no.",
        "Yes or no: {x}?\n{text}",
        "{text}\n\nYes or no: {x}?",
        "Read the text and say yes or no: {x}.\n\n{text}",
        "Does this hold: {x}? Yes or no.\n\n{text}",
        "Say yes or no. {x}?\n\n{text}",
    ),
    ("Read this and answer yes or no: {x}?\n\n{text}", "Is it true that {x}? Yes or no.\n\n{text}"),
)

CLASSIFIERS: Wordings = (
    (
        "Which of these fits best: {x}?\n\n{text}",
        "Choose one label ({x}) for this text:\n\n{text}",
        "{text}\n\nWhich label is right: {x}?",
        "Classify as {x}: {text}",
        "Label this text. Labels: {x}.\n\n{text}",
        "Which of {x} fits this text?\n\n{text}",
        "{text}\n\nChoose the best label: {x}.",
        "Read this and choose one of {x}:\n\n{text}",
        "Sort this text. The labels are {x}.\n\n{text}",
        "One of {x}: what fits best?\n\n{text}",
    ),
    ("Which label fits best: {x}?\n\n{text}", "Classify this text. Choose one of: {x}.\n\n{text}"),
)

SUMMARIES: Wordings = (
    (
        "Summarize this in one sentence: {text}",
        "Summarize the text.\n\n{text}",
        "{text}\n\nWrite a summary in one sentence.",
        "Give a short summary of this text: {text}",
        "What does the customer say? One sentence.\n\n{text}",
        "In one sentence, what is this about?\n\n{text}",
        "TL;DR of this text:\n{text}",
        "Write one sentence that says what this is about.\n\n{text}",
        "{text}\n\nSummarize this.",
        "A short summary in one sentence, please: {text}",
        "Summarize the following text: {text}",
        "Write a summary of the text.\n\n{text}",
    ),
    ("Summarize the following in a sentence: {text}", "Write a short summary of this:\n\n{text}"),
)

QUESTIONS: Mapping[str, Wordings] = {
    "product": (
        (
            "Which product is it about?",
            "Name the product.",
            "What product does the customer write about?",
            "Which product is this?",
            "What did the customer buy?",
            "Say the name of the product.",
            "What is it about?",
        ),
        ("Which product does the customer write about?", "What is the product?"),
    ),
    "price": (
        (
            "How much did it cost?",
            "What was the price?",
            "Name the price.",
            "How much was it?",
            "What is the price?",
            "Which price is named?",
            "How much did the customer pay?",
        ),
        ("How much was the price?", "What did it cost?"),
    ),
    "city": (
        (
            "Which city is named?",
            "What city is mentioned?",
            "Name the city.",
            "Which city is it?",
            "What city is named?",
            "Which city does the customer name?",
            "Where is it?",
        ),
        ("Which city is mentioned?", "What is the city?"),
    ),
    "order": (
        (
            "What is the order number?",
            "Which order is it?",
            "Name the order number.",
            "What order number is mentioned?",
            "What is the number of the order?",
            "Which order is it about?",
            "Say the order number.",
        ),
        ("Which order number is named?", "What order is it about?"),
    ),
}
"""Questions for one fact, answered with it alone."""

EXTRACTS: Wordings = (
    (
        "Extract {x} as JSON.\n\n{text}",
        "{text}\n\nAnswer with a JSON object with the fields {x}.",
        "Give me {x} of this text as JSON: {text}",
        "{text}\n\nExtract {x} as JSON.",
        "Extract these fields as JSON: {x}.\n\n{text}",
        "Which {x} does this text tell? Answer in JSON.\n\n{text}",
        "Find {x} in this text and write them as JSON: {text}",
        "Read the text, then write JSON with the fields {x}.\n\n{text}",
        "As JSON, {x}: {text}",
    ),
    ("Extract the fields {x} as JSON: {text}", "Answer in JSON with {x}.\n\n{text}"),
)

PREAMBLES = (
    "You sort the mail of a shop.",
    "Think of the whole text.",
    "The text was written by a customer.",
    "Be exact.",
    "Read carefully.",
)
"""Instructions that a user may give besides the labels."""
