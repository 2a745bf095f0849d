"""Loads the tokenizer side of a model's folder, without weights: a PromptBuilder, or EncoderInputs for an encoder.

Local files only, no code from the folder is ever run. Knows no torch.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from sqlinfer.engine.generation_settings import Defaults, disregarded
from sqlinfer.engine.input.encoder_inputs import EncoderInputs, EncoderLimits
from sqlinfer.engine.input.image_inputs import ImageInputs
from sqlinfer.engine.input.image_prompts import ImagePromptBuilder
from sqlinfer.engine.input.prompts import ContextLimits, PromptBuilder
from sqlinfer.engine.input.tokenizer import PINNED_DATE
from sqlinfer.engine.model.model_kind import find_media, find_model_kind
from sqlinfer.engine.model.pooling import load_head
from sqlinfer.engine.model.weights import LOCAL, RELATIVE_POSITIONS, quiet, unusable
from sqlinfer.errors import first_line
from sqlinfer.types import ModelVersion

logger = logging.getLogger(__name__)
UNKNOWN_LENGTH = 10**9  # tokenizers write 1e30 where they know no length
BATCH_SCALED = ("longrope", "dynamic")  # RoPE scaling that depends on the longest row of a batch
END_MARK = "sqlinfer"


def load_prompts(version: ModelVersion, config: Any) -> PromptBuilder:
    """The prompt builder of a model that generates. Raises ModelUnusable."""
    processor = _load_processor(version, "AutoProcessor") if find_media(config) != "texts" else None
    tokenizer = processor.tokenizer if processor else _load_tokenizer(version)
    if processor and tokenizer.chat_template is None:
        tokenizer.chat_template = processor.chat_template
    if "strftime_now" in str(tokenizer.chat_template):
        logger.warning("%s: its chat template has a date: it is always %s", version, PINNED_DATE.isoformat())
    generation = _load_generation(version)
    if names := disregarded(generation):
        logger.warning("%s: generation_config.json has settings that are not obeyed: %s", version, ", ".join(names))
    is_encoder_decoder = bool(config.is_encoder_decoder)
    decoder = config.get_text_config(decoder=True)
    positions = _unscaled_positions(decoder)
    max_length = tokenizer.model_max_length or UNKNOWN_LENGTH
    tokenizer.model_max_length = int(1e30)  # or it warns; the PromptBuilder checks lengths
    defaults = Defaults(
        generation,
        getattr(config, "task_specific_params", None) or {},
        eos=_end_tokens(generation, config, tokenizer),
        context=positions,
        is_encoder_decoder=is_encoder_decoder,
    )
    context = ContextLimits(
        max_tokens=_max_tokens(config, positions, max_length if max_length < UNKNOWN_LENGTH else None),
        vocabulary=int(decoder.vocab_size),
        decoder_start=_decoder_start(version, config, generation) if is_encoder_decoder else (),
    )
    if processor:
        return ImagePromptBuilder(version, processor, defaults, context)
    return PromptBuilder(version, tokenizer, defaults, context)


def _unscaled_positions(decoder: Any) -> int | None:
    """The length up to which positions do not depend on the other rows: beyond, some models scale a whole batch's."""
    positions = _positions(decoder, "decoder")
    rotary = getattr(decoder, "rope_parameters", None) or {}
    is_scaled = rotary.get("rope_type") in BATCH_SCALED
    return rotary.get("original_max_position_embeddings") or positions if is_scaled else positions


def _positions(config: Any, side: str) -> int | None:
    """Tokens that a model has positions for, as far as its configuration says; its weights tell better."""
    if config.model_type in RELATIVE_POSITIONS:
        return None
    names = f"max_{side}_position_embeddings", "max_position_embeddings"
    return next((value for name in names if (value := getattr(config, name, None))), None)


