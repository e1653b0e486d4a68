"""What a request's model stands for, by the configuration alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from palaver.core.errors import ConfigError

CATCH_ALL = "*"

T = TypeVar("T")


class Names:
    """What a request's model stands for.

    In this order: a configured name, an alias (of a name, an ``UPSTREAM/model`` or another alias), the model
    of an upstream, the catch-all. A name that begins with an upstream's is never caught: what was asked for
    is there or not. `fallbacks` says of a name or an alias which others answer in its place.

    Raises ConfigError for names that stand for two things, and for aliases and fallbacks of nothing or in a
    circle.
    """

    def __init__(
        self,
        models: Iterable[str],
        aliases: Mapping[str, str],
        upstreams: Iterable[str],
        fallbacks: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._models = _distinct(models, "model")
        self._upstreams = _distinct(upstreams, "upstream")
        self._targets = {alias: self._end(alias, aliases) for alias in aliases}
        self._fallbacks = self._ends(fallbacks or {})
        for target in self._fallbacks:
            self.fallbacks(target)

    def target(self, name: str) -> str | None:
        """The configured name or the ``UPSTREAM/model`` that a name stands for, or None."""
        if name in self._models:
            return name
        if name in self._targets and name != CATCH_ALL:
            return self._targets[name]
        if self.upstream(name):
            return name
        return self._targets.get(CATCH_ALL)

    def upstream(self, name: str) -> str | None:
        """The upstream of ``UPSTREAM/model``; None where a name is no such thing."""
        upstream, _, model = name.partition("/")
        return upstream if model and upstream in self._upstreams and name not in self._models else None

    def aliases(self, target: str) -> tuple[str, ...]:
        """The aliases that stand for this name in the end, without the catch-all."""
        return tuple(alias for alias, end in self._targets.items() if end == target and alias != CATCH_ALL)

    def fallbacks(self, target: str) -> tuple[str, ...]:
        """Who answers in place of this name, in their order: those it names, then those that these name."""
        chain = [target]
        for name in chain:  # which grows as it is read
            further = [other for other in self._fallbacks.get(name, ()) if other not in chain[1:]]
            if target in further:
                raise ConfigError(f"The model {target} falls back on itself in the end.", setting="fallback")
            chain += further
        return tuple(chain[1:])

    def by_target(self, said: Mapping[str, T], setting: str) -> dict[str, T]:
        """What this setting says of models, under the names that they stand for in the end.

        Raises ConfigError for what is no model, and for one of which it is said twice.
        """
        found: dict[str, T] = {}
        for name, value in said.items():
            target = self._target_of(name)
            if target is None:
                raise ConfigError(f"{setting}: there is no model {name!r}.", setting=setting)
            if target in found:
                raise ConfigError(
                    f"{setting}: {name} is {target}, of which it is said elsewhere too.", setting=setting
                )
            found[target] = value
        return found

    def _ends(self, fallbacks: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        ends: dict[str, list[str]] = {}
        for name, others in fallbacks.items():
            targets = [self._known(each, name) for each in (name, *others)]
            if targets[0] in ends:
                raise ConfigError(
                    f"{name} is {targets[0]}, whose fallbacks are said elsewhere too.", setting="fallback"
                )
            ends[targets[0]] = list(dict.fromkeys(targets[1:]))
        return ends

    def _known(self, name: str, of: str) -> str:
        target = self._target_of(name)
        if target is None:
            raise ConfigError(
                f"In the fallbacks of {of} there is {name!r}, which is no model.", setting="fallback"
            )
        return target

    def _target_of(self, name: str) -> str | None:
        """What a name stands for that a setting holds; None for what is no model, the catch-all too."""
        target = self._targets[name] if name in self._targets and name != CATCH_ALL else name
        return target if target in self._models or self.upstream(target) else None

    def _end(self, alias: str, aliases: Mapping[str, str]) -> str:
        if not alias or alias in self._models or (alias != CATCH_ALL and self.upstream(alias)):
            raise ConfigError(f"The alias {alias!r} is the name of a model.", setting="alias")
        seen = [alias]
        while (name := aliases[seen[-1]]) in aliases:
            if name in seen:
                raise ConfigError(f"The aliases {' → '.join([*seen, name])} go in a circle.", setting="alias")
            seen.append(name)
        if name not in self._models and not self.upstream(name):
            raise ConfigError(f"The alias {alias} stands for {name!r}, which is no model.", setting="alias")
        return name


def _distinct(names: Iterable[str], setting: str) -> frozenset[str]:
    seen: set[str] = set()
    for name in names:
        if not name or name in seen or name == CATCH_ALL:
            raise ConfigError(f"The {setting} name {name!r} is empty or used twice.", setting=setting)
        seen.add(name)
    return frozenset(seen)
