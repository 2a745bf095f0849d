"""One request in flight: its token ids and how it ended; knows no torch."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable
from typing import Any

from sqlinfer.engine.generation_settings import GenerationSettings
from sqlinfer.engine.text_stream import TextStream
from sqlinfer.types import AnyRequest, Choose, Completion, FinishReason, Generate, Probabilities


class Sequence:
    """The token ids of one request, from its prompt to its last token."""

    def __init__(
        self,
        request: Generate | Choose,
        settings: GenerationSettings,
        prompt: list[int],
        decoder_prompt: list[int],
        truncated: bool = False,
    ) -> None:
        self.request = request
        self.settings = settings
        self.prompt = prompt
        """Token ids that the model reads; of an encoder-decoder model, the encoder."""
        self.decoder_prompt = decoder_prompt
        """Token ids that the output follows; of a decoder-only model the prompt itself."""
        self.truncated = truncated
        """Whether the request's text was cut to fit."""
        self.output: list[int] = []
        """Token ids generated so far."""
        self.finish_reason: FinishReason | None = None
        """None while the sequence waits or runs."""
        self.error: str | None = None
        self.is_retryable = False
        """Whether the error may be gone when the request is run again."""
        self.parent_slots = [0]
        """For each of its slots the one, among them, that it continues: beams fork and die."""
        self.num_uncomputed_tokens = 0
        """Tokens of the output that are not in the KV cache yet."""
        self.images: dict[str, Any] | None = None
        """The model's arguments for the images of the prompt, if it has some."""
        self.choice_trie: Any = None
        """Choices (choice_trie), if the request is scored."""
        self.constraint: Any = None
        """Constraint (grammar), if the answer must satisfy a schema."""
        self.answer: Probabilities | None = None
        """The answer of a scored request."""
        self.beams: Any = None
        """Beams (beam_search), while a beam search runs."""
        self.num_logprobs = request.num_logprobs if isinstance(request, Generate) else None
        """How many of the likeliest tokens are kept for each token; None if no probabilities are."""
        self.logprobs: list[tuple[float, list[tuple[int, float]]]] = []
        """For each token of the output but the one that ends it its log-probability, and the likeliest token ids with
        theirs."""
        self.stream: TextStream | None = None
        """Takes the answer while it is written."""
        self.processors: Any = None
        """List of LogitsProcessor, once the sequence runs."""
        self._draw_key = b""

    @property
    def is_finished(self) -> bool:
        return self.finish_reason is not None

    @property
    def num_slots(self) -> int:
        """Slots of the batch that this sequence takes: one, or one a beam."""
        return self.settings.num_beams

    @property
    def max_length(self) -> int:
        """Tokens of KV cache of one slot when the sequence is as long as it may become."""
        return len(self.prompt) + self.settings.max_tokens

    @property
    def token_ids(self) -> list[int]:
        """Token ids of the decoder so far: its prompt and the output."""
        return self.decoder_prompt + self.output

    @property
    def num_computed_tokens(self) -> int:
        """Tokens of a slot that are in the decoder's KV cache, once the last one was chosen."""
        if self.beams:
            return len(self.decoder_prompt) + len(self.beams.tokens[0]) - 1
        return len(self.decoder_prompt) + len(self.output) - self.num_uncomputed_tokens

    def take_input_ids(self, width: int) -> list[list[int]]:
        """The next input ids of the decoder for each slot: at most width tokens, which count as computed."""
        if self.beams:
            return [[tokens[-1]] for tokens in self.beams.tokens]
        first = len(self.output) - self.num_uncomputed_tokens
        ids = self.output[first : first + width]
        self.num_uncomputed_tokens -= len(ids)
        return [ids]

    def append(self, token: int) -> None:
        """Append a token, and those that the grammar forces after it, and finish if the answer is complete."""
        tokens = [token]
        is_end = token in self.settings.eos
        if self.constraint is not None:
            tokens += self.constraint.advance(token)
            is_end = is_end or self.constraint.is_complete
        self.output += tokens
        self.num_uncomputed_tokens += len(tokens)
        left = self.settings.max_tokens - len(self.output)
        if is_end and left >= 0:
            is_cut = self.constraint is not None and self.constraint.is_cut
            self.finish_reason = "length" if is_cut else "stop"
        elif left <= 0:
            self._run_out(left)

    def _run_out(self, left: int) -> None:
        self.finish_reason = "length"
        if self.constraint is not None and (left < 0 or not self.constraint.may_end):
            most = self.settings.max_tokens
            self.fail(f"the answer does not satisfy its schema within max_tokens, which is {most}; raise it")

    def finish_beam_search(self, output: list[int]) -> None:
        """Finish with this output, the best hypothesis."""
        self.output = output
        self.finish_reason = "stop" if output[-1] in self.settings.eos else "length"

    def fail(self, message: str, is_retryable: bool = False) -> None:
        """Finish without an answer."""
        self.error = message
        self.is_retryable = is_retryable
        self.finish_reason = "error"

    def is_cancelled(self) -> bool:
        """Whether nobody waits for the answer any more; the sequence is finished then."""
        if not self.is_finished and self.request.is_cancelled():
            self.finish_reason = "cancelled"
        return self.finish_reason == "cancelled"

    def restart(self) -> None:
        """Leave the batch unfinished: a decoder-only model will prefill the output too, others begin again."""
        if self.decoder_prompt is not self.prompt:
            self.beams = None
            self.output, self.logprobs = [], []
            self.parent_slots = [0]
            if self.constraint is not None:
                self.constraint.restart()

    def uniform_draw(self) -> float:
        """A uniform random number in [0, 1): a hash of seed, prompt and step, so that neighbours do not matter."""
        if not self._draw_key:
            seed = self.settings.seed.to_bytes(16, "little", signed=True)
            self._draw_key = hashlib.blake2b(seed + array("q", self.prompt).tobytes(), digest_size=16).digest()
        step = len(self.output).to_bytes(8, "little")
        return int.from_bytes(hashlib.blake2b(self._draw_key + step, digest_size=8).digest(), "little") / 2**64


def decode_width(rows: Iterable[Sequence], *, padded: bool) -> int:
    """How many tokens of each row a decode pass runs: most rows have one, more follow where a grammar forces tokens.

    padded: rows with fewer may be padded; then it is the most for which three in four positions hold tokens.
    """
    counts = [row.num_uncomputed_tokens or 1 for row in rows]
    if not padded:
        return min(counts)
    return max(w for w in {1, *counts} if 4 * sum(min(count, w) for count in counts) >= 3 * w * len(counts))


def failed(request: AnyRequest, message: str, prompt_tokens: int = 0) -> Completion:
    """The completion of a request that got no answer."""
    return Completion(request, prompt_tokens=prompt_tokens, finish_reason="error", error=message)
