import json
from typing import Any

from sqlinfer import AnyValue, Parameters, Request, SqlinferError, Steps, answer_type
from sqlinfer.functions.call_options import read_parameters
from sqlinfer.types import Columns


def ai_query(
    model: str,
    request: Columns,
    returnType: str = "",
    failOnError: bool = True,
    modelParameters: dict[str, Any] | None = None,
    responseFormat: str = "",
    files: list[AnyValue] | None = None,
    reorder: bool = False,
) -> Steps[Any]:
    """Answer a request with a model named by its registered name, hub id or folder.

    returnType: a SQL type or a JSON schema that the answer is held to. responseFormat: the same as Databricks has it;
    the value of a JSON schema is text. failOnError := false: the value is STRUCT(response, errorMessage), and a failed
    row has a message in place of a response. modelParameters: a STRUCT of max_tokens, temperature and the like.
    files: an image, or a list of images, as BLOBs, for a model that reads images; NULL for none.
    reorder := true: request is a struct of columns, {'body': body, 'product': product}. It is asked as a JSON object
    whose columns stand in the order in which most prompts begin alike, as a shared prefix is read once: the column
    with the fewest distinct values comes first. The first statement that asks such columns chooses their order, once it
    knows all its questions; the order is kept with the answers and holds from then on, so that more rows do not ask the
    old ones again. On plain connections the first chunk of rows chooses.
    """
    if reorder and not request.startswith("{"):
        raise SqlinferError("reorder needs a struct of columns, as in ai_query('m', {'body': body}, reorder := true)")
    try:
        schema, is_typed = _held_to(returnType, responseFormat)
        parameters, images = _parameters(modelParameters), _images(files or [])
        answer = yield Request(request, schema=schema, parameters=parameters, reorder=reorder, files=images)
        value = json.loads(answer) if is_typed else answer
    except (SqlinferError, ValueError) as error:
        if failOnError:
            raise
        return {"response": None, "errorMessage": str(error)}
    return value if failOnError else {"response": value, "errorMessage": None}


def returns(returnType: str = "", failOnError: bool = True, responseFormat: str = "") -> str:
    _, is_typed = _held_to(returnType, responseFormat)
    sql_type = answer_type(returnType or responseFormat).sql if is_typed else "VARCHAR"
    return sql_type if failOnError else f"STRUCT(response {sql_type}, errorMessage VARCHAR)"


def check(modelParameters: dict[str, Any] | None = None, files: list[AnyValue] | None = None) -> None:
    _parameters(modelParameters)
    _images(files or [])


def _images(files: list[AnyValue]) -> tuple[bytes, ...]:
    for file in files:
        if file.sql_type != "BLOB":
            raise SqlinferError(
                f"files must be an image as a BLOB, or a list of them, not the {file.sql_type} {file.text[:100]!r}. "
                "Read files: files => content, in a query FROM read_blob('*.png'). A text belongs into the request"
            )
    return tuple(blob for file in files for blob in file.blobs)


def _parameters(parameters: dict[str, Any] | None) -> Parameters:
    values = {name: value for name, value in (parameters or {}).items() if value is not None}
    return read_parameters(values, "modelParameters")


def _held_to(return_type: str, response_format: str) -> tuple[str, bool]:
    """The schema of the answer, "" for any text, and whether the value is what the answer's JSON says."""
    if return_type and response_format:
        raise SqlinferError("returnType and responseFormat both set the answer's type; give one of them")
    if response_format.strip().startswith("{"):
        return _schema_of(response_format), False
    type_text = return_type or response_format or "VARCHAR"
    held = answer_type(type_text)
    is_any_text = held.sql == "VARCHAR" and not type_text.strip().startswith("{")
    return ("", False) if is_any_text else (held.schema, True)


def _schema_of(response_format: str) -> str:
    try:
        content = json.loads(response_format)
    except ValueError as error:
        raise SqlinferError(f"responseFormat is not JSON: {error}") from None
    type_name = content.get("type")
    if type_name == "text":
        return ""
    if type_name == "json_object":
        return '{"type": "object"}'
    schema = content.get("json_schema", {}).get("schema") if type_name == "json_schema" else content
    if not isinstance(schema, dict):
        raise SqlinferError(f"responseFormat has no json_schema.schema: {response_format[:200]}")
    return answer_type(json.dumps(schema)).schema
