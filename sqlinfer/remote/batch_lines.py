"""The lines of OpenAI's batch files, as `vllm run-batch` has them too: requests out, answers in. Knows no network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlinfer.config.remote_source import RemoteSource, is_remote, presets, read_remote_source
from sqlinfer.errors import EXCERPT
from sqlinfer.remote import chat, embeddings
from sqlinfer.remote.abilities import abilities_of
from sqlinfer.remote.conversation import read_output
from sqlinfer.remote.spending import Spending
from sqlinfer.types import AnyRequest, Choose, Completion, Embed, Embedding, Generate, ModelVersion


def request_line(version: ModelVersion, request: AnyRequest) -> dict[str, Any]:
    """The line of a request. Raises ValueError, with the reason, for one that no batch file can have."""
    source = _source_of(version)
    if request.files:
        raise ValueError("a batch file has no images")
    if isinstance(request, Embed):
        return _line(request, embeddings.PATH, {"model": source.model, "input": [request.text]})
    if not isinstance(request, Generate | Choose) or (isinstance(request, Generate) and request.is_prompt):
        raise ValueError("a batch file has chats and texts to embed, and no other requests")
    if problem := chat.unsupported_parameter(source, request):
        raise ValueError(problem)
    abilities = abilities_of(source)
    is_constrained = abilities.takes("response_format", chat.schema_of(request))
    messages = [*chat.earlier_turns(request), chat.first_message(request, request.text, is_constrained)]
    return _line(request, chat.PATH, chat.chat_body(source, request, messages, abilities))


def read_answer_line(request: AnyRequest, line: Mapping[str, Any]) -> Completion:
    """The completion that a line of an answers file is, checked as a live answer is."""
    response = line.get("response")
    content = response.get("body") if isinstance(response, dict) else None
    status = response.get("status_code", 200) if isinstance(response, dict) else 0
    problem = line.get("error") or (content.get("error") if isinstance(content, dict) else None)
    if problem or status != 200 or not isinstance(content, dict):
        return _failed(request, _message(problem or content or f"status {status}, and no answer"))
    used = Spending(None, lambda _: 0)
    used.add(content, "", "")
    tokens = used.prompt_tokens, used.completion_tokens
    if isinstance(request, Embed):
        vectors = embeddings.read_vectors(content, 1)
        if vectors is None:
            return _failed(request, "the answer has no vector of numbers")
        return Completion(request, Embedding(vectors[0]), *tokens)
    if not isinstance(request, Generate | Choose):
        raise ValueError(f"{type(request).__name__} is no request of a batch file")
    try:
        answer = chat.read_answer(content)
        output = read_output(request, answer)
    except (chat.BadAnswer, ValueError) as error:
        return _failed(request, str(error))
    return Completion(request, output, *tokens, finish_reason=answer.finish_reason)


def _source_of(version: ModelVersion) -> RemoteSource:
    """Where a model lies; a local one is taken for what a vLLM started with the same source serves."""
    if is_remote(version.source):
        return read_remote_source(version.source)
    vllm = presets()["vllm"]
    return RemoteSource(vllm, vllm.url, version.source)


def _line(request: AnyRequest, path: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"custom_id": request.key.hex(), "method": "POST", "url": f"/v1/{path}", "body": body}


def _failed(request: AnyRequest, problem: str) -> Completion:
    return Completion(request, error=problem, finish_reason="error")


def _message(problem: Any) -> str:
    """The message of an error object, at any depth that servers have it."""
    while isinstance(problem, dict):
        problem = problem.get("message") or problem.get("error") or str(problem)
    return str(problem)[:EXCERPT]
