"""The endpoint of embeddings."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from sqlinfer.serve.http.errors import ApiError
from sqlinfer.serve.http.fields import Read, integer, read_fields, text, texts
from sqlinfer.types import Completion, Embed, Embedding


def _encoding(value: Any) -> str:
    if value not in ("float", "base64"):
        raise ValueError('"float" or "base64"')
    return str(value)


_READERS: Mapping[str, Read] = {
    "model": text,
    "input": texts,
    "encoding_format": _encoding,
    "dimensions": integer(1, 2**31),
}


class EmbeddingsCall:
    """/v1/embeddings"""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.fields = read_fields(body, _READERS, ("model", "input"))
        self.requests = [Embed(each) for each in self.fields["input"]]

    def check_width(self, width: int | None) -> None:
        """Raise ApiError for dimensions other than those of the model."""
        if self.fields.get("dimensions", width) != width:
            wanted = self.fields["dimensions"]
            raise ApiError(
                400, f"dimensions is {wanted}, and those of {self.fields['model']} are {width}", "dimensions"
            )

    def answer(self, completions: Sequence[Completion]) -> Mapping[str, Any]:
        """The answer. completions: of the requests, in their order."""
        embeddings = [
            {"object": "embedding", "index": index, "embedding": self._written(completion.output)}
            for index, completion in enumerate(completions)
        ]
        num_tokens = sum(completion.prompt_tokens for completion in completions)
        usage = {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
        return {"object": "list", "data": embeddings, "model": self.fields["model"], "usage": usage}

    def _written(self, embedding: Any) -> str | list[float]:
        assert isinstance(embedding, Embedding)
        is_base64 = self.fields.get("encoding_format") == "base64"
        return b64encode(embedding.tobytes()).decode() if is_base64 else embedding.tolist()
