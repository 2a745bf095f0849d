"""What turns a model's states into an embedding, as the files of a sentence-transformers folder say it.

A plain encoder's folder says nothing: the mean over its tokens is taken, not normalised; a decoder's last token, if it
was registered to embed. Knows no tokenizer, and no torch before it pools.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlinfer.engine.model.model_kind import MODULES, find_model_kind
from sqlinfer.engine.model.weights import first_line, unusable
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
_KINDS = ("Transformer", "Pooling", "Normalize", "Dense")


@dataclass(frozen=True, slots=True)
class PoolingHead:
    """pooling: one mode, or several whose vectors are joined. layers: what follows, in order: the folder of a dense
    layer, or None to normalise. folder: of the transformer's own files. max_tokens: of a text, if the folder says.
    prompt: what stands before each text."""

    pooling: tuple[str, ...] = ("mean",)
    layers: tuple[Path | None, ...] = ()
    max_tokens: int | None = None
    is_lower_case: bool = False
    prompt: str = ""

    def width(self, hidden: int) -> int:
        """Numbers in an embedding, given those in a state of the model."""
        dense = [path for path in self.layers if path is not None]
        return int(_read(dense[-1] / "config.json")["out_features"]) if dense else hidden * len(self.pooling)


def load_head(version: ModelVersion, config: Any) -> PoolingHead | None:
    """How a model that embeds does it; None for another kind. Raises ModelUnusable."""
    if find_model_kind(version, config) != "embed":
        return None
    try:
        return read_head(version.path, config)
    except (ValueError, KeyError, OSError, TypeError) as error:
        what = f"how it pools cannot be read ({first_line(error)})"
        raise unusable(version, what, "Copy the model's whole folder") from error


def read_head(folder: Path, config: Any) -> PoolingHead:
    """The head of a model's folder. Raises ValueError for modules that are not known, OSError, KeyError."""
    if not (folder / MODULES).is_file():
        causal = any(name.endswith("ForCausalLM") for name in config.architectures or [])
        return PoolingHead(("lasttoken",) if causal else ("mean",))
    modules = [(each["type"].rpartition(".")[2], folder / each["path"]) for each in _read(folder / MODULES)]
    kinds = [kind for kind, _ in modules]
    if unknown := [kind for kind in kinds if kind not in _KINDS]:
        raise ValueError(f"{MODULES} names a module {unknown[0]}; {', '.join(_KINDS)} are known")
    if kinds[:2] != ["Transformer", "Pooling"] or {"Transformer", "Pooling"} & set(kinds[2:]):
        raise ValueError(f"{MODULES} must name a Transformer and a Pooling, and then others; it names {kinds}")
    if modules[0][1] != folder:
        raise ValueError(f"{MODULES} puts the transformer into {modules[0][1].name}; its files must lie beside it")
    sentence = _read(folder / "sentence_bert_config.json", {})
    pooling = _read(modules[1][1] / "config.json")
    prompts = _read(folder / "config_sentence_transformers.json", {})
    prompt = (prompts.get("prompts") or {}).get(prompts.get("default_prompt_name"), "")
    if prompt and not pooling.get("include_prompt", True):
        raise ValueError(f"its prompt {prompt!r} is to be left out of the pooling, which is not supported")
    return PoolingHead(
        pooling=_modes(pooling),
        layers=tuple(path if kind == "Dense" else None for kind, path in modules[2:]),
        max_tokens=sentence.get("max_seq_length"),
        is_lower_case=bool(sentence.get("do_lower_case")),
        prompt=prompt,
    )


def load_layers(head: PoolingHead, device: torch.device) -> list[Any]:
    """What follows the pooling, in float32, as callables on (rows, width). Raises ValueError, OSError, KeyError."""
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
    said = pooling.get("pooling_mode")
    if said is None:
        said = [mode for key, mode in _OLD_NAMES.items() if pooling.get(key)] or ["mean"]
    modes = (said,) if isinstance(said, str) else tuple(said)
    if unknown := [mode for mode in modes if mode not in MODES]:
        raise ValueError(f"its pooling {unknown[0]!r} is not known; {', '.join(MODES)} are")
    return modes


def _dense(path: Path) -> Any:
    """The dense layer of a folder: config.json says its size and activation, model.safetensors its weights."""
    import torch
    from safetensors.torch import load_file

    said = _read(path / "config.json")
    name = str(said.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2]
    activation = getattr(torch.nn, name, None) if name in ("Tanh", "Identity", "ReLU", "GELU", "Sigmoid") else None
    if activation is None:
        raise ValueError(f"the activation {name} of its dense layer is not known")
    linear = torch.nn.Linear(said["in_features"], said["out_features"], bias=said.get("bias", True))
    layer = torch.nn.Sequential(linear, activation())
    linear.load_state_dict({k.removeprefix("linear."): v for k, v in load_file(path / "model.safetensors").items()})
    return layer


def _read(file: Path, default: Any = None) -> Any:
    if default is not None and not file.is_file():
        return default
    return json.loads(file.read_text(encoding="utf-8"))
