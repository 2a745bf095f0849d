"""Models of images with seeded random weights and an image processor of their own, built without a download.

Their answers mean nothing; they are for tests and benchmarks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.random_models import SPECIAL, Size, build_tokenizer, randomise, seeded

LABELS = {0: "cat", 1: "dog", 2: "owl"}
IMAGE = "<image>"
PATCH = 8
CHAT_TEMPLATE = (
    "<s>{% for message in messages %}<|{{ message.role }}|>{% for part in message.content %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def build(shape: str, folder: Path | str, *, seed: int = 0, pixels: int = 32, size: Size | None = None) -> Path:
    """Write a model of this shape into folder, for images of so many pixels a side. Equal calls write equal files."""
    size, folder = size or Size(), Path(folder)
    with seeded(seed):
        model, processors = BUILDERS[shape](size, pixels)
        if shape != "resnet":  # whose layers are normalised as they come
            randomise(model, size)
    model.save_pretrained(folder)
    for processor in processors:
        processor.save_pretrained(folder)
    return folder


def _vision(size: Size, pixels: int) -> dict[str, Any]:
    return {
        "hidden_size": size.hidden,
        "intermediate_size": 2 * size.hidden,
        "num_hidden_layers": size.num_layers,
        "num_attention_heads": size.num_heads,
        "image_size": pixels,
        "patch_size": PATCH,
    }


def _vit(size: Size, pixels: int) -> tuple[Any, list[Any]]:
    from transformers import ViTConfig, ViTForImageClassification
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    config = ViTConfig(**_vision(size, pixels), id2label=LABELS, label2id={name: i for i, name in LABELS.items()})
    return ViTForImageClassification(config), [ViTImageProcessorPil(size={"height": pixels, "width": pixels})]


def _resnet(size: Size, pixels: int) -> tuple[Any, list[Any]]:
    from transformers import ResNetConfig, ResNetForImageClassification
    from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil

    config = ResNetConfig(
        embedding_size=size.hidden // 2,
        hidden_sizes=[size.hidden // 2, size.hidden],
        depths=[1, 1],
        layer_type="basic",
        id2label=LABELS,
        label2id={name: i for i, name in LABELS.items()},
    )
    return ResNetForImageClassification(config), [ConvNextImageProcessorPil(size={"shortest_edge": pixels})]


def _clip_processor(pixels: int) -> Any:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    return CLIPImageProcessorPil(size={"shortest_edge": pixels}, crop_size={"height": pixels, "width": pixels})


def _clip(size: Size, pixels: int) -> tuple[Any, list[Any]]:
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    text = CLIPTextConfig(
        hidden_size=size.hidden,
        intermediate_size=2 * size.hidden,
        num_hidden_layers=size.num_layers,
        num_attention_heads=size.num_heads,
        vocab_size=size.vocabulary,
        max_position_embeddings=size.positions,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    vision = CLIPVisionConfig(**_vision(size, pixels))
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=size.hidden // 2)
    return CLIPModel(config), [build_tokenizer("bart", size), _clip_processor(pixels)]


def _llava(size: Size, pixels: int) -> tuple[Any, list[Any]]:
    from transformers import (
        CLIPVisionConfig,
        GenerationConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    tokenizer = build_tokenizer("llama", size)
    tokenizer.add_special_tokens({"additional_special_tokens": [*SPECIAL[4:], IMAGE]})
    image_token = tokenizer.convert_tokens_to_ids(IMAGE)
    text = LlamaConfig(
        hidden_size=size.hidden,
        intermediate_size=3 * size.hidden,
        num_hidden_layers=size.num_layers,
        num_attention_heads=size.num_heads,
        num_key_value_heads=size.num_key_value_heads,
        vocab_size=max(size.vocabulary, image_token + 1),
        max_position_embeddings=size.positions,
        bos_token_id=1,
        eos_token_id=2,
    )
    vision = CLIPVisionConfig(**_vision(size, pixels))
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=image_token)
    model = LlavaForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        pad_token_id=0, bos_token_id=1, eos_token_id=[2, SPECIAL.index("<|end|>")]
    )
    processor = LlavaProcessor(
        _clip_processor(pixels),
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
        num_additional_image_tokens=1,
    )
    return model, [processor]


BUILDERS: dict[str, Callable[[Size, int], tuple[Any, list[Any]]]] = {
    "vit": _vit,
    "resnet": _resnet,
    "clip": _clip,
    "llava": _llava,
}
