"""The only room that knows both settings and rooms: it puts one palaver together (`assembly`) and finds others.

Finding the owner of a store needs little; what answers needs a lot, and is imported by whoever becomes it.
"""

from __future__ import annotations

from palaver.config import Config
from palaver.stores.ownership import Owner
from palaver.stores.ownership import find_owner as find_owner_of

__all__ = ["Owner", "find_owner"]


def find_owner(config: Config) -> Owner | None:
    """The process that owns the store and answers, or None."""
    return find_owner_of(config.store_path)
