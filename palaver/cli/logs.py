"""Where log lines go: to standard error, as text or JSON, ours and those of the parts we use."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from palaver.config import Config

NOISY = ("uvicorn", "asyncio", "aiohttp")
"""Parts that tell of every start and connection at the level that ours is read at."""


def configure(config: Config, *, quiet: bool = False) -> None:
    """Log as the settings say; `quiet`, for commands that talk to a person, only errors unless debugging."""
    level = logging.getLevelNamesMapping()[config.log_level.upper()]
    if quiet and level > logging.DEBUG:
        level = logging.ERROR
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=config.log_format == "json"),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_form(config))
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name in NOISY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING) if level > logging.DEBUG else level)


def _form(config: Config) -> list[Any]:
    clean = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if config.log_format == "json":
        return [clean, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # The default shows the values of variables where rich is installed: keys, and what people wrote.
    plain = structlog.dev.plain_traceback
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), pad_event_to=0, exception_formatter=plain
    )
    return [clean, console]
