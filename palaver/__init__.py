"""palaver: a server for conversations that speaks your model's chat API and keeps every conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from palaver.library import Palaver

__version__ = "0.2.0"
__all__ = ["Palaver", "__version__"]


def __getattr__(name: str) -> Any:
    """`Palaver` is loaded when it is asked for: commands that need no server start without its parts."""
    if name == "Palaver":
        from palaver.library import Palaver

        return Palaver
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
