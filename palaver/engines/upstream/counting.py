"""How long a prompt really is that vLLM refused: it stops counting at its limit, and tells that plus one."""

from __future__ import annotations

import msgspec
import structlog

from palaver.core.errors import ContextLengthExceeded, EngineTimeout, EngineUnavailable
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.upstream.asking import ask, now
from palaver.engines.upstream.body import chat_request
from palaver.engines.upstream.http import UpstreamServer
from palaver.engines.upstream.kinds import Detected

ASKING_SECONDS = 5.0
COUNTED = ("model", "messages", "tools", "chat_template_kwargs")
"""What of a request its prompt is made of."""

log = structlog.get_logger(__name__)


class _Count(msgspec.Struct):
    count: int


async def with_real_count(
    refusal: ContextLengthExceeded, server: UpstreamServer, window: Window, options: Options
) -> ContextLengthExceeded:
    """The same refusal with the prompt's real length, where it tells only the least and the server can count."""
    if refusal.prompt_tokens != refusal.context_size + 1:
        return refusal
    body = msgspec.json.decode(chat_request(window, options, Detected("vllm")).body)
    asked = {name: body[name] for name in COUNTED if name in body}
    try:
        answer = await ask(server, f"{server.root}/tokenize", now() + ASKING_SECONDS, asked)
        counted = msgspec.json.decode(answer.body, type=_Count).count
    except (
        EngineUnavailable,
        EngineTimeout,
        msgspec.MsgspecError,
        UnicodeDecodeError,
        RecursionError,
    ) as error:
        log.info("a prompt was not counted", upstream=server.name, error=type(error).__name__)
        return refusal
    return ContextLengthExceeded(
        prompt_tokens=max(counted, refusal.prompt_tokens), context_size=refusal.context_size
    )
