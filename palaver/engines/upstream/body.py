"""Requests for replies, completions and vectors as each kind of server takes them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from palaver.core.message import Message
from palaver.core.parameters import NEUTRAL, Format, NamedTool, Parameters, Tool, sampling_of
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.upstream.dialects import DIALECTS, SERVICES, Dialect
from palaver.engines.upstream.kinds import Detected
from palaver.engines.upstream.messages import messages_for

STRUCTURED_OUTPUTS = (0, 11)
"""The version from which on vLLM reads `structured_outputs`; before, fields of their own."""
OLLAMA_LOGPROBS = (0, 12, 11)
"""The version from which on Ollama tells log probabilities; before, it ignored the wish."""

_encode = msgspec.json.Encoder().encode


class Request(msgspec.Struct, frozen=True):
    """A request: the path below the API's address, its body, and headers besides those of all requests."""

    path: str
    body: bytes
    headers: dict[str, str] = {}


def chat_request(
    window: Window, options: Options, server: Detected, without: frozenset[str] = frozenset()
) -> Request:
    """A streamed request for a reply.

    Parameters palaver does not know (`options.extra`) go along, but never in the place of one it does. `without`
    names what this server was found not to take: ``stream_options``, or ``max_tokens`` where it wants
    `max_completion_tokens` (OpenAI's newer models).

    Raises UnsupportedParameter for what this kind of server does not do, or would ignore.
    """
    dialect, asked = DIALECTS[server.kind], options.parameters
    if asked.echo:
        raise dialect.refuse("echo", "`echo` in a chat")
    if window.tools and not server.shows_tools and asked.tool_choice != "none":
        raise dialect.refuse("tools", "tools with this model: its chat template shows none")
    tools = _tools(dialect, asked, window.tools)
    body: dict[str, Any] = {
        **_common(dialect, options, without),
        "messages": messages_for(dialect, window.messages),
        **tools,
        **_format(server, asked.format),
        **_thinking(dialect, asked),
        **_logprobs(server, asked, has_tools=bool(tools)),
    }
    if options.prefill:
        body |= _prefill(dialect, window.messages)
    return _request("/chat/completions", body, dialect, window)


def completion_request(
    prompt: str | list[int],
    suffix: str | None,
    window: Window,
    options: Options,
    server: Detected,
    without: frozenset[str] = frozenset(),
) -> Request:
    """A streamed request to go on with a text. Raises UnsupportedParameter."""
    dialect, asked = DIALECTS[server.kind], options.parameters
    if isinstance(prompt, list) and not dialect.token_prompts:
        raise dialect.refuse("prompt", "a prompt of token numbers")
    if suffix and not dialect.suffix:
        raise dialect.refuse("suffix")
    for name in ("reasoning", "reasoning_effort", "chat_template_kwargs"):
        if getattr(asked, name) is not None:
            raise dialect.refuse(name, f"`{name}` where a text is completed")
    if asked.format is not None and asked.format.type not in dialect.text_formats:
        raise dialect.refuse("response_format", f"the format `{asked.format.type}` where a text is completed")
    # The old route keeps the old name.
    body = _common(dialect, options, without - {"max_tokens"})
    if "max_completion_tokens" in body:
        body["max_tokens"] = body.pop("max_completion_tokens")
    body |= {"prompt": prompt, **({"suffix": suffix} if suffix else {})}
    if asked.format is not None:
        body |= _text_format(server, asked.format)
    if asked.logprobs is not None:
        _check_logprobs(server)
        body["logprobs"] = asked.logprobs if dialect.logprobs == "flag" else max(1, asked.logprobs)
    return _request("/completions", body, dialect, window)


def embedding_request(
    texts: list[str] | list[list[int]], dimensions: int | None, options: Options, server: Detected
) -> Request:
    """A request for vectors, as numbers. Raises UnsupportedParameter."""
    dialect = DIALECTS[server.kind]
    if texts and isinstance(texts[0], list) and not dialect.token_prompts:
        raise dialect.refuse("input", "an input of token numbers")
    body = {**options.extra, "model": options.model, "input": texts, "encoding_format": "float"}
    if dimensions is not None:
        body["dimensions"] = dimensions
    return Request("/embeddings", _encode(body))


def session_of(window: Window) -> str | None:
    """A name for the window's conversation that is always the same and tells nothing of it or its owner."""
    if window.conversation is None:
        return None
    return blake2b(f"{window.owner}\0{window.conversation}".encode(), digest_size=16).hexdigest()


def _request(path: str, body: dict[str, Any], dialect: Dialect, window: Window) -> Request:
    session = session_of(window)
    headers: dict[str, str] = {}
    if session and dialect.session == "prompt_cache_key":
        body.setdefault("prompt_cache_key", session)
    elif session and dialect.session:
        headers[dialect.session] = session
    return Request(path, _encode(body), headers)


def _common(dialect: Dialect, options: Options, without: frozenset[str]) -> dict[str, Any]:
    """What requests for a reply and for a text have in common. Raises UnsupportedParameter."""
    for name in sorted((SERVICES - dialect.services) & options.extra.keys()):
        raise dialect.refuse(name)
    body = {**options.extra, **_sampling(dialect, options.parameters)}
    if "max_tokens" in without and "max_tokens" in body:
        body["max_completion_tokens"] = body.pop("max_tokens")
    body |= {"model": options.model, "stream": True, "stream_options": {"include_usage": True}}
    if "stream_options" in without:
        del body["stream_options"]
    if options.parameters.n > 1:
        body["n"] = options.parameters.n
    return body


