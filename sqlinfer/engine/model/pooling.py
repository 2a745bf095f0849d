"""The pooling head that turns hidden states into an embedding, read from the files of a sentence-transformers folder.

Without such files an encoder gets mean pooling, not normalised, and a decoder registered to embed its last token's
state. Knows no tokenizer, and no torch before it pools.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlinfer.engine.model.model_kind import MODULES, find_model_kind
from sqlinfer.engine.model.weights import unusable
from sqlinfer.errors import first_line
from sqlinfer.types import ModelVersion

if TYPE_CHECKING:
    import torch

MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
_OLD_NAMES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_MODULE_TYPES = ("Transformer", "Pooling", "Normalize", "Dense")


@dataclass(frozen=True, slots=True)
class PoolingHead:
    """How a model embeds.

    pooling: one mode, or several whose vectors are concatenated.
    layers: what follows, in order: the folder of a dense layer, or None to normalise.
    max_tokens: of a text; None if the folder sets no limit.
    is_lower_case: whether texts are turned to lower case.
    prompt: precedes each text.
    """

    pooling: tuple[str, ...] = ("mean",)
    layers: tuple[Path | None, ...] = ()
    max_tokens: int | None = None
    is_lower_case: bool = False
    prompt: str = ""

    def width(self, hidden: int) -> int:
        """Dimensions of an embedding, given those of a hidden state."""
        dense = [path for path in self.layers if path is not None]
        return int(_read(dense[-1] / "config.json")["out_features"]) if dense else hidden * len(self.pooling)


def load_head(version: ModelVersion, config: Any) -> PoolingHead | None:
    """The head of a model that embeds; None for others. Raises ModelUnusable."""
    if find_model_kind(version, config) != "embed":
        return None
    try:
        return read_head(version.path, config)
    except (ValueError, KeyError, OSError, TypeError) as error:
        problem = f"its pooling configuration cannot be read ({first_line(error)})"
        raise unusable(version, problem, "Copy the model's whole folder") from error


def read_head(folder: Path, config: Any) -> PoolingHead:
    """The pooling head in a model's folder. Raises ValueError for unknown modules, OSError, KeyError."""
    if not (folder / MODULES).is_file():
        causal = any(name.endswith("ForCausalLM") for name in config.architectures or [])
        return PoolingHead(("lasttoken",) if causal else ("mean",))
    modules = [(entry["type"].rpartition(".")[2], folder / entry["path"]) for entry in _read(folder / MODULES)]
    types = [name for name, _ in modules]
    if unknown := [name for name in types if name not in _MODULE_TYPES]:
        raise ValueError(f"{MODULES} names the unknown module {unknown[0]}. Known: {', '.join(_MODULE_TYPES)}")
    if types[:2] != ["Transformer", "Pooling"] or {"Transformer", "Pooling"} & set(types[2:]):
        raise ValueError(f"{MODULES} must name a Transformer and a Pooling, and then others; it names {types}")
    if modules[0][1] != folder:
        raise ValueError(f"{MODULES} puts the transformer into {modules[0][1].name}; its files must lie beside it")
    sentence = _read(folder / "sentence_bert_config.json", {})
    pooling = _read(modules[1][1] / "config.json")
    prompts = _read(folder / "config_sentence_transformers.json", {})
    prompt = (prompts.get("prompts") or {}).get(prompts.get("default_prompt_name"), "")
    if prompt and not pooling.get("include_prompt", True):
        raise ValueError(f"its pooling leaves out the prompt {prompt!r}, which is not supported")
    return PoolingHead(
        pooling=_modes(pooling),
        layers=tuple(path if name == "Dense" else None for name, path in modules[2:]),
        max_tokens=sentence.get("max_seq_length"),
        is_lower_case=bool(sentence.get("do_lower_case")),
        prompt=prompt,
    )


def feature_width(config: Any) -> int | None:
    """Dimensions of a model's embeddings of images; None if its configuration does not say."""
    parts = (
        (config, "projection_dim"),
        (getattr(config, "vision_config", None), "hidden_size"),
        (config, "hidden_size"),
    )
    width = next((value for part, name in parts if (value := getattr(part, name, None))), None)
    return width or next(iter(getattr(config, "hidden_sizes", [])[-1:]), None)


def load_layers(head: PoolingHead, device: torch.device) -> list[Any]:
    """The layers after the pooling, in float32, as callables on (rows, width). Raises ValueError, OSError, KeyError."""
    import torch

    def unit(vectors: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(vectors, dim=-1)

    return [unit if path is None else _dense(path).to(device, torch.float32).eval() for path in head.layers]


def pool(states: torch.Tensor, mask: torch.Tensor, modes: tuple[str, ...]) -> torch.Tensor:
    """(rows, width * modes) from states (rows, tokens, width) and mask (rows, tokens), padded on the right."""
    import torch

    return torch.cat([_pooled(states, mask, mode) for mode in modes], dim=-1)


def _pooled(states: torch.Tensor, mask: torch.Tensor, mode: str) -> torch.Tensor:
    import torch

    if mode == "cls":
        return states[:, 0]
    if mode == "lasttoken":
        return states[torch.arange(len(states), device=states.device), mask.sum(dim=1) - 1]
    weights = mask.unsqueeze(-1).to(states.dtype)  # (rows, tokens, 1)
    if mode == "max":
        return states.masked_fill(weights == 0, float("-inf")).amax(dim=1)
    if mode == "weightedmean":
        weights = weights * torch.arange(1, mask.shape[1] + 1, device=states.device, dtype=states.dtype)[None, :, None]
    total = weights.sum(dim=1)
    return (states * weights).sum(dim=1) / (total.sqrt() if mode == "mean_sqrt_len_tokens" else total)


def _modes(pooling: dict[str, Any]) -> tuple[str, ...]:
    names = pooling.get("pooling_mode")
    if names is None:
        names = [mode for key, mode in _OLD_NAMES.items() if pooling.get(key)] or ["mean"]
    modes = (names,) if isinstance(names, str) else tuple(names)
    if unknown := [mode for mode in modes if mode not in MODES]:
        raise ValueError(f"unknown pooling mode {unknown[0]!r}. Known: {', '.join(MODES)}")
    return modes


def _dense(path: Path) -> Any:
    """The dense layer of a folder: its size and activation in config.json, its weights in model.safetensors."""
    import torch
    from safetensors.torch import load_file

    config = _read(path / "config.json")
    name = str(config.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2]
    activation = getattr(torch.nn, name, None) if name in ("Tanh", "Identity", "ReLU", "GELU", "Sigmoid") else None
    if activation is None:
        raise ValueError(f"unknown activation {name} of its dense layer")
    linear = torch.nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
    layer = torch.nn.Sequential(linear, activation())
    linear.load_state_dict({k.removeprefix("linear."): v for k, v in load_file(path / "model.safetensors").items()})
    return layer


def _read(file: Path, default: Any = None) -> Any:
    if default is not None and not file.is_file():
        return default
    return json.loads(file.read_text(encoding="utf-8"))
