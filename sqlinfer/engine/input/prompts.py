"""Requests to token ids and token ids to text: templates, prefixes and the model's context.

Needs a tokenizer and no weights. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Sequence as Series
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlinfer.engine.generation_settings import Defaults, GenerationSettings, constrained_settings
from sqlinfer.engine.input.choice_trie import Choices, build_choices, scored_settings
from sqlinfer.engine.input.grammar import Grammars
from sqlinfer.engine.input.text_splitter import places
from sqlinfer.engine.input.tokenizer import Tokenizer
from sqlinfer.engine.model.model_kind import unsupported_reason
from sqlinfer.engine.sequence import Sequence
from sqlinfer.types import (
    AnyRequest,
    Choose,
    Completion,
    Count,
    CountTokens,
    Cuts,
    Generate,
    ModelVersion,
    Output,
    SplitText,
    Text,
)

ANSWER = "Answer:"  # what stands before an answer where its tokens depend on that
Prompted = Generate | Choose | SplitText
"""Requests that are read with an instruction, a template and a prefix around their text."""

RENDER_ERRORS = (ValueError, TypeError, KeyError, OverflowError, RuntimeError)


@dataclass(frozen=True, slots=True)
class ContextLimits:
    """How much a model reads.

    tokens: of the prompt (and of the answer too, for a decoder-only model); None if the model sets no bound.
    vocabulary: token ids are below it. start: what an encoder-decoder model's decoder begins with.
    """

    tokens: int | None
    vocabulary: int
    start: tuple[int, ...] = ()


class PromptBuilder:
    """Renders and tokenises for one model."""

    def __init__(self, version: ModelVersion, tokenizer: Any, defaults: Defaults, context: ContextLimits) -> None:
        self.version = version
        self.defaults = defaults
        self.context = context
        is_chat = tokenizer.chat_template is not None and not defaults.is_encoder_decoder
        self._tokenizer = Tokenizer(tokenizer, is_chat)
        self._read_choices = lru_cache(maxsize=256)(self._tokenize_choices)
        self._grammars = Grammars(tokenizer, context.vocabulary, defaults.eos)

    def prepare(self, requests: Series[AnyRequest]) -> list[Sequence | Completion]:
        """A sequence for each request, or the completion of one that needs no model: counted, split or failed."""
        outcomes: list[Sequence | Completion] = []
        for request, prompt in zip(requests, self._encode_all(requests), strict=True):
            if isinstance(prompt, str):
                outcomes.append(failed(request, prompt))
            elif isinstance(request, CountTokens):
                outcomes.append(Completion(request, Count(len(prompt)), prompt_tokens=len(prompt)))
            elif isinstance(request, Prompted):
                outcomes.append(self._outcome(request, prompt))
            else:
                reason = unsupported_reason("generate", request)
                outcomes.append(failed(request, f"model {self.version} {reason}", len(prompt)))
        return outcomes

    def text(self, token_ids: list[int]) -> str:
        """What token ids say, special tokens left out."""
        return self._tokenizer.text(token_ids)

    def complete(self, sequence: Sequence) -> Completion:
        """The completion of a finished sequence; its text ends before the first stop text."""
        output: Output | None = sequence.answer
        reason = sequence.finish_reason or "error"
        if sequence.error is None and output is None:
            decode = self.text if sequence.constraint is None else sequence.constraint.text
            text = decode(sequence.output)
            stops = [text.find(stop) for stop in sequence.settings.stop if stop in text]
            if stops:
                text, reason = text[: min(stops)], "stop"
            output = Text(text)
        return Completion(
            sequence.request,
            output,
            prompt_tokens=len(sequence.prompt),
            completion_tokens=len(sequence.output),
            finish_reason=reason,
            truncated=sequence.truncated,
            error=sequence.error,
            is_retryable=sequence.is_retryable,
        )

    def count(self, requests: Series[AnyRequest]) -> list[int]:
        """Prompt tokens of each request; 0 for one that cannot be asked."""
        return [len(o.prompt) if isinstance(o, Sequence) else o.prompt_tokens for o in self.prepare(requests)]

    def render(self, request: AnyRequest, text: str) -> str:
        """The prompt as text: chat template, task prefix, or instruction and text."""
        if not isinstance(request, Prompted):
            return text
        prefix = self._task_prefix(request)
        if prefix is not None:
            return prefix + text
        message = message_of(request, text)
        return self._tokenizer.chat(message) if self._tokenizer.is_chat else message

    def _task_prefix(self, request: Prompted) -> str | None:
        """The prefix of a model trained for the task; None for a model that follows instructions."""
        if request.task == "generate" or not self.defaults.is_encoder_decoder:
            return None
        prefix = self.defaults.prefix(request.task)
        return "" if prefix is None and self.version.task == request.task else prefix

    def _encode_all(self, requests: Series[AnyRequest]) -> list[list[int] | str]:
        """Token ids, or why there are none. One call for the whole window; row by row only if that fails."""
        if self._tokenizer.is_chat and any(
            self._tokenizer.forges(message_of(r, r.text)) for r in requests if isinstance(r, Prompted)
        ):
            return [self._encode_one(r) for r in requests]
        try:
            rendered = [self.render(r, r.text) for r in requests]
            plain = [not isinstance(r, Prompted) for r in requests]
            encoded = self._tokenizer.ids([t for t, p in zip(rendered, plain, strict=True) if not p])
            counted = self._tokenizer.ids([t for t, p in zip(rendered, plain, strict=True) if p], as_text=True)
        except RENDER_ERRORS:
            return [self._encode_one(r) for r in requests]
        prompts, counts = iter(encoded), iter(counted)
        return [next(counts) if p else next(prompts) for p in plain]

    def _encode_one(self, request: AnyRequest) -> list[int] | str:
        try:
            return self._encode(request, request.text)
        except UnicodeEncodeError as error:
            where = f"U+{ord(error.object[error.start]):04X} at character {error.start} of the prompt"
            return f"the text is not valid Unicode: half of a surrogate pair, {where}"
        except RENDER_ERRORS as error:
            return f"the text could not be tokenised: {type(error).__name__}: {error}"

    def _encode(self, request: AnyRequest, text: str) -> list[int]:
        """Token ids of one request with this text."""
        rendered, ids = self.render(request, text), self._tokenizer.ids
        if not isinstance(request, Prompted):
            return ids([rendered], as_text=True)[0]
        message = message_of(request, text)
        if not self._tokenizer.is_chat or not self._tokenizer.forges(message):
            return ids([rendered])[0]
        if message not in rendered:
            message = message.strip()
        head, found, tail = rendered.rpartition(message)
        if not found:
            raise ValueError("the text spells special tokens, and the chat template changes the text")
        return ids([head])[0] + ids([message], as_text=True)[0] + ids([tail])[0]

    def _outcome(self, request: Prompted, prompt: list[int]) -> Sequence | Completion:
        """The sequence of a request, its text cut if it must and may be; or where to cut it, if that is asked."""
        try:
            settings = self.defaults.resolve(request.parameters.over(self.version.parameters), request.task)
            choices, constraint, begin = None, None, []
            if isinstance(request, Choose):
                choices = self._read_choices(request.choices, settings.model.get("forced_bos_token_id"))
                settings = scored_settings(settings, choices)
            elif request.schema:
                begin = [i for i in (settings.model.get("forced_bos_token_id"),) if i is not None]
                settings = constrained_settings(settings, request.parameters)
                constraint = self._grammars.constraint(request.schema, settings.max_tokens)
            truncated = False
            if isinstance(request, SplitText):
                cuts = self._places(request, prompt, settings) if self._excess(prompt, settings) > 0 else []
                return Completion(request, Cuts(cuts), prompt_tokens=len(prompt))
            if self._excess(prompt, settings) > 0:
                if request.overflow == "error":
                    raise ValueError(self._too_long(request, prompt, settings))
                prompt, truncated = self._cut(request, prompt, settings), True
            prompt = prompt or self._nothing()
            self._check_vocabulary(prompt)
        except RENDER_ERRORS as error:
            return failed(request, str(error), len(prompt))
        start = [*self.context.start, *begin] if self.defaults.is_encoder_decoder else prompt
        sequence = Sequence(request, settings, prompt, start, truncated)
        sequence.choices, sequence.constraint = choices, constraint
        return sequence

    def _tokenize_choices(self, names: tuple[str, ...], forced: int | None) -> Choices:
        """Choices as the model would write them. Raises ValueError for what cannot be told apart.

        A chat template and a decoder of its own end before the answer: it begins afresh. A plain prompt is continued
        by a word of its own, so that its tokens are those of a word after a space. forced: begins every answer.
        """
        begins_afresh = self._tokenizer.is_chat or self.defaults.is_encoder_decoder
        texts = names if begins_afresh else [ANSWER, *(f"{ANSWER} {name}" for name in names)]
        tokens = self._tokenizer.ids(list(texts), as_text=True)
        if not begins_afresh:
            before, *tokens = tokens
            tokens = [ids[len(before) :] for ids in tokens]
        start = () if forced is None else (forced,)
        return build_choices(names, tokens, start, has_end=bool(self.defaults.eos))

    def _room(self, settings: GenerationSettings) -> int | None:
        """Tokens that a prompt may have. Raises ValueError if the answer leaves none."""
        both = self.defaults.context  # of the decoder
        if both is not None and settings.max_tokens >= both:
            raise ValueError(
                f"max_tokens is {settings.max_tokens}, and model {self.version} holds {both} tokens; ask for fewer"
            )
        if self.context.tokens is None or self.defaults.is_encoder_decoder:
            return self.context.tokens
        return self.context.tokens - settings.max_tokens

    def _excess(self, prompt: list[int], settings: GenerationSettings) -> int:
        room = self._room(settings)
        return 0 if room is None else len(prompt) - room

    def _cut(self, request: Prompted, prompt: list[int], settings: GenerationSettings) -> list[int]:
        """The prompt with as much of the text as fits. Raises ValueError if not even no text fits."""
        text = request.text
        while (excess := self._excess(prompt, settings)) > 0:
            if not text:
                raise ValueError(self._too_long(request, prompt, settings))
            text = self._tokenizer.shorter(text, excess)
            prompt = self._encode(request, text)
        return prompt

    def _places(self, request: SplitText, prompt: list[int], settings: GenerationSettings) -> list[int]:
        """Where to cut the text of a request so that each part fits. Raises ValueError if not even no text fits."""
        room = -self._excess(self._encode(request, ""), settings)
        if room > 0:
            starts = self._tokenizer.starts(request.text)
            return places(request.text, starts, room, lambda part: self._excess(self._encode(request, part), settings))
        raise ValueError(self._too_long(request, prompt, settings))

    def _nothing(self) -> list[int]:
        """The prompt of an empty text: a token that begins a text, as the model must read something."""
        if self._tokenizer.start is None:
            raise ValueError("the text is empty, and the model has no token that begins a text; give an instruction")
        return [self._tokenizer.start]

    def _check_vocabulary(self, prompt: list[int]) -> None:
        if max(prompt) >= self.context.vocabulary:
            raise ValueError(
                f"the tokenizer of model {self.version} gives token {max(prompt)}, and the model knows "
                f"{self.context.vocabulary} tokens; tokenizer and weights do not belong together"
            )

    def _too_long(self, request: Prompted, prompt: list[int], settings: GenerationSettings) -> str:
        """Why a prompt does not fit: its tokens, the limit and what can be done."""
        bare = self._encode(request, "")
        if self._excess(bare, settings) > 0:
            what, remedy = f"instruction and template alone have {len(bare)}", "Shorten the instruction"
            if isinstance(request, Choose):
                remedy = "Shorten the instruction, which has all labels, or take a model that reads more"
        else:
            what = f"the prompt has {len(prompt)}"
            remedy = "Shorten the text, or let a function that has overflow := 'truncate' cut it"
        limit = max(self._room(settings) or 0, 0)
        if self.defaults.is_encoder_decoder:
            return f"{what} tokens, and model {self.version} reads {limit}. {remedy}."
        fewer = "" if isinstance(request, Choose) else ", or ask for fewer max_tokens"
        answer = f"{settings.max_tokens} for the answer"
        return f"{what} tokens, and model {self.version} reads {limit} besides {answer}. {remedy}{fewer}."


def message_of(request: Prompted, text: str) -> str:
    """What a request says with this text in it: the instruction, an empty line, the text."""
    return f"{request.instruction}\n\n{text}" if request.instruction else text


def failed(request: AnyRequest, message: str, prompt_tokens: int = 0) -> Completion:
    """The completion of a request that got no answer."""
    return Completion(request, prompt_tokens=prompt_tokens, finish_reason="error", error=message)
