"""The protocol of a running batch: what the generation loop and the choice scorer ask of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from sqlinfer.engine.sequence import Sequence

if TYPE_CHECKING:
    import torch


class Batch(Protocol):
    """The sequences that share forward passes, with their KV cache. It turns token ids into logits and samples nothing.

    Four classes implement it: PackedDecoderBatch (decoder-only, on the CPU: no padding), PagedDecoderBatch
    (decoder-only, on a GPU: no padding, paged KV cache), PaddedDecoderBatch (any other decoder-only model or device)
    and PaddedSeq2SeqBatch (encoder-decoder). Encoders keep no cache and have a loop of their own, encoder.EncoderLoop.

    A sequence takes one slot of the batch, or one a beam; slots are numbered in the order of rows.
    """

    model: Any
    """The transformers model."""
    rows: list[Sequence]
    """The sequences in the batch; those of the last prefill come last."""
    can_merge: bool
    """Whether sequences may join a running batch (continuous batching), and their caches be repeated."""
    is_packed: bool
    """Whether tokens are packed, so that no pass is spent on padding."""

    def prefill(self, rows: list[Sequence]) -> torch.Tensor:
        """Add sequences and run their prompts. Returns the logits (slots, vocab) after each of them."""
        ...

    def decode(self) -> torch.Tensor:
        """Run the tokens that the sequences have got since. Returns the logits (slots, vocab) of the next token."""
        ...

    def score_suffixes(self, slots: list[int], suffixes: list[list[int]]) -> torch.Tensor:
        """Logits (suffixes, longest suffix, vocab) after each token of suffixes that continue slots of the last
        prefill; the batch stays as it is."""
        ...

    def retain(self, rows: list[Sequence], slots: list[int]) -> None:
        """Drop all sequences but these. slots: the present slots that theirs continue, repeated where beams fork."""
        ...

    def clear(self) -> None:
        """Drop all sequences and their memory."""
        ...
