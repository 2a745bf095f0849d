import json

from sqlinfer import Request


def ai_extract(text: str, fields: list[str]) -> Request:
    """Extract named fields from a text."""
    schema = {
        "type": "object",
        "properties": {field: {"type": ["string", "null"]} for field in fields},
        "required": fields,
        "additionalProperties": False,
    }
    return Request(
        text,
        instruction=f"Extract these fields from the following text as JSON: {', '.join(fields)}. "
        "A field that the text does not tell is null.",
        schema=json.dumps(schema),
    )
