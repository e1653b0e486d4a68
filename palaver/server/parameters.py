"""Parameters that are known here but not honoured, those that no client may set, and what an engine lacks.

A parameter that is known and cannot be honoured is an error that names it, never silently dropped: whoever
sets it relies on it. Only values that change nothing are let through.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from palaver.core.errors import InvalidRequest, UnsupportedParameter
from palaver.core.parameters import NEUTRAL, Parameters, needs
from palaver.core.schema_bounds import check_grammar, check_pattern, check_schema
from palaver.core.window_settings import WindowSettings
from palaver.engines.base import SAMPLING
from palaver.server.body import plain
from palaver.server.completion_tools import AskedTools

WITHOUT_EFFECT: Mapping[str, str] = {
    "compliance": "nothing leaves this server",
    "prompt_cache_options": "prompts are cached anyway",
    "prompt_cache_retention": "prompts are cached anyway",
    "service_tier": "there is one",
    "verbosity": "models here have no such setting",
}
"""Accepted with any value, and why it makes no difference; servers behind an upstream are told all the same."""

ONLY: Mapping[str, tuple[Any, ...]] = {
    "audio": (),
    "modalities": (["text"],),
    "moderation": (),
    "prediction": (),
    "safety_model": (),
    "web_search_options": (),
}
"""Known, and not possible here: accepted as null and with these values, which ask for nothing."""

REPLIES_ARE_TEXT = ("audio", "modalities")
"""Not possible with any engine: no sound of a reply would reach whoever asked."""

ELSEWHERE: Mapping[str, str] = {
    "ebnf": "grammar",
    "grammar": "grammar",
    "guided_choice": "regex",
    "guided_grammar": "grammar",
    "guided_json": "json_schema",
    "guided_regex": "regex",
    "json_schema": "json_schema",
    "regex": "regex",
    "structured_outputs": "json_schema",
}
"""Forms of a reply by the names that single servers have for them (llama-server, vLLM, SGLang), and the type of
`response_format` that says the same. Handed on to engines that take unknown parameters, within the same bounds;
refused by the others."""

_PLACES = "where a conversation is computed and cached is this server's affair"
_SHAPE = "this server reads the model's replies itself, in the form that it knows"
_CODE = "clients can load no code, templates and files into the model's server"
_OTHERS = "it would reach beyond this request"
INTERNALS: Mapping[str, str] = {
    "bootstrap_host": _PLACES,
    "bootstrap_port": _PLACES,
    "bootstrap_room": _PLACES,
    "cache_prompt": _PLACES,
    "cache_salt": _PLACES,
    "data_parallel_rank": _PLACES,
    "extra_key": _PLACES,
    "id_slot": _PLACES,
    "kv_transfer_params": _PLACES,
    "n_cache_reuse": _PLACES,
    "n_discard": _PLACES,
    "n_keep": _PLACES,
    "session_params": _PLACES,
    "slot_id": _PLACES,
    "add_generation_prompt": _SHAPE,
    "chat_format": _SHAPE,
    "chat_parser": _SHAPE,
    "continue_final_message": _SHAPE,
    "generation_prompt": _SHAPE,
    "grammar_lazy": _SHAPE,
    "grammar_triggers": _SHAPE,
    "include_reasoning": _SHAPE,
    "n_probs": _SHAPE,
    "parse_tool_calls": _SHAPE,
    "post_sampling_probs": _SHAPE,
    "preserved_tokens": _SHAPE,
    "reasoning_format": _SHAPE,
    "reasoning_in_content": _SHAPE,
    "response_fields": _SHAPE,
    "return_hidden_states": _SHAPE,
    "return_progress": _SHAPE,
    "return_token_ids": _SHAPE,
    "return_tokens": _SHAPE,
    "return_tokens_as_token_ids": _SHAPE,
    "separate_reasoning": _SHAPE,
    "stream_reasoning": _SHAPE,
    "timings_per_token": _SHAPE,
    "chat_template": _CODE,
    "custom_logit_processor": _CODE,
    "logits_processors": _CODE,
    "lora": _CODE,
    "lora_path": _CODE,
    "mm_processor_kwargs": _CODE,
    "media_io_kwargs": _CODE,
    "prompt_embeds": _CODE,
    "samplers": _CODE,
    "vllm_xargs": _CODE,
    "priority": _OTHERS,
    "request_id": _OTHERS,
    "rid": _OTHERS,
}
"""What steers the inside of an engine (llama-server's, vLLM's, SGLang's), and why no client may: refused with any
value but null, whatever the engine."""

TEMPLATE_INTERNALS = (
    "add_generation_prompt",
    "chat_template",
    "continue_final_message",
    "conversation",
    "max_length",
    "messages",
    "padding",
    "return_dict",
    "return_tensors",
    "tokenize",
    "tools",
    "truncation",
)
"""What `chat_template_kwargs` may not hold: servers hand them on to what applies the template, where these replace
the template, the history or its end, or cut the prompt."""


def other_parameters(
    fields: Mapping[str, msgspec.Raw], known: frozenset[str], max_depth: int
) -> dict[str, Any]:
    """Those parameters of a request that are not `known`.

    Raises UnsupportedParameter for one that no client may set, InvalidRequest for one that nests deeper than
    `max_depth`.
    """
    others: dict[str, Any] = {}
    for name, raw in fields.items():
        if name in known:
            continue
        value = plain(name, raw, max_depth)
        if name in INTERNALS and value is not None:
            raise UnsupportedParameter(f"`{name}` cannot be set here: {INTERNALS[name]}.", param=name)
        if name not in INTERNALS:
            others[name] = value
    return others


def asked_window(asked: WindowSettings | None, said: WindowSettings) -> WindowSettings:
    """How a request has its window chosen: by its `window`, and what it says beside that.

    Raises InvalidRequest for what contradicts itself.
    """
    settings = asked or WindowSettings()
    for name in ("truncation", "context_length_exceeded_behavior"):
        inner = getattr(settings, name)
        if inner is not None and getattr(said, name) not in (None, inner):
            raise InvalidRequest(f"`window.{name}` and `{name}` differ; send one of them.", param=name)
    mode, param = ("window", "truncation") if said.truncation else ("window.mode", "window.truncation")
    settings = said.over(settings)
    if (settings.mode, settings.truncation) in (("auto", "disabled"), ("strict", "auto")):
        raise InvalidRequest(f"`{mode}` and `{param}` contradict each other.", param=param)
    return settings


def check_moved(
    fields: Mapping[str, msgspec.Raw], moved: Mapping[str, str | None], nothing: Mapping[str, bytes]
) -> None:
    """Raises UnsupportedParameter for what is said in the words of chat completions. `moved` has the name that each has
    here, or None; `nothing` what asks for nothing, besides null."""
    for name in sorted(moved.keys() & fields.keys()):
        if bytes(fields[name]) not in (b"null", nothing.get(name)):
            there = f"here that is `{moved[name]}`" if moved[name] else "a response has no such thing"
            raise UnsupportedParameter(f"`{name}` is for chat completions: {there}.", param=name)


def check_template_arguments(arguments: Mapping[str, Any]) -> None:
    """Raises UnsupportedParameter for what no client may set."""
    for name in TEMPLATE_INTERNALS:
        if name in arguments:
            param = f"chat_template_kwargs.{name}"
            raise UnsupportedParameter(
                f"`{param}` cannot be set here: it is for this server to say.", param=param
            )


def extra_parameters(others: Mapping[str, Any], capabilities: frozenset[str], model: str) -> dict[str, Any]:
    """What of these the engine gets.

    Raises UnsupportedParameter for one that is known and not possible, InvalidRequest for a schema or a pattern that
    is out of bounds.
    """
    takes_all = "extra" in capabilities
    extra: dict[str, Any] = {}
    for name, value in others.items():
        if name in ONLY:
            if _asks_for_nothing(value, ONLY[name]):
                continue
            if not takes_all or name in REPLIES_ARE_TEXT:
                allowed = "".join(f" or {msgspec.json.encode(each).decode()}" for each in ONLY[name])
                raise UnsupportedParameter(
                    f"`{name}` is not supported: leave it out, or send null{allowed}.", param=name
                )
        if name in ELSEWHERE and not takes_all and value is not None:
            raise UnsupportedParameter(
                f"`{name}` is not supported by the model {model}: send a `response_format` of type "
                f"{ELSEWHERE[name]}.",
                param=name,
            )
        if name in ELSEWHERE:
            _check_form(name, value)
        if not (name in WITHOUT_EFFECT and value is None):
            extra[name] = value
    return extra if takes_all else {}


def _check_form(name: str, value: Any) -> None:
    """Bound a schema, pattern or grammar that goes by a server's own name. Raises InvalidRequest."""
    forms = {name: value}
    if name == "structured_outputs" and isinstance(value, dict):
        forms = {f"{name}.{part}": value.get(part) for part in ("json", "regex", "grammar")}
    for param, form in forms.items():
        if param.endswith("regex") and isinstance(form, str):
            check_pattern(form, param)
        elif param.endswith(("grammar", "ebnf")) and isinstance(form, str):
            check_grammar(form, param)
        elif "json" in param and isinstance(schema := _schema_of(form), dict):
            check_schema(schema, param)


def _schema_of(form: Any) -> Any:
    """A schema, which some servers take as text; what is no JSON they refuse themselves."""
    if not isinstance(form, str):
        return form
    try:
        return msgspec.json.decode(form)
    except (msgspec.DecodeError, RecursionError):
        return None


def _asks_for_nothing(value: Any, allowed: tuple[Any, ...]) -> bool:
    # 1 == True and 0 == False in Python; in JSON they are not the same.
    return value is None or any(type(value) is type(each) and value == each for each in allowed)


def check_parameters(
    parameters: Parameters, asked: AskedTools, capabilities: frozenset[str], model: str
) -> Parameters:
    """The parameters as an engine with these capabilities takes them: without what asks for nothing.

    Raises UnsupportedParameter for what it cannot do.
    """
    changed: dict[str, Any] = {}
    for name in sorted(SAMPLING - capabilities):
        value = getattr(parameters, name)
        if value is not None and value not in NEUTRAL.get(name, ()):
            raise UnsupportedParameter(f"The model {model} does not support `{name}`.", param=name)
        changed[name] = None
    own = dict(zip(("tools", "tool_choice"), asked.names, strict=True))
    for capability, field in needs(parameters, has_tools=bool(asked.tools)):
        if capability not in capabilities:
            param = own.get(field, field)
            what = f" of type {capability}" if param == "response_format" else ""
            raise UnsupportedParameter(f"The model {model} does not support `{param}`{what}.", param=param)
    if "reasoning" not in capabilities:
        changed["reasoning"] = None  # False, which is what such a model does anyway
    if "parallel_tool_calls" not in capabilities or not asked.tools:
        changed["parallel_tool_calls"] = None
    return msgspec.structs.replace(parameters, **changed)