def _sampling(dialect: Dialect, asked: Parameters) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(sampling_of(asked))
    for name in sorted(dialect.refused):
        value = fields.pop(name, None)
        if value not in (None, {}, *NEUTRAL.get(name, ())):
            raise dialect.refuse(name)
    if fields.get("top_k") == 0:
        fields["top_k"] = -1  # means the same everywhere, and SGLang refuses 0
    return {dialect.names.get(name, name): value for name, value in fields.items()}


def _tools(dialect: Dialect, asked: Parameters, tools: Sequence[Tool]) -> dict[str, Any]:
    choice = asked.tool_choice
    if not tools:
        return {}
    if dialect.tool_choice == "never":
        if choice == "none":
            return {}
        if choice not in (None, "auto"):
            raise dialect.refuse("tool_choice", "a forced tool call: `tool_choice` may be `auto` or `none`")
        choice = None
    if isinstance(choice, NamedTool) and dialect.tool_choice == "name":
        tools = [tool for tool in tools if tool.name == choice.name]
        choice = "required"
    fields: dict[str, Any] = {"tools": [{"type": "function", "function": tool} for tool in tools]}
    if isinstance(choice, NamedTool):
        fields["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif choice is not None:
        fields["tool_choice"] = choice
    if asked.parallel_tool_calls is not None:
        if dialect.parallel_tool_calls:
            fields["parallel_tool_calls"] = asked.parallel_tool_calls
        elif not asked.parallel_tool_calls:
            raise dialect.refuse("parallel_tool_calls", "`parallel_tool_calls: false`")
    return fields


def _format(server: Detected, form: Format | None) -> dict[str, Any]:
    dialect = DIALECTS[server.kind]
    if form is None:
        return {}
    if form.type not in dialect.formats:
        raise dialect.refuse("response_format", f"the format `{form.type}`")
    match form.type:
        case "json_schema":
            return _schema(form.schema, form)
        case "json_object" if form.schema is not None:
            return _schema(form.schema, form)
        case "json_object" if server.kind == "lmstudio":
            return _schema({"type": "object"}, form)
        case "json_object":
            return {"response_format": {"type": "json_object"}}
        case "regex" if server.kind == "together":
            return {"response_format": {"type": "regex", "pattern": form.pattern}}
    return _constraint(server, form)


def _schema(schema: dict[str, Any] | None, form: Format) -> dict[str, Any]:
    given = {"description": form.description, "strict": form.strict, "schema": schema}
    told = {name: value for name, value in given.items() if value is not None}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": form.name or "reply", **told}}}


def _constraint(server: Detected, form: Format) -> dict[str, Any]:
    """A regular expression or a grammar."""
    if server.kind == "vllm":
        value = form.pattern if form.type == "regex" else form.grammar
        if server.version is not None and server.version < STRUCTURED_OUTPUTS:
            return {f"guided_{form.type}": value}
        return {"structured_outputs": {form.type: value}}
    if form.type == "regex":
        return {"regex": form.pattern}
    return {"ebnf" if server.kind == "sglang" else "grammar": form.grammar}


def _text_format(server: Detected, form: Format) -> dict[str, Any]:
    if server.kind != "llama-server" or form.type == "grammar":
        return _format(server, form)
    return {"json_schema": form.schema or {"type": "object"}}  # there it reads no `response_format`


def _thinking(dialect: Dialect, asked: Parameters) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if asked.chat_template_kwargs:
        if not dialect.template_arguments:
            raise dialect.refuse("chat_template_kwargs")
        fields["chat_template_kwargs"] = asked.chat_template_kwargs
    if asked.reasoning_effort is not None:
        fields["reasoning_effort"] = asked.reasoning_effort
    if asked.reasoning is None:
        return fields
    match dialect.thinking:
        case "reasoning":
            fields["reasoning"] = {"enabled": asked.reasoning}
        case "template":  # templates know it by either name
            switch = {"enable_thinking": asked.reasoning, "thinking": asked.reasoning}
            fields["chat_template_kwargs"] = switch | (asked.chat_template_kwargs or {})
        case "effort" if not asked.reasoning:
            fields["reasoning_effort"] = "none"
        case "effort":
            fields.setdefault("reasoning_effort", "medium")
    return fields


def _logprobs(server: Detected, asked: Parameters, *, has_tools: bool) -> dict[str, Any]:
    dialect = DIALECTS[server.kind]
    if asked.logprobs is None:
        return {}
    _check_logprobs(server)
    if dialect.logprobs == "count":
        return {"logprobs": max(1, asked.logprobs)}
    if server.kind != "llama-server":
        return {"logprobs": True, "top_logprobs": asked.logprobs}
    if has_tools:
        raise dialect.refuse("logprobs", "`logprobs` together with tools")
    return {"logprobs": True, "top_logprobs": max(1, asked.logprobs)}  # 0 would be none at all


def _check_logprobs(server: Detected) -> None:
    is_old = server.kind == "ollama" and server.version is not None and server.version < OLLAMA_LOGPROBS
    if DIALECTS[server.kind].logprobs == "never" or is_old:
        raise DIALECTS[server.kind].refuse("logprobs")


def _prefill(dialect: Dialect, messages: Sequence[Message]) -> dict[str, Any]:
    if not dialect.prefill:
        raise dialect.refuse("parent", "going on with a reply that was cut off; have it answer again")
    return {"continue_final_message": True, "add_generation_prompt": False}