def load_inputs(version: ModelVersion, config: Any) -> EncoderInputs:
    """The inputs of an encoder. Raises ModelUnusable."""
    tokenizer = _load_tokenizer(version)
    if not tokenizer.is_fast:
        raise unusable(version, "its tokenizer has no tokenizer.json", "Convert it with transformers")
    head, media = load_head(version, config), find_media(config)
    text = config.get_text_config()
    bounds = [head and head.max_tokens, _positions(text, "encoder"), tokenizer.model_max_length]
    tokenizer.model_max_length = int(1e30)
    kind = find_model_kind(version, config)
    limits = EncoderLimits(
        kind=kind,
        max_tokens=min((int(bound) for bound in bounds if bound), default=UNKNOWN_LENGTH),
        vocabulary=int(text.vocab_size),
        labels=_labels(config) if kind == "classify" else (),
        prompt=head.prompt if head else "",
        is_lower_case=bool(head and head.is_lower_case),
        media=media,
    )
    return EncoderInputs(version, tokenizer, limits)


def load_image_inputs(version: ModelVersion, config: Any) -> ImageInputs:
    """The inputs of a model that embeds or classifies images, and perhaps texts. Raises ModelUnusable."""
    texts = load_inputs(version, config) if find_media(config) != "images" else None
    kind = find_model_kind(version, config)
    labels = _labels(config) if kind == "classify" else ()
    limits = texts.limits if texts else EncoderLimits(kind, 0, 0, labels, media="images")
    return ImageInputs(version, _load_processor(version, "AutoImageProcessor"), limits, texts)


def _labels(config: Any) -> tuple[str, ...]:
    return tuple(config.id2label[i] for i in range(config.num_labels))


def _load_processor(version: ModelVersion, name: str) -> Any:
    """What makes tensors of images, of one of transformers' automatic classes. Pillow's, whatever else is installed, as
    the others give other numbers."""
    import transformers

    try:
        import PIL  # noqa: F401
    except ImportError:
        raise unusable(version, "it reads images, and Pillow is missing", 'pip install "sqlinfer[images]"') from None
    try:
        with quiet():
            return getattr(transformers, name).from_pretrained(version.path, backend="pil", **LOCAL)
    except Exception as error:
        problem = f"its image processor cannot be loaded ({first_line(error)})"
        raise unusable(
            version, problem, "Copy preprocessor_config.json or processor_config.json into the folder"
        ) from error


def _load_tokenizer(version: ModelVersion) -> Any:
    from transformers import AutoTokenizer

    try:
        with quiet():
            return AutoTokenizer.from_pretrained(version.path, **LOCAL)
    except Exception as error:
        problem = f"its tokenizer cannot be loaded ({first_line(error)})"
        copy = "Copy tokenizer.json and tokenizer_config.json into the folder"
        mend = "Install what is missing with pip" if isinstance(error, ImportError) else copy
        raise unusable(version, problem, mend) from error


def _load_generation(version: ModelVersion) -> dict[str, Any]:
    """The settings of generation_config.json, or of config.json, where older models have them."""
    from transformers import GenerationConfig

    name = "generation_config.json"
    if not (Path(version.path) / name).is_file():
        name = "config.json"
    try:
        with quiet():
            generation = GenerationConfig.from_pretrained(version.path, config_file_name=name, local_files_only=True)
    except (ValueError, TypeError, OSError) as error:
        problem = f"the generation settings in {name} cannot be read ({first_line(error)})"
        raise unusable(version, problem, "Fetch the file again") from error
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
    except Exception:  # noqa: BLE001 - a template may raise anything for a chat that it does not expect
        return []
    tail = tokenizer(rendered.rpartition(END_MARK)[2].lstrip(), add_special_tokens=False)["input_ids"]
    return [t for t in tail[:1] if t in tokenizer.all_special_ids or t in tokenizer.added_tokens_decoder]


def _max_tokens(config: Any, positions: int | None, max_length: int | None) -> int | None:
    """Tokens of a prompt: what the positions allow, else what the model was trained on, else None."""
    trained = max_length or getattr(config, "n_positions", None)
    if not config.is_encoder_decoder:
        return positions or trained
    bounds = [b for b in (_positions(config, "encoder"), trained) if b]
    return min(bounds, default=None)


def _decoder_start(version: ModelVersion, config: Any, generation: dict[str, Any]) -> tuple[int, ...]:
    for source in (generation.get("decoder_start_token_id"), getattr(config, "decoder_start_token_id", None)):
        if isinstance(source, int):
            return (source,)
    if isinstance(generation.get("bos_token_id"), int):
        return (generation["bos_token_id"],)
    raise unusable(version, "no decoder_start_token_id is set", "Add it to generation_config.json")
