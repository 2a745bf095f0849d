"""Requests to prompts: chat templates, task prefixes and the model's context length.

Needs a tokenizer and no weights. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Sequence as Series
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlinfer.engine.generation_settings import Defaults, GenerationSettings, check_logprobs, constrained_settings
from sqlinfer.engine.input.answer_reader import AnswerReader
from sqlinfer.engine.input.chat_template import Chat, ChatTemplate
from sqlinfer.engine.input.choice_trie import ChoiceTrie, build_choice_trie, scored_settings
from sqlinfer.engine.input.grammar import Grammars
from sqlinfer.engine.input.tokenizer import Tokenizer
from sqlinfer.engine.input.translation import has_language_codes, translation_prefix
from sqlinfer.engine.model.model_kind import Media, unsupported_reason
from sqlinfer.engine.sequence import Sequence, failed
from sqlinfer.errors import first_line
from sqlinfer.text_splitter import split_points
from sqlinfer.types import (
    AnyRequest,
    Choose,
    Completion,
    Count,
    CountTokens,
    Cuts,
    Generate,
    ModelVersion,
    SplitText,
)

LONG_TOKEN = 32  # characters; a text of more than that for each token of the context is looked at in part
if TYPE_CHECKING:
    from sqlinfer.engine.model.probe import PositionTable

ANSWER = "Answer:"  # precedes a label where its tokens depend on the text before
Prompted = Generate | Choose | SplitText
"""Requests whose text has an instruction, a chat template or a task prefix around it."""


@dataclass(frozen=True, slots=True)
class ContextLimits:
    """The limits of a model's context.

    max_tokens: of the prompt, and the answer with it for a decoder-only model; None for no limit.
    vocabulary: token ids are below it.
    decoder_start: token ids with which an encoder-decoder model's decoder begins.
    """

    max_tokens: int | None
    vocabulary: int
    decoder_start: tuple[int, ...] = ()


class PromptBuilder:
    """Renders and tokenises the prompts of one model.

    version: the model.
    defaults: its generation settings.
    context: its limits.
    """

    media: Media = "texts"
    """What the model reads."""

    def __init__(self, version: ModelVersion, tokenizer: Any, defaults: Defaults, context: ContextLimits) -> None:
        self.version = version
        self.defaults = defaults
        self.context = context
        is_chat = tokenizer.chat_template is not None and not defaults.is_encoder_decoder
        self._has_language_codes = has_language_codes(tokenizer)
        self._tokenizer = Tokenizer(tokenizer, is_chat, is_in_parts=self.media != "texts")
        self._template = ChatTemplate(self._tokenizer) if is_chat else None
        self._answers = AnswerReader(self._tokenizer, self._closing_tag)
        self._choice_trie = lru_cache(maxsize=256)(self._build_choice_trie)
        self._grammars = Grammars(tokenizer, context.vocabulary, defaults.eos)

    def prepare(self, requests: Series[AnyRequest]) -> list[Sequence | Completion]:
        """A sequence for each request, or the completion of one that needs no model: counted, split or failed."""
        prepared: list[Sequence | Completion] = []
        for request, prompt in zip(requests, self._encode_all(requests), strict=True):
            if reason := unsupported_reason("generate", self.media, request):
                prepared.append(failed(request, f"model {self.version} {reason}"))
            elif isinstance(prompt, str):
                prepared.append(failed(request, prompt))
            elif isinstance(request, CountTokens):
                prepared.append(Completion(request, Count(len(prompt)), prompt_tokens=len(prompt)))
            elif isinstance(request, Prompted):
                prepared.append(self._prepare_one(request, prompt))
        return prepared

    def fit(self, encoder: PositionTable | None, decoder: PositionTable | None) -> bool:
        """Bound prompts and answers by the model's tables of positions, where it has any; whether that changes a bound.

        encoder: of a decoder-only model the same as decoder.
        """
        before = self.context.max_tokens, self.defaults.context
        if encoder is not None:
            most = min(self.context.max_tokens or encoder.num_tokens, encoder.num_tokens)
            self.context = replace(self.context, max_tokens=most)
        if decoder is not None:
            self.defaults.context = min(self.defaults.context or decoder.num_tokens, decoder.num_tokens)
        return before != (self.context.max_tokens, self.defaults.context)

    def decode(self, token_ids: list[int]) -> str:
        """The text of token ids, without special tokens, up to the last whole character."""
        return self._answers.decode(token_ids)

    def complete(self, sequence: Sequence) -> Completion:
        """The completion of a finished sequence; its text ends before the first stop text."""
        return self._answers.complete(sequence)

    def _closing_tag(self, request: AnyRequest) -> str:
        """What ends the model's thinking before its answer; "" if it answers at once."""
        return "" if self._template is None or is_whole_prompt(request) else self._template.closing_tag

    def count(self, requests: Series[AnyRequest]) -> list[int]:
        """Prompt tokens of each request; 0 for one that fails."""
        return [len(p.prompt) if isinstance(p, Sequence) else p.prompt_tokens for p in self.prepare(requests)]

    def render(self, request: AnyRequest, text: str) -> str:
        """The prompt as text: chat template, task prefix, or instruction and text."""
        if not isinstance(request, Prompted):
            return text
        prefix = self._task_prefix(request)
        if prefix is not None:
            return prefix + text
        chat = chat_of(request, text)
        if self._template is None:
            return "\n\n".join(content for _, content in chat)
        return self._template.render(chat) + self._suffix(request)

    def _suffix(self, request: Prompted) -> str:
        """What follows a chat: the end of the model's thinking, where the answer leaves no room for it."""
        has_no_room = isinstance(request, Choose) or request.schema
        tag = self._closing_tag(request) if has_no_room else ""
        return f"\n{tag}\n\n" if tag else ""

    def _task_prefix(self, request: Prompted) -> str | None:
        """The prefix of a model trained for the task; None for a model that follows instructions."""
        if is_whole_prompt(request):
            return ""
        if not self.defaults.is_encoder_decoder:
            return None
        if isinstance(request, Generate) and request.languages:
            return translation_prefix(self.version, self.defaults, request.languages, self._has_language_codes)
        if request.task == "generate":
            return None
        prefix = self.defaults.prefix(request.task)
        return "" if prefix is None and self.version.task == request.task else prefix

    def _encode_all(self, requests: Series[AnyRequest]) -> list[list[int] | str]:
        """Token ids, or why there are none. Few tokenizer calls for all requests; row by row only if that fails."""
        try:
            return list(self._encode(requests, [self._leading(request) for request in requests]))
        except Exception:  # noqa: BLE001 - templates and tokenizers raise errors of any kind
            return [self._encode_one(request) for request in requests]

    def _encode_one(self, request: AnyRequest) -> list[int] | str:
        try:
            return self._encode([request], [self._leading(request)])[0]
        except UnicodeEncodeError as error:
            where = f"U+{ord(error.object[error.start]):04X} at character {error.start} of the prompt"
            return f"the text is not valid Unicode: half of a surrogate pair, {where}"
        except Exception as error:  # noqa: BLE001 - of its chat template or its tokenizer
            return f"the text could not be made a prompt: {type(error).__name__}: {first_line(error)}"

    def _leading(self, request: AnyRequest) -> str:
        """The text of a request, or enough of its beginning to exceed the context: a cell may hold megabytes."""
        limit, text = self.context.max_tokens or 0, request.text
        size = len(text) if isinstance(request, CountTokens) else limit * LONG_TOKEN
        while 0 < size < len(text):
            if len(self._tokenizer.encode([text[:size]], as_plain_text=True)[0]) > limit:
                return text[:size]
            size *= 2
        return text

    def _encode(self, requests: Series[AnyRequest], texts: Series[str]) -> list[list[int]]:
        """Token ids of requests with these texts."""
        pairs = list(zip(requests, texts, strict=True))
        bare = [text for request, text in pairs if not isinstance(request, Prompted)]
        bare_ids = iter(self._tokenizer.encode(bare, as_plain_text=True))
        prompts = iter(self._encode_prompts([(r, text) for r, text in pairs if isinstance(r, Prompted)]))
        return [next(prompts) if isinstance(request, Prompted) else next(bare_ids) for request in requests]

    def _encode_prompts(self, pairs: Series[tuple[Prompted, str]]) -> list[list[int]]:
        if self._template is None:
            return self._tokenizer.encode([self.render(request, text) for request, text in pairs])
        prompts = iter(self._tokenizer.encode_prompts([text for request, text in pairs if is_whole_prompt(request)]))
        chats = [(request, chat_of(request, text)) for request, text in pairs if not is_whole_prompt(request)]
        encoded = iter(self._template.encode([chat for _, chat in chats], [self._suffix(each) for each, _ in chats]))
        return [next(prompts if is_whole_prompt(request) else encoded) for request, _ in pairs]

    def _prepare_one(self, request: Prompted, prompt: list[int]) -> Sequence | Completion:
        """The sequence of a request, its text truncated if it must and may be; or the completion of a SplitText."""
        try:
            settings = self.defaults.resolve(request.parameters.over(self.version.parameters), request.task)
            trie, constraint, begin = None, None, []
            if isinstance(request, Choose):
                trie = self._choice_trie(request.choices, settings.model.get("forced_bos_token_id"))
                settings = scored_settings(settings, trie)
            elif request.schema:
                begin = [i for i in (settings.model.get("forced_bos_token_id"),) if i is not None]
                settings = constrained_settings(settings, request.parameters)
                constraint = self._grammars.constraint(request.schema, settings.max_tokens)
            check_logprobs(request, settings)
            truncated = False
            if isinstance(request, SplitText):
                cuts = self._split_points(request, prompt, settings) if self._excess(prompt, settings) > 0 else []
                return Completion(request, Cuts(cuts), prompt_tokens=len(prompt))
            if self._excess(prompt, settings) > 0:
                if request.overflow == "error":
                    raise ValueError(self._too_long(request, prompt, settings))
                prompt, truncated = self._truncate(request, prompt, settings), True
            prompt = prompt or self._empty_prompt()
            self._check_vocabulary(prompt)
        except Exception as error:  # noqa: BLE001 - of its settings, its schema, its chat template
            return failed(request, str(error) or type(error).__name__, len(prompt))
        start = [*self.context.decoder_start, *begin] if self.defaults.is_encoder_decoder else prompt
        sequence = Sequence(request, settings, prompt, start, truncated)
        sequence.choice_trie, sequence.constraint = trie, constraint
        sequence.stream = self._answers.stream(sequence)
        return sequence

    def _build_choice_trie(self, labels: tuple[str, ...], forced: int | None) -> ChoiceTrie:
        """The trie of labels in the tokens that the model would write. Raises ValueError.

        After a chat template and in a decoder an answer starts a text. After a plain prompt it continues one, so that
        its tokens are those of a word after a space. forced: the token that begins every answer.
        """
        starts_text = self._tokenizer.is_chat or self.defaults.is_encoder_decoder
        texts = labels if starts_text else [ANSWER, *(f"{ANSWER} {label}" for label in labels)]
        tokens = self._tokenizer.encode(list(texts), as_plain_text=True)
        if not starts_text:
            before, *tokens = tokens
            tokens = [ids[len(before) :] for ids in tokens]
        start = () if forced is None else (forced,)
        return build_choice_trie(labels, tokens, start, has_end=bool(self.defaults.eos))

    def _max_prompt_tokens(self, settings: GenerationSettings) -> int | None:
        """Tokens that a prompt may have; None for no limit. Raises ValueError if the answer leaves none."""
        context = self.defaults.context  # of the decoder
        if context is not None and settings.max_tokens >= context:
            raise ValueError(
                f"max_tokens is {settings.max_tokens}, and the context of model {self.version} is {context} tokens; "
                "lower max_tokens"
            )
        if self.context.max_tokens is None or self.defaults.is_encoder_decoder:
            return self.context.max_tokens
        return self.context.max_tokens - settings.max_tokens

    def _excess(self, prompt: list[int], settings: GenerationSettings) -> int:
        limit = self._max_prompt_tokens(settings)
        return 0 if limit is None else len(prompt) - limit

    def _truncate(self, request: Prompted, prompt: list[int], settings: GenerationSettings) -> list[int]:
        """The prompt with as much of the text as fits. Raises ValueError if even an empty text does not."""
        text = self._leading(request)
        while (excess := self._excess(prompt, settings)) > 0:
            if not text:
                raise ValueError(self._too_long(request, prompt, settings))
            text = self._tokenizer.truncate(text, excess)
            prompt = self._encode([request], [text])[0]
        return prompt

    def _split_points(self, request: SplitText, prompt: list[int], settings: GenerationSettings) -> list[int]:
        """Where to split the text of a request so that each part fits. Raises ValueError if even an empty text does
        not."""

        def excess(part: str) -> int:
            return self._excess(self._encode([request], [part])[0], settings)

        max_tokens = -excess("")
        if max_tokens <= 0:
            raise ValueError(self._too_long(request, prompt, settings))
        return split_points(request.text, self._tokenizer.token_starts(request.text), max_tokens, excess)

    def _empty_prompt(self) -> list[int]:
        """The prompt of an empty text: one token that begins a text, as the model needs some input."""
        if self._tokenizer.begin_token is None:
            raise ValueError("the text is empty, and the model has no token that begins a text; give an instruction")
        return [self._tokenizer.begin_token]

    def _check_vocabulary(self, prompt: list[int]) -> None:
        if max(prompt) >= self.context.vocabulary:
            raise ValueError(
                f"the tokenizer of model {self.version} gives token {max(prompt)}, and the model has "
                f"{self.context.vocabulary} tokens; tokenizer and weights do not match"
            )

    def _too_long(self, request: Prompted, prompt: list[int], settings: GenerationSettings) -> str:
        """Why a prompt does not fit: its tokens, the limit and what can be done."""
        without_text = self._encode([request], [""])[0]
        if self._excess(without_text, settings) > 0:
            subject, remedy = f"instruction and template alone have {len(without_text)}", "Shorten the instruction"
            if isinstance(request, Choose):
                remedy = "Shorten the instruction, which has all labels, or take a model that reads more"
        else:
            is_cut = len(self._leading(request)) < len(request.text)
            subject = f"the prompt has {'more than ' if is_cut else ''}{len(prompt)}"
            remedy = "Shorten the text, or let a function that has overflow := 'truncate' cut it"
        limit = max(self._max_prompt_tokens(settings) or 0, 0)
        if self.defaults.is_encoder_decoder:
            return f"{subject} tokens, and model {self.version} reads {limit}. {remedy}."
        fewer = "" if isinstance(request, Choose) else ", or lower max_tokens"
        answer = f"{settings.max_tokens} for the answer"
        return f"{subject} tokens, and model {self.version} reads {limit} besides {answer}. {remedy}{fewer}."


def chat_of(request: Prompted, text: str) -> Chat:
    """The messages of a request with this text: the turns before it, and the user's."""
    return [*(request.turns if isinstance(request, Generate) else ()), ("user", message_of(request, text))]


def message_of(request: Prompted, text: str) -> str:
    """The user's message of a request with this text: the instruction, an empty line, the text."""
    return f"{request.instruction}\n\n{text}" if request.instruction else text


def is_whole_prompt(request: AnyRequest) -> bool:
    """Whether the text of a request is all that the model reads."""
    return isinstance(request, Generate) and request.is_prompt
