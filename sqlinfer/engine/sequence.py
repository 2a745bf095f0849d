"""One request in flight: its token ids and how it ended; knows no torch."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sqlinfer.types import Choose, FinishReason, Generate, Probabilities

if TYPE_CHECKING:
    from sqlinfer.engine.generation_settings import GenerationSettings


class Sequence:
    """The token ids of one request, from its prompt to its last token.

    prompt: ids that the model reads; for an encoder-decoder model the encoder's. start: ids that the decoder's
    output follows; for a decoder-only model the prompt itself. order: place in the stream of requests.
    """

    def __init__(
        self,
        request: Generate | Choose,
        settings: GenerationSettings,
        prompt: list[int],
        start: list[int],
        truncated: bool = False,
    ) -> None:
        self.request = request
        self.settings = settings
        self.prompt = prompt
        self.start = start
        self.truncated = truncated
        self.output: list[int] = []
        self.finish_reason: FinishReason | None = None
        self.error: str | None = None
        self.is_retryable = False  # whether the error may be gone when the request is asked again
        self.sources = [0]  # the lines, of its own, that its lines continue after this step
        self.num_uncomputed_tokens = 0  # tokens of the output that the decoder has not read yet
        self.choices: Any = None  # choices.Choices, if the request is scored
        self.constraint: Any = None  # grammar.Constraint, if the answer must satisfy a schema
        self.answer: Probabilities | None = None  # of a scored request
        self.beams: Any = None  # beam.Beams, while a beam search runs
        self.processors: Any = None  # list of LogitsProcessor, once the sequence runs
        self._noise = b""

    @property
    def is_finished(self) -> bool:
        return self.finish_reason is not None

    @property
    def num_lines(self) -> int:
        """Rows of the model's batch that this sequence fills: one, or one a beam."""
        return self.settings.num_beams

    @property
    def max_length(self) -> int:
        """Cache slots of one line when the sequence is as long as it may become."""
        return len(self.prompt) + self.settings.max_tokens

    @property
    def history(self) -> list[int]:
        """What the decoder has read and written so far."""
        return self.start + self.output

    @property
    def num_computed_tokens(self) -> int:
        """Tokens of a line that are in the decoder's cache, once the last one was chosen."""
        if self.beams:
            return len(self.start) + len(self.beams.tokens[0]) - 1
        return len(self.start) + len(self.output) - self.num_uncomputed_tokens

    def feeds(self, width: int) -> list[list[int]]:
        """What each line feeds to the decoder next: at most width tokens; they count as read."""
        if self.beams:
            return [[tokens[-1]] for tokens in self.beams.tokens]
        first = len(self.output) - self.num_uncomputed_tokens
        feed = self.output[first : first + width]
        self.num_uncomputed_tokens -= len(feed)
        return [feed]

    def append(self, token: int) -> None:
        """Take the next token, and those that must follow it, and see whether the last is there."""
        tokens = [token]
        is_end = token in self.settings.eos
        if self.constraint is not None:
            tokens += self.constraint.advance(token)
            is_end = is_end or self.constraint.is_complete
        self.output += tokens
        self.num_uncomputed_tokens += len(tokens)
        room = self.settings.max_tokens - len(self.output)
        if is_end and room >= 0:
            is_cut = self.constraint is not None and self.constraint.is_cut
            self.finish_reason = "length" if is_cut else "stop"
        elif room <= 0:
            self._run_out(room)

    def _run_out(self, room: int) -> None:
        self.finish_reason = "length"
        if self.constraint is not None and (room < 0 or not self.constraint.may_end):
            most = self.settings.max_tokens
            self.fail(f"the answer does not satisfy its schema within max_tokens, which is {most}; ask for more")

    def finish(self, output: list[int]) -> None:
        """End with this output, the best of a beam search."""
        self.output = output
        self.finish_reason = "stop" if output[-1] in self.settings.eos else "length"

    def fail(self, message: str, is_retryable: bool = False) -> None:
        """End without an answer."""
        self.error = message
        self.is_retryable = is_retryable
        self.finish_reason = "error"

    def restart(self) -> None:
        """Leave the batch unfinished; a decoder-only model goes on from its tokens, others begin again."""
        if self.start is not self.prompt:
            self.beams = None
            self.output = []
            self.sources = [0]
            if self.constraint is not None:
                self.constraint.restart()

    def noise(self) -> float:
        """A number in [0, 1) that depends on the seed, the prompt and the step, and on nothing else."""
        if not self._noise:
            seed = self.settings.seed.to_bytes(16, "little", signed=True)
            self._noise = hashlib.blake2b(seed + array("q", self.prompt).tobytes(), digest_size=16).digest()
        step = len(self.output).to_bytes(8, "little")
        return int.from_bytes(hashlib.blake2b(self._noise + step, digest_size=8).digest(), "little") / 2**64


def feed_width(rows: Iterable[Sequence], *, padded: bool) -> int:
    """How many tokens each row feeds to the decoder: most have one, more follow where a grammar leaves no choice.

    padded: rows with fewer may be padded; then it is the most for which three in four of the fed tokens are tokens.
    """
    unread = [row.num_uncomputed_tokens or 1 for row in rows]
    if not padded:
        return min(unread)
    return max(w for w in {1, *unread} if 4 * sum(min(one, w) for one in unread) >= 3 * w * len(unread))
