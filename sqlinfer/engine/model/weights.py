"""A model's folder to a tokenizer and to weights; local files only, no code from the folder is ever run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlinfer.engine.generation_settings import Defaults
from sqlinfer.engine.input.encoder_inputs import EncoderInputs, EncoderLimits, first_position
from sqlinfer.engine.input.prompts import ContextLimits, PromptBuilder
from sqlinfer.engine.model.device import is_out_of_memory
from sqlinfer.engine.model.model_kind import DOES, Kind, find_model_kind
from sqlinfer.engine.model.pooling import PoolingHead, read_head
from sqlinfer.errors import ModelUnusable
from sqlinfer.types import ModelVersion

if TYPE_CHECKING:
    import torch

UNKNOWN_LENGTH = 10**9  # tokenizers write 1e30 where they know no length
LOCAL = {"local_files_only": True, "trust_remote_code": False}
RELATIVE_POSITIONS = ("t5", "mt5", "umt5", "longt5", "switch_transformers")
STRETCHED = ("longrope", "dynamic")  # kinds of rotary positions
CLASSIFIER = "AutoModelForSequenceClassification"
END_MARK = "sqlinfer"


def load_prompts(version: ModelVersion, config: Any) -> PromptBuilder:
    """The prompt side of a model, without weights. Raises ModelUnusable."""
    tokenizer = _load_tokenizer(version)
    generation = _load_generation(version)
    is_encoder_decoder = bool(config.is_encoder_decoder)
    decoder = config.get_text_config(decoder=True)
    learned = config.model_type not in RELATIVE_POSITIONS
    positions = _steady_positions(decoder) if learned else None
    known = tokenizer.model_max_length or UNKNOWN_LENGTH
    tokenizer.model_max_length = int(1e30)  # or it warns; lengths are our business
    defaults = Defaults(
        generation,
        getattr(config, "task_specific_params", None) or {},
        eos=_end_tokens(generation, config, tokenizer),
        context=positions,
        is_encoder_decoder=is_encoder_decoder,
    )
    context = ContextLimits(
        tokens=_reads(config, positions, known if known < UNKNOWN_LENGTH else None),
        vocabulary=int(decoder.vocab_size),
        start=_decoder_start(version, config, generation) if is_encoder_decoder else (),
    )
    return PromptBuilder(version, tokenizer, defaults, context)


def _steady_positions(decoder: Any) -> int | None:
    """Tokens of a row up to which its positions are its own: some models stretch those of a whole batch beyond."""
    positions = getattr(decoder, "max_position_embeddings", None)
    rotary = getattr(decoder, "rope_parameters", None) or {}
    stretches = rotary.get("rope_type") in STRETCHED
    return rotary.get("original_max_position_embeddings") or positions if stretches else positions


def load_head(version: ModelVersion, config: Any) -> PoolingHead | None:
    """How a model that embeds does it; None for another kind. Raises ModelUnusable."""
    if find_model_kind(version, config) != "embed":
        return None
    try:
        return read_head(version.path, config)
    except (ValueError, KeyError, OSError, TypeError) as error:
        what = f"how it pools cannot be read ({_first_line(error)})"
        raise _unusable(version, what, "Copy the model's whole folder") from error


def load_inputs(version: ModelVersion, config: Any) -> EncoderInputs:
    """The tokenizer's side of a model that reads and does not write, without weights. Raises ModelUnusable."""
    tokenizer = _load_tokenizer(version)
    if not tokenizer.is_fast:
        raise _unusable(version, "its tokenizer has no tokenizer.json", "Convert it with transformers")
    head = load_head(version, config)
    bounds = [head and head.max_tokens, _positions(config), tokenizer.model_max_length]
    tokenizer.model_max_length = int(1e30)
    kind = find_model_kind(version, config)
    reader = EncoderLimits(
        kind=kind,
        max_tokens=min((int(bound) for bound in bounds if bound), default=UNKNOWN_LENGTH),
        vocabulary=int(config.vocab_size),
        labels=tuple(config.id2label[i] for i in range(config.num_labels)) if kind == "classify" else (),
        prompt=head.prompt if head else "",
        is_lower_case=bool(head and head.is_lower_case),
    )
    return EncoderInputs(version, tokenizer, reader)


