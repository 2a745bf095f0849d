"""Models of any size with seeded random weights and a tokenizer of their own, built without a download.

Their answers mean nothing; they are for tests, benchmarks and a first try.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from sqlinfer.errors import SqlinferError, nearest

Shape = Literal["llama", "qwen3", "gpt2", "t5", "bart", "bert"]
PAD, BOS, EOS, UNKNOWN, USER, ASSISTANT, END = "<pad>", "<s>", "</s>", "<unk>", "<|user|>", "<|assistant|>", "<|end|>"
SPECIAL = (PAD, BOS, EOS, UNKNOWN, USER, ASSISTANT, END)
CHAT_TEMPLATE = (
    "{{ '<s>' }}{% for message in messages %}{{ '<|' + message.role + '|>' + message.content + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
TEXT = (
    "The order arrived two days late and the box was open. I asked for a refund and the answer came at once.",
    "Please summarize the following review in one sentence: the battery is good, the screen is not.",
    "Which of these products would you buy again? The lamp, the chair and the small table near the window.",
    "Every morning the train leaves the station at seven, and every evening it comes back with tired people.",
    "The committee will meet on Monday to discuss the budget, the new building and the report of last year.",
    "A database keeps rows in tables. A query reads the rows, filters them, joins them and counts them.",
    "She wrote the letter by hand, put it into the drawer and forgot about it for more than ten years.",
    "Water boils at one hundred degrees; on a mountain it boils earlier because the air is thinner there.",
)


@dataclass(frozen=True, slots=True)
class Size:
    """How large a model is.

    spread: standard deviation of the random weights, times one over the square root of hidden for matrices.
    vocabulary: at most; the tokenizer may learn fewer tokens from its text, the weights have this many.
    """

    hidden: int = 64
    num_layers: int = 2
    num_heads: int = 4
    num_key_value_heads: int = 2
    vocabulary: int = 512
    positions: int = 512
    spread: float = 4.0


_SEEDED = threading.Lock()  # threads share torch's random numbers


def build(shape: Shape, folder: Path | str, *, seed: int = 0, size: Size | None = None) -> Path:
    """Write a model of this shape into folder: weights, configuration, tokenizer. Equal calls write equal files."""
    import transformers

    from sqlinfer.engine.model.weights import quiet

    if shape not in BUILDERS:
        raise SqlinferError(f"Unknown shape {shape!r}. {nearest(shape, get_args(Shape))}")
    size = size or Size()
    folder = Path(folder)
    with seeded(seed), quiet():
        config, kind = BUILDERS[shape](size)
        model = getattr(transformers, kind)(config)
        randomise(model, size)
        if shape == "bert":
            write_sentence_transformer(folder, size)
        else:
            model.generation_config = _generation(shape)
        model.save_pretrained(folder)
        build_tokenizer(shape, size).save_pretrained(folder)
    return folder


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch draw from a seed inside, and go on afterwards as if nothing was drawn."""
    import torch

    with _SEEDED, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def randomise(model: Any, size: Size) -> None:
    """Give every matrix weights wide enough that the answer depends on the whole prompt."""
    import torch

    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            if weight.dim() > 1:
                weight.normal_(0.0, _spread(name, weight.shape[-1], size))


def _spread(name: str, num_inputs: int, size: Size) -> float:
    """Standard deviation of a weight: tables are not divided by their width, matrices are."""
    if "relative_attention_bias" in name:
        return size.spread
    if any(table in name for table in ("embed", "shared", "wte", "wpe")):
        return 1.0
    if name.endswith("Attention.q.weight"):  # T5 does not scale its attention scores
        num_inputs *= size.hidden // size.num_heads
    return float(size.spread / num_inputs**0.5)


