"""The upstreams of a palaver, each with the key that is meant for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from palaver.config import PREFIX, Config
from palaver.core.errors import ConfigError
from palaver.engines.upstream import UpstreamEngine
from palaver.engines.upstream.kinds import KINDS, Kind

VENDORS = {
    "ANTHROPIC_API_KEY": ("anthropic.com",),
    "AZURE_OPENAI_API_KEY": ("azure.com",),
    "CEREBRAS_API_KEY": ("cerebras.ai",),
    "COHERE_API_KEY": ("cohere.ai", "cohere.com"),
    "DEEPINFRA_API_KEY": ("deepinfra.com",),
    "DEEPSEEK_API_KEY": ("deepseek.com",),
    "FIREWORKS_API_KEY": ("fireworks.ai",),
    "GEMINI_API_KEY": ("googleapis.com",),
    "GOOGLE_API_KEY": ("googleapis.com",),
    "GROQ_API_KEY": ("groq.com",),
    "HF_API_KEY": ("hf.co", "huggingface.co"),
    "HUGGINGFACE_API_KEY": ("hf.co", "huggingface.co"),
    "MISTRAL_API_KEY": ("mistral.ai",),
    "MOONSHOT_API_KEY": ("moonshot.ai", "moonshot.cn"),
    "NVIDIA_API_KEY": ("nvidia.com",),
    "OPENAI_API_KEY": ("openai.com",),
    "OPENROUTER_API_KEY": ("openrouter.ai",),
    "PERPLEXITY_API_KEY": ("perplexity.ai",),
    "SAMBANOVA_API_KEY": ("sambanova.ai",),
    "TOGETHER_API_KEY": ("together.ai", "together.xyz"),
    "XAI_API_KEY": ("x.ai",),
}
"""Variables in which people keep a vendor's key, and the domains of that vendor: nobody else gets such a key."""


def upstreams_of(config: Config, environment: Mapping[str, str] = os.environ) -> list[UpstreamEngine]:
    """An engine for each upstream. Raises ConfigError for a name, an address or a key that cannot be used."""
    return [
        UpstreamEngine(
            name,
            url,
            upstream_key(config, name, environment),
            kind=_kind(config, name),
            retries=config.upstream_retries,
            first_byte_timeout=config.upstream_timeout,
        )
        for name, url in config.upstream.items()
    ]


def _kind(config: Config, name: str) -> Kind | None:
    """What the settings say that an upstream is. Raises ConfigError for what is no kind."""
    given = config.upstream_kind.get(name)
    if given is None:
        return None
    for kind in KINDS:
        if kind == given:
            return kind
    raise ConfigError(
        f"upstream_kind: {given!r} is no kind of upstream; there are: {', '.join(KINDS)}.",
        setting="upstream_kind",
    )


def upstream_key(config: Config, name: str, environment: Mapping[str, str]) -> str | None:
    """palaver's own key at an upstream: the setting's, else that of the variable ``NAME_API_KEY``.

    A variable that is a vendor's counts only for that vendor's domain, and over HTTPS: an upstream that is called
    `openai` but is another host must not be sent the key by accident.
    """
    configured = config.upstream_key.get(name)
    if configured is not None:
        return configured
    variable = key_variable(name)
    if variable.startswith(PREFIX):  # PALAVER_API_KEY opens this palaver, not another server
        return None
    key = environment.get(variable) or None
    return key if variable not in VENDORS or _is_at(config.upstream[name], VENDORS[variable]) else None


def key_variable(name: str) -> str:
    """The variable with the key of an upstream: ``MY_VLLM_API_KEY`` for `my-vllm`."""
    return name.upper().replace("-", "_") + "_API_KEY"


def _is_at(url: str, domains: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:  # the engine says what is wrong with it
        return False
    return parts.scheme == "https" and any(
        host == domain or host.endswith(f".{domain}") for domain in domains
    )
