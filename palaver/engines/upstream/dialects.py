"""How each kind of server wants a request, and what it cannot do. Data, from their sources and documentation.

What a server would ignore without a word is refused here by name: whoever sets a parameter relies on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from palaver.core.errors import UnsupportedParameter
from palaver.engines.upstream.kinds import Kind

JSON = frozenset({"json_object", "json_schema"})
IMAGES = frozenset({"text", "image_url"})
SERVICES = frozenset({"moderation", "prediction", "safety_model", "web_search_options"})
"""Parameters that ask for more than a model has, such as a search. Servers that only run models ignore them."""


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """The ways of one kind of server.

    `title` is what its makers call it. `names` are its own names of sampling parameters, `refused` those it does
    not have; `services` are those of `SERVICES` that it knows. `parts` are the kinds of content it takes, None for
    whatever it says itself. `session` is the header or field by which turns of one conversation come to where their
    prompt is cached.

    - `counts_replies`: several replies come of one request
    - `tool_choice`: told by ``object``, or by ``name`` only (then a named tool is the only one shown), or ``never``
    - `thinking`: switched by ``reasoning``, by the ``template``'s arguments or by ``effort``
    - `reasoning`: the name of thinking in a history; None leaves both names, empty takes it out
    - `logprobs`: asked for by a ``count``, by a ``flag`` with a count beside it, or ``never`` told
    - `last_reply`: what it does, unlike others, with a history that ends with a reply, in words
    - `json_arguments`: a call in a history must have a JSON object for its arguments
    """

    title: str
    names: Mapping[str, str] = {}
    refused: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()
    counts_replies: bool = False
    formats: frozenset[str] = JSON
    text_formats: frozenset[str] = frozenset()
    tool_choice: Literal["object", "name", "never"] = "object"
    parallel_tool_calls: bool = True
    thinking: Literal["reasoning", "template", "effort"] = "reasoning"
    template_arguments: bool = True
    reasoning: str | None = None
    logprobs: Literal["count", "flag", "never"] = "flag"
    json_arguments: bool = False
    developer: bool = False
    parts: frozenset[str] | None = None
    prefill: bool = False
    last_reply: str = ""
    token_prompts: bool = True
    suffix: bool = False
    session: Literal["X-Session-ID", "x-smg-routing-key", "prompt_cache_key", ""] = ""

    def refuse(self, param: str, what: str = "") -> UnsupportedParameter:
        """The error for what this kind of server does not do."""
        return UnsupportedParameter(f"{self.title} does not support {what or f'`{param}`'}.", param=param)


DIALECTS: Mapping[Kind, Dialect] = {
    "together": Dialect(
        title="Together",
        services=frozenset({"safety_model"}),
        counts_replies=True,
        formats=JSON | {"regex"},
        reasoning="reasoning",
        logprobs="count",
        token_prompts=False,
    ),
    "openai": Dialect(
        title="OpenAI",
        names={"max_tokens": "max_completion_tokens"},
        refused=frozenset({"top_k", "min_p", "repetition_penalty"}),
        services=SERVICES - {"safety_model"},
        counts_replies=True,
        thinking="effort",
        template_arguments=False,
        reasoning="",
        developer=True,
        parts=IMAGES | {"input_audio", "file", "refusal"},
        suffix=True,
        session="prompt_cache_key",
    ),
    "vllm": Dialect(
        title="vLLM",
        counts_replies=True,
        formats=JSON | {"regex", "grammar"},
        text_formats=JSON | {"regex", "grammar"},
        thinking="template",
        reasoning="reasoning_content",
        json_arguments=True,
        prefill=True,
        session="X-Session-ID",
    ),
    "sglang": Dialect(
        title="SGLang",
        counts_replies=True,
        formats=JSON | {"regex", "grammar"},
        text_formats=JSON | {"regex", "grammar"},
        thinking="template",
        reasoning="reasoning_content",
        json_arguments=True,
        prefill=True,
        last_reply="takes a history's last reply for the user's words",
        session="x-smg-routing-key",
    ),
    "llama-server": Dialect(
        title="llama-server",
        names={"repetition_penalty": "repeat_penalty"},
        formats=JSON | {"grammar"},
        text_formats=JSON | {"grammar"},
        tool_choice="name",
        thinking="template",
        reasoning="reasoning_content",
        json_arguments=True,
        prefill=True,
        last_reply="goes on with a history's last reply in place of answering anew",
    ),
    "ollama": Dialect(
        title="Ollama",
        refused=frozenset({"top_k", "min_p", "repetition_penalty", "logit_bias"}),
        tool_choice="never",
        parallel_tool_calls=False,
        thinking="effort",
        template_arguments=False,
        reasoning="reasoning",
        json_arguments=True,
        parts=IMAGES,
        token_prompts=False,
        suffix=True,
    ),
    "lmstudio": Dialect(
        title="LM Studio",
        names={"repetition_penalty": "repeat_penalty"},
        refused=frozenset({"min_p"}),
        tool_choice="name",
        parallel_tool_calls=False,
        thinking="effort",
        template_arguments=False,
        reasoning="reasoning_content",
        logprobs="never",
        json_arguments=True,
        parts=IMAGES,
        token_prompts=False,
    ),
    "other": Dialect(
        title="This model's server, of a kind that is not known,",
        services=SERVICES,
        text_formats=JSON,
        developer=True,
        suffix=True,
    ),
}
