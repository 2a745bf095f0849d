"""What one short text shows of a loaded model: how many positions its tables hold, and whether a pass changes it.

Names and attributes of configurations differ from model to model; what a model does with a text does not lie. Knows no
tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

NUM_TOKENS = 5


@dataclass(frozen=True, slots=True)
class PositionTable:
    """A table of learned or computed positions."""

    first: int
    """Its entry for a text's first token."""
    num_tokens: int
    """Tokens of the longest text."""


@dataclass(frozen=True, slots=True)
class ModelTraits:
    """What a short text has shown."""

    encoder: PositionTable | None
    """The positions of a text that is read; None if no table bounds them."""
    decoder: PositionTable | None
    """The positions of a text that is written; of a decoder-only model, its only ones."""
    changes_itself: bool
    """Whether a pass leaves the model other than it was, so that an answer would depend on the texts before."""


def sample_ids(config: Any, count: int) -> list[int]:
    """Token ids of a short text: ordinary tokens that do not ascend one by one."""
    ids = [getattr(config, f"{name}_token_id", None) for name in ("pad", "bos", "eos", "sep", "decoder_start")]
    special = {token for each in ids for token in (each if isinstance(each, list) else [each])}
    ordinary = [token for token in range(3, 3 + 2 * NUM_TOKENS + len(special)) if token not in special]
    return [ordinary[(2 * i) % NUM_TOKENS] for i in range(count)]


@torch.inference_mode()
def run_short_text(model: Any) -> None:
    """Run one text of a few tokens. Raises whatever the model does."""
    _run(model, lambda run: run())


@torch.inference_mode()
def probe_model(model: Any) -> ModelTraits:
    """Run one short text, and see. The model is afterwards as it was. Raises whatever the model does."""
    state = ModuleState(model)
    tables: list[PositionTable | None] = []

    def observe(run: Callable[[], Any]) -> Any:
        with _Embeddings() as embeddings:
            output = run()
        tables.append(embeddings.positions)
        return output

    _run(model, observe)
    changes_itself = state.has_changed
    if changes_itself:
        state.restore()
        part = model.get_encoder() if model.config.is_encoder_decoder else model
        part.register_forward_pre_hook(lambda *_: state.restore())
    return ModelTraits(tables[0], tables[-1], changes_itself)


def _run(model: Any, observe: Callable[[Callable[[], Any]], Any]) -> None:
    """Run a short text through a model, each of its parts under observation."""
    ids = torch.tensor([sample_ids(model.config, NUM_TOKENS)], device=model.device)
    if not model.config.is_encoder_decoder:
        observe(lambda: model(input_ids=ids))
        return
    encoded = observe(lambda: model.get_encoder()(input_ids=ids))
    observe(lambda: model(encoder_outputs=encoded, decoder_input_ids=ids))


class ModuleState:
    """What a model's modules are, apart from their tensors: their parts and their plain attributes."""

    def __init__(self, model: Any) -> None:
        self._saved = [(module, dict(module._modules), _plain(module)) for module in model.modules()]

    @property
    def has_changed(self) -> bool:
        """Whether a module has other parts or attributes than before."""
        return any(module._modules != parts or _plain(module) != plain for module, parts, plain in self._saved)

    def restore(self) -> None:
        """Give all modules the parts and attributes that they had."""
        for module, parts, plain in self._saved:
            module._modules.update(parts)
            module.__dict__.update(plain)


def _plain(module: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if isinstance(value, str | int | float | None)}


class _Embeddings(TorchFunctionMode):
    """Watches which entries of which tables are looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.positions: PositionTable | None = None
        """The smallest table of which a text's tokens took one entry after the other."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.embedding:
            self._look(*args[:2])
        return func(*args, **(kwargs or {}))

    def _look(self, indices: torch.Tensor, table: torch.Tensor) -> None:
        if indices.dim() == 0 or indices.shape[-1] < NUM_TOKENS:
            return
        first, *others = indices.reshape(-1, indices.shape[-1])[0, :NUM_TOKENS].tolist()
        if others == [first + 1 + i for i in range(NUM_TOKENS - 1)]:
            positions = PositionTable(first, len(table) - first)
            if self.positions is None or positions.num_tokens < self.positions.num_tokens:
                self.positions = positions