def _positions(config: Any) -> int | None:
    """Tokens that a model has positions for."""
    positions = getattr(config, "max_position_embeddings", None)
    if not positions or config.model_type in RELATIVE_POSITIONS:
        return None
    return int(positions) - first_position(config)


def load_config(version: ModelVersion) -> Any:
    """The configuration of a model's folder. Raises ModelUnusable."""
    from transformers import AutoConfig

    folder = Path(version.path)
    if not folder.is_dir():
        raise _unusable(version, "its folder is missing", "Put it back, or register the model again")
    file = folder / "config.json"
    if not file.is_file():
        raise _unusable(version, "config.json is missing", "Copy the model's whole folder")
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _unusable(version, f"config.json is not JSON ({error})", "Fetch the file again") from error
    try:
        with quiet():
            return AutoConfig.from_pretrained(folder, **LOCAL)
    except (ValueError, KeyError, OSError, TypeError) as error:
        kind = json.loads(file.read_text(encoding="utf-8")).get("model_type", "none")
        remedy = "A newer transformers may know it: pip install -U transformers"
        raise _unusable(version, f"its model type {kind!r} cannot be read ({_first_line(error)})", remedy) from error


def load_model(version: ModelVersion, config: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """The weights, on the device and ready for inference. Raises ModelUnusable."""
    _check_weights(version)
    kind = find_model_kind(version, config)
    try:
        with quiet():
            model, report = _class(kind, config).from_pretrained(
                version.path,
                config=config,
                dtype=dtype,
                use_safetensors=None if version.trusted else True,
                output_loading_info=True,
                **LOCAL,
            )
    except (ValueError, KeyError, OSError, TypeError, ImportError) as error:
        what = f"its weights cannot be loaded ({_first_line(error)})"
        raise _unusable(version, what, f"Register a model that {DOES[kind]}") from error
    if missing := [key for key in sorted(report["missing_keys"]) if kind != "embed" or "pooler." not in key]:
        what = f"its weights lack {len(missing)} tensors that the architecture needs, among them {missing[0]}"
        raise _unusable(version, what, f"Register a model that {DOES[kind]}, with all its weights")
    if kind == "generate" and not getattr(model, "_supports_default_dynamic_cache", lambda: True)():
        raise _unusable(version, f"architecture {type(model).__name__} has a cache of its own kind", "Use another")
    try:
        return model.to(device).eval()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        size = f"{sum(p.nbytes for p in model.parameters()) / 1e9:.1f} GB"
        what = f"its weights ({size} in {str(dtype).removeprefix('torch.')}) do not fit the memory of {device}"
        raise _unusable(version, what, "Free memory, or set SQLINFER_DEVICE=cpu") from error


def _class(kind: Kind, config: Any) -> Any:
    """The class of transformers that loads a model of a kind."""
    import transformers

    names = {"embed": "AutoModel", "classify": CLASSIFIER, "rerank": CLASSIFIER}
    writer = "AutoModelForSeq2SeqLM" if config.is_encoder_decoder else "AutoModelForCausalLM"
    return getattr(transformers, names.get(kind, writer))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars and warnings off the screen."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _load_tokenizer(version: ModelVersion) -> Any:
    from transformers import AutoTokenizer

    try:
        with quiet():
            return AutoTokenizer.from_pretrained(version.path, **LOCAL)
    except Exception as error:
        what = f"its tokenizer cannot be loaded ({_first_line(error)})"
        raise _unusable(version, what, "Copy tokenizer.json and tokenizer_config.json into the folder") from error


def _load_generation(version: ModelVersion) -> dict[str, Any]:
    """What generation_config.json sets, or config.json in its place, where older models have it."""
    from transformers import GenerationConfig

    name = "generation_config.json"
    if not (Path(version.path) / name).is_file():
        name = "config.json"
    try:
        with quiet():
            generation = GenerationConfig.from_pretrained(version.path, config_file_name=name, local_files_only=True)
    except (ValueError, TypeError, OSError) as error:
        what = f"the generation settings in {name} cannot be read ({_first_line(error)})"
        raise _unusable(version, what, "Fetch the file again") from error
    return {k: v for k, v in generation.to_dict().items() if v is not None}


def _end_tokens(generation: dict[str, Any], config: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends an answer: the model's, the tokenizer's and the chat template's."""
    ends: set[int] = set()
    for ids in (generation.get("eos_token_id"), getattr(config, "eos_token_id", None), tokenizer.eos_token_id):
        ends.update([ids] if isinstance(ids, int) else ids or ())
    if tokenizer.chat_template is not None and not config.is_encoder_decoder:
        ends.update(_chat_end(tokenizer))
    return frozenset(ends)


def _chat_end(tokenizer: Any) -> list[int]:
    """The special token that the chat template writes after an answer, if it writes one."""
    chat = [{"role": "user", "content": "?"}, {"role": "assistant", "content": END_MARK}]
    try:
        rendered = tokenizer.apply_chat_template(chat, tokenize=False)
    except Exception:  # noqa: BLE001 - a template may raise anything for a chat that it does not foresee
        return []
    tail = tokenizer(rendered.rpartition(END_MARK)[2].lstrip(), add_special_tokens=False)["input_ids"]
    return [t for t in tail[:1] if t in tokenizer.all_special_ids or t in tokenizer.added_tokens_decoder]


def _reads(config: Any, positions: int | None, known: int | None) -> int | None:
    """Tokens of a prompt: what the positions allow, else what the model was trained on, else unbounded."""
    trained = known or getattr(config, "n_positions", None)
    if not config.is_encoder_decoder:
        return positions or trained
    bounds = [b for b in (positions, trained) if b]
    return min(bounds, default=None)


def _decoder_start(version: ModelVersion, config: Any, generation: dict[str, Any]) -> tuple[int, ...]:
    for source in (generation.get("decoder_start_token_id"), getattr(config, "decoder_start_token_id", None)):
        if isinstance(source, int):
            return (source,)
    if isinstance(generation.get("bos_token_id"), int):
        return (generation["bos_token_id"],)
    raise _unusable(version, "no decoder_start_token_id is set", "Add it to generation_config.json")


def _check_weights(version: ModelVersion) -> None:
    """Raise ModelUnusable unless the folder has whole safetensors files, or pickles of a trusted model."""
    folder = Path(version.path)
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        shards = [single]
    elif index.is_file():
        shards = _shards(version, index)
    elif any(folder.glob("pytorch_model*.bin*")):
        if not version.trusted:
            remedy = f"If you trust its source: sqlinfer models register {version.name} {version.source} --trust"
            raise _unusable(version, "its weights are pickles, and loading a pickle may run any code", remedy)
        return
    else:
        raise _unusable(version, "it has no weights (model.safetensors)", "Copy the model's whole folder")
    for shard in shards:
        _check_shard(version, shard)


def _shards(version: ModelVersion, index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise _unusable(version, f"{index.name} cannot be read ({error!r})", "Fetch the file again") from error
    shards = [index.parent / str(name) for name in names]
    if missing := [s.name for s in shards if not s.is_file()]:
        what = f"{len(missing)} of {len(shards)} weight files are missing, among them {missing[0]}"
        raise _unusable(version, what, "Copy the model's whole folder")
    return shards


def _check_shard(version: ModelVersion, shard: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(shard, framework="pt") as tensors:
            tensors.keys()
    except (SafetensorError, OSError) as error:
        what = f"{shard.name} is truncated or corrupt ({_first_line(error)})"
        raise _unusable(version, what, "Fetch the file again") from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _unusable(version: ModelVersion, what: str, remedy: str) -> ModelUnusable:
    return ModelUnusable(f"Model {version} in {version.path} cannot be used: {what}. {remedy}.")