def build_tokenizer(shape: Shape, size: Size, texts: Iterable[str] = TEXT, splits: Sequence[Any] = ()) -> Any:
    """A byte-level BPE tokenizer, learned from texts; it can write any Unicode text.

    splits: pre-tokenizers (of the tokenizers library) that cut a text before bytes are joined to tokens.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, to_bytes]) if splits else to_bytes
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size.vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    frames = {"t5": "$A </s>", "bart": "<s> $A </s>", "bert": "<s> $A </s>", "llama": "<s> $A"}
    ids = [(token, tokenizer.token_to_id(token)) for token in (BOS, EOS)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=frames.get(shape, "$A"), pair="<s> $A </s> $B:1 </s>:1" if shape == "bert" else None, special_tokens=ids
    )
    typed = ["token_type_ids"] if shape == "bert" else []
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        unk_token=UNKNOWN,
        additional_special_tokens=[USER, ASSISTANT, END],
        model_max_length=size.positions,
        model_input_names=["input_ids", *typed, "attention_mask"],
    )
    if shape in ("llama", "qwen3"):
        fast.chat_template = CHAT_TEMPLATE
    return fast


def _generation(shape: Shape) -> Any:
    from transformers import GenerationConfig

    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if shape in ("llama", "qwen3"):
        return GenerationConfig(**{**ids, "eos_token_id": [2, SPECIAL.index(END)]})
    if shape == "t5":
        return GenerationConfig(**ids, decoder_start_token_id=0)
    if shape == "bart":
        return GenerationConfig(
            **ids,
            decoder_start_token_id=2,
            forced_bos_token_id=1,
            forced_eos_token_id=2,
            num_beams=4,
            length_penalty=2.0,
            no_repeat_ngram_size=3,
            early_stopping=True,
            min_length=12,
            max_length=40,
        )
    return GenerationConfig(**ids)


def _ids() -> dict[str, int]:
    return {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def _llama(size: Size) -> tuple[Any, str]:
    from transformers import LlamaConfig

    return LlamaConfig(**_rotary(size), **_ids()), "LlamaForCausalLM"


def _qwen3(size: Size) -> tuple[Any, str]:
    from transformers import Qwen3Config

    head_dim = size.hidden // size.num_heads
    return Qwen3Config(**_rotary(size), head_dim=head_dim, **_ids()), "Qwen3ForCausalLM"


def _rotary(size: Size) -> dict[str, Any]:
    return {
        "hidden_size": size.hidden,
        "intermediate_size": 3 * size.hidden,
        "num_hidden_layers": size.num_layers,
        "num_attention_heads": size.num_heads,
        "num_key_value_heads": size.num_key_value_heads,
        "vocab_size": size.vocabulary,
        "max_position_embeddings": size.positions,
        "tie_word_embeddings": False,
    }


def _gpt2(size: Size) -> tuple[Any, str]:
    from transformers import GPT2Config

    config = GPT2Config(
        n_embd=size.hidden,
        n_layer=size.num_layers,
        n_head=size.num_heads,
        n_positions=size.positions,
        vocab_size=size.vocabulary,
        tie_word_embeddings=False,
        **_ids(),
    )
    return config, "GPT2LMHeadModel"


def _t5(size: Size) -> tuple[Any, str]:
    from transformers import T5Config

    config = T5Config(
        d_model=size.hidden,
        d_kv=size.hidden // size.num_heads,
        d_ff=3 * size.hidden,
        num_layers=size.num_layers,
        num_heads=size.num_heads,
        vocab_size=size.vocabulary,
        n_positions=size.positions,
        tie_word_embeddings=False,
        decoder_start_token_id=0,
        task_specific_params={
            "summarization": {
                "prefix": "summarize: ",
                "num_beams": 4,
                "length_penalty": 2.0,
                "no_repeat_ngram_size": 3,
                "early_stopping": True,
                "min_length": 8,
                "max_length": 32,
            }
        },
        pad_token_id=0,
        eos_token_id=2,
    )
    return config, "T5ForConditionalGeneration"


def _bart(size: Size) -> tuple[Any, str]:
    from transformers import BartConfig

    config = BartConfig(
        d_model=size.hidden,
        encoder_layers=size.num_layers,
        decoder_layers=size.num_layers,
        encoder_attention_heads=size.num_heads,
        decoder_attention_heads=size.num_heads,
        encoder_ffn_dim=3 * size.hidden,
        decoder_ffn_dim=3 * size.hidden,
        max_position_embeddings=size.positions,
        vocab_size=size.vocabulary,
        decoder_start_token_id=2,
        forced_eos_token_id=None,
        **_ids(),
    )
    return config, "BartForConditionalGeneration"


def _bert(size: Size) -> tuple[Any, str]:
    from transformers import BertConfig

    config = BertConfig(
        hidden_size=size.hidden,
        num_hidden_layers=size.num_layers,
        num_attention_heads=size.num_heads,
        intermediate_size=4 * size.hidden,
        max_position_embeddings=size.positions,
        vocab_size=size.vocabulary,
        **_ids(),
    )
    return config, "BertModel"


def write_sentence_transformer(folder: Path, size: Size) -> None:
    """The files that make an encoder's folder a sentence-transformers model: mean pooling, then unit length."""
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": idx, "name": str(idx), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for idx, (path, kind) in enumerate(kinds.items())
    ]
    files = {
        "modules.json": modules,
        "sentence_bert_config.json": {"max_seq_length": size.positions, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": size.hidden, "pooling_mode_mean_tokens": True},
    }
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


BUILDERS: dict[str, Callable[[Size], tuple[Any, str]]] = {
    "llama": _llama,
    "qwen3": _qwen3,
    "gpt2": _gpt2,
    "t5": _t5,
    "bart": _bart,
    "bert": _bert,
}
