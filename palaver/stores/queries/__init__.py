"""SQL by name: every query lives in a `.sql` file here, under a line `-- name: …`."""

from __future__ import annotations

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def _read() -> dict[str, str]:
    queries: dict[str, str] = {}
    for file in sorted(files(__name__).iterdir(), key=lambda f: f.name):
        if file.name.endswith(".sql"):
            _, *named = _NAME.split(file.read_text(encoding="utf-8"))
            for name, text in zip(named[::2], named[1::2], strict=True):
                if name in queries:
                    raise ValueError(f"two queries are named {name}")
                queries[name] = text.strip()
    return queries


QUERIES = _read()
"""The text of each query, by name; parameters are written `:name`, lists `(:name)`."""
