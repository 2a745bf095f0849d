"""One request in flight: its token ids and how it ended; knows no torch."""

from __future__ import annotations

import hashlib
from array import array
from typing import TYPE_CHECKING, Any

from sqlinfer.types import FinishReason, Request

if TYPE_CHECKING:
    from sqlinfer.engine.settings import Settings


class Sequence:
    """The token ids of one request, from its prompt to its last token.

    prompt: ids that the model reads; for an encoder-decoder model the encoder's. start: ids that the decoder's
    output follows; for a decoder-only model the prompt itself. order: place in the stream of requests.
    """

    def __init__(
        self, request: Request, settings: Settings, prompt: list[int], start: list[int], truncated: bool = False
    ) -> None:
        self.request = request
        self.settings = settings
        self.prompt = prompt
        self.start = start
        self.truncated = truncated
        self.output: list[int] = []
        self.finish_reason: FinishReason | None = None
        self.error: str | None = None
        self.may_pass = False  # whether the error may be gone when the request is asked again
        self.sources = [0]  # the lines, of its own, that its lines continue after this step
        self.choices: Any = None  # choices.Choices, if the request is scored
        self.answer: str | None = None  # of a scored request
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
    def num_decoded(self) -> int:
        """Tokens of a line that are in the decoder's cache, once the last one was chosen."""
        return len(self.start) + len(self.beams.tokens[0] if self.beams else self.output) - 1

    @property
    def last_tokens(self) -> list[int]:
        """What each line feeds to the decoder next."""
        return [tokens[-1] for tokens in self.beams.tokens] if self.beams else [self.output[-1]]

    def append(self, token: int) -> None:
        """Take the next token and see whether it is the last."""
        self.output.append(token)
        if token in self.settings.eos:
            self.finish_reason = "stop"
        elif len(self.output) >= self.settings.max_tokens:
            self.finish_reason = "length"

    def finish(self, output: list[int]) -> None:
        """End with this output, the best of a beam search."""
        self.output = output
        self.finish_reason = "stop" if output[-1] in self.settings.eos else "length"

    def fail(self, message: str, may_pass: bool = False) -> None:
        """End without an answer."""
        self.error = message
        self.may_pass = may_pass
        self.finish_reason = "error"

    def restart(self) -> None:
        """Leave the batch unfinished; a decoder-only model goes on from its tokens, others begin again."""
        if self.start is not self.prompt:
            self.beams = None
            self.output = []
            self.sources = [0]

    def noise(self) -> float:
        """A number in [0, 1) that depends on the seed, the prompt and the step, and on nothing else."""
        if not self._noise:
            seed = self.settings.seed.to_bytes(16, "little", signed=True)
            self._noise = hashlib.blake2b(seed + array("q", self.prompt).tobytes(), digest_size=16).digest()
        step = len(self.output).to_bytes(8, "little")
        return int.from_bytes(hashlib.blake2b(self._noise + step, digest_size=8).digest(), "little") / 2**64
