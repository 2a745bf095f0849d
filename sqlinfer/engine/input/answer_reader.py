"""Token ids to completions: texts without thinking and stop texts, while they are written and at their end.

Knows no torch.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlinfer.engine.input.tokenizer import Tokenizer
from sqlinfer.engine.sequence import Sequence
from sqlinfer.engine.text_stream import CUT_CHARACTER, TextStream, token_logprobs
from sqlinfer.types import AnyRequest, Completion, FinishReason, Generate, Output, Text


class AnswerReader:
    """Reads the answers of one model.

    tokenizer: the model's.
    closing_tag: what ends the model's thinking before its answer to a request; "" if it answers at once.
    """

    def __init__(self, tokenizer: Tokenizer, closing_tag: Callable[[AnyRequest], str]) -> None:
        self._tokenizer = tokenizer
        self._closing_tag = closing_tag

    def decode(self, token_ids: list[int]) -> str:
        """The text of token ids, without special tokens, up to the last whole character."""
        return self._tokenizer.decode(token_ids).removesuffix(CUT_CHARACTER)

    def complete(self, sequence: Sequence) -> Completion:
        """The completion of a finished sequence; its text ends before the first stop text."""
        output: Output | None = sequence.answer
        reason, error = sequence.finish_reason or "error", sequence.error
        if error is None and output is None and reason != "cancelled":
            text, reason, error = self._read_text(sequence)
            output = None if error else Text(text)
        return Completion(
            sequence.request,
            output,
            prompt_tokens=len(sequence.prompt),
            completion_tokens=len(sequence.output),
            finish_reason=reason,
            truncated=sequence.truncated,
            logprobs=token_logprobs(self._tokenizer.decode, sequence.output, sequence.logprobs),
            error=error,
            is_retryable=sequence.is_retryable,
        )

    def stream(self, sequence: Sequence) -> TextStream | None:
        """What takes the answer of a sequence while it is written, if its request asks for it; an answer after the
        model's thinking comes as a whole."""
        request = sequence.request
        if not isinstance(request, Generate) or request.on_piece is None or self._closing_tag(request):
            return None
        constraint = sequence.constraint
        decode = self._tokenizer.decode if constraint is None else constraint.text
        return TextStream(decode, sequence.settings.stop, request.on_piece)

    def _read_text(self, sequence: Sequence) -> tuple[str, FinishReason, str | None]:
        """Text, finish reason and error of a finished sequence: the text follows the model's thinking, and ends before
        the first stop text after its min_tokens, with a whole character."""
        reason, settings, output = sequence.finish_reason or "error", sequence.settings, sequence.output
        if sequence.constraint is not None:
            return sequence.constraint.text(output), reason, None
        text, start = self.decode(output), len(self.decode(output[: settings.min_tokens]))
        if tag := self._closing_tag(sequence.request):
            answer = self._tokenizer.after(tag, output)
            if answer is None:
                problem = f"the model was still thinking when its {len(output)} tokens were used up"
                return "", reason, f"{problem}; ask for more max_tokens"
            answer = answer.lstrip()
            text, start = answer, max(0, start - (len(text) - len(answer)))
        stops = [position for stop in settings.stop if (position := text.find(stop, start)) >= 0]
        if stops:
            return text[: min(stops)], "stop", None
        return text, reason, None
