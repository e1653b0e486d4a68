"""Pages of lists, as OpenAI has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

P = TypeVar("P")
T = TypeVar("T")


class _Shown(Protocol):
    @property
    def id(self) -> str: ...


def page_of(kind: Callable[..., P], found: Sequence[T], limit: int, shown: Callable[[T], _Shown | Any]) -> P:
    """A page of at most `limit`, of what was found when one more was asked for, each as it is `shown`."""
    data = [shown(each) for each in found[:limit]]
    first, last = (data[0].id, data[-1].id) if data else ("", "")
    return kind(data=data, first_id=first, last_id=last, has_more=len(found) > limit)
