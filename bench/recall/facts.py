"""Kinds of facts: how they are told, how somebody asks for them in other words, and what only sounds like them.

In the sentences `who` is a person as one speaks of them ("Nora", "my sister"), `Who` the same at the beginning of a
sentence, `whose` of whom something is; `value` is what is to be found again.
"""

from __future__ import annotations

from pathlib import Path

import msgspec


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """`tells` say the fact, `bare` says it as an answer to a question of `leads`, `asks` ask for it long after.
    `aside` is what one adds to either, with a word of one of `asks`; `echo` how a reply repeats it. `near` are messages
    about somebody else (`who` there) that share words with `asks`; `lectures` what a long reply says of the subject.
    Facts that are `advised` are the reply's own: it tells, the user leads.
    """

    values: tuple[str, ...]
    tells: tuple[str, ...]
    leads: tuple[str, ...]
    bare: tuple[str, ...]
    aside: str
    asks: tuple[str, ...]
    echo: str
    near: tuple[str, ...]
    lectures: tuple[str, ...]
    advised: bool = False


KINDS = msgspec.json.decode((Path(__file__).parent / "facts.json").read_bytes(), type=tuple[Kind, ...])
"""Twenty: of the first eighteen users tell, of the last two replies."""
