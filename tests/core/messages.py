"""Messages drawn at random, and what they mean: an idea of equality that owes nothing to `canonical`."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
from hypothesis import strategies as st

from palaver.core.message import (
    AudioData,
    AudioPart,
    AudioUrlPart,
    FileData,
    FilePart,
    FunctionCall,
    ImagePart,
    ImageUrl,
    MediaUrl,
    Message,
    Part,
    RefusalPart,
    TextPart,
    ToolCall,
    VideoPart,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
some_bytes = st.binary(max_size=4)
encoded = some_bytes.map(lambda raw: base64.b64encode(raw).decode())
urls = st.one_of(texts, encoded.map(lambda data: f"data:image/png;base64,{data}"))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=4,
)
arguments = st.one_of(json_values.map(json.dumps), texts)
calls = st.builds(FunctionCall, name=texts, arguments=arguments)
parts: st.SearchStrategy[Part] = st.one_of(
    st.builds(TextPart, texts),
    st.builds(RefusalPart, texts),
    st.builds(ImagePart, st.builds(ImageUrl, urls, st.none() | texts)),
    st.builds(VideoPart, st.builds(MediaUrl, urls)),
    st.builds(AudioUrlPart, st.builds(MediaUrl, urls)),
    st.builds(AudioPart, st.builds(AudioData, encoded | texts, texts)),
    st.builds(FilePart, st.builds(FileData, st.none() | urls, st.none() | texts, st.none() | texts)),
)
roles = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])
messages = st.builds(
    Message,
    role=roles,
    content=st.none() | texts | st.lists(parts, max_size=3),
    name=st.none() | texts,
    tool_calls=st.none() | st.lists(st.builds(ToolCall, calls, texts), max_size=2),
    tool_call_id=st.none() | texts,
    function_call=st.none() | calls,
    reasoning=st.none() | texts,
    reasoning_content=st.none() | texts,
)

_odd = st.sampled_from(
    ["", "a", '"a"', "[]", "[ ]", "1", "1.0", "true", "null", "data:image/png;base64,AAAA----"]
)
similar_messages = st.builds(
    Message,
    role=st.sampled_from(["system", "developer"]),
    content=st.none() | _odd | st.lists(st.builds(TextPart, _odd) | st.builds(RefusalPart, _odd), max_size=1),
    tool_calls=st.none()
    | st.lists(st.builds(ToolCall, st.builds(FunctionCall, st.just("f"), _odd)), max_size=1),
)
"""Messages of which two are often the same, or nearly."""


def meaning(message: Message) -> object:
    """What must be equal for two messages to be the same, and nothing else."""
    return (
        {"developer": "system"}.get(message.role, message.role),
        None if _is_blank_beside_calls(message) else _content_meaning(message.content),
        message.name or None,
        message.tool_call_id or None,
        tuple((c.id, _call_meaning(c.function)) for c in message.tool_calls or ()),
        _call_meaning(message.function_call) if message.function_call else None,
    )


def _is_blank_beside_calls(message: Message) -> bool:
    return bool(message.tool_calls) and isinstance(message.content, str) and not message.content.strip()


def _content_meaning(content: str | list[Part] | None) -> object:
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], TextPart):
        content = content[0].text
    if isinstance(content, list) and content:
        return tuple(repr(_part_meaning(msgspec.to_builtins(part))) for part in content)
    return content or None


def _part_meaning(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted(
            (k, _bytes(v) if _is_plain(k, v) else _part_meaning(v)) for k, v in value.items() if v is not None
        )
    if isinstance(value, str) and value.startswith("data:image/png;base64,"):
        return _bytes(value.removeprefix("data:image/png;base64,"))
    return value


def _is_plain(field: str, value: Any) -> bool:
    """Whether bytes stand there as base64 without the head of a data URL."""
    return field == "data" or (field == "file_data" and not value.startswith("data:"))


def _bytes(data: str) -> object:
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except ValueError:
        return data


def _call_meaning(call: FunctionCall) -> object:
    """Parsed arguments as Python writes them: `1` and `true`, equal in Python, are not the same; `1` and `1.0` are."""
    text = call.arguments if call.arguments.strip() else "{}"
    try:
        parsed = json.dumps(
            json.loads(text, parse_constant=_refuse, parse_float=_as_javascript_writes_it), sort_keys=True
        )
    except ValueError:
        return (call.name, "text", call.arguments)
    return (call.name, "json", parsed)


def _as_javascript_writes_it(number: str) -> float:
    value = float(number)
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
