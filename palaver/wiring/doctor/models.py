"""The models that run here: whether their files are there and whole, and whether they fit the memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

from palaver.config import Config
from palaver.core.errors import ConfigError
from palaver.engines.catalog import ModelCatalog
from palaver.engines.catalog.gone import GoneEngine
from palaver.engines.llama import LlamaEngine
from palaver.engines.llama.footprint import told
from palaver.wiring.doctor.findings import Finding, broken, ok
from palaver.wiring.models import catalog_of


async def examine(config: Config) -> AsyncIterator[Finding]:
    """Each model that is configured or added, and which one answers by default. Loads none."""
    try:
        catalog, default = catalog_of(config)
    except ConfigError as error:
        if error.setting != "upstream":  # those are told with the upstreams
            yield broken("model", error.message, _advice(error.setting))
        return
    try:
        yield ok("model", f"{default} answers where no model is named")
        for finding in await _each(catalog):
            yield finding
    finally:
        await catalog.close()


async def _each(catalog: ModelCatalog) -> list[Finding]:
    found = []
    for model in await catalog.models():
        engine = model.engine
        if isinstance(engine, LlamaEngine):
            parts = engine.footprint
            slots = engine.settings.slots
            found.append(
                ok(
                    "model",
                    f"{model.name}: {engine.settings.path.name}, {told(parts.weights)}; with {slots} × "
                    f"{engine.slot_context:,} tokens of context about {told(parts.total)}",
                )
            )
        elif isinstance(engine, GoneEngine):
            again = f"`palaver models remove {model.name}`, or add it again."
            do = again if engine.setting == "model" else _advice(engine.setting)
            found.append(broken("model", engine.why, do))
    return found


def _advice(setting: str | None) -> str:
    if setting in ("memory", "context"):
        return "Set `memory` or `context`, use fewer `slots`, or take a smaller model."
    return f"Change the setting `{setting}`." if setting else "Look at the settings."
