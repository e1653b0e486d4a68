"""A receipt as lines of text: what a model saw of a conversation, what not, and why. Pure.

1–48  left out: 48 messages; the window begins after them
  49  user       3k7q  17 tokens
  50  assistant  x0mz  5 tokens
      … 7 messages, 84 tokens …
  58  assistant  c4de  7 tokens
  59  user       t9aa  17 tokens
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from palaver.cli.messages import short_ids
from palaver.cli.wording import counted, line

ENDS = 2
"""Messages that are always shown of either end of a run."""
REASONS = {
    "start": "it is the first one",
    "model": "another model answered before",
    "instructions": "the instructions changed",
    "tools": "the tools changed",
    "deletion": "a message that the model saw was deleted",
    "overflow": "there was no more room",
    "user": "other messages were to be shown",
}
"""Why an epoch begins."""
WHY = {
    "window": "the window begins after {them}",
    "client": "the client did not send {them}",
    "deleted": "deleted, or a call or a result whose other part is",
}
"""Why messages are left out."""
BY = {"tool": "by the model", "setting": "by a setting", "user": "as was asked for"}
"""Who has earlier messages quoted."""
SKIPPED = "the window skips {them}"
"""Why, of those between others that it holds."""
Seen = Mapping[str, Any]


def lines_of(receipt: Mapping[str, Any], *, whole: bool = False) -> list[str]:
    """The lines of a receipt. In the middle of long runs messages are only counted, unless the `whole` is wanted."""
    lines = [_summary(receipt), *_cached(receipt), _epoch(receipt)]
    before = (counted(receipt["instructions"], "instruction"), counted(receipt["tools"], "tool"))
    lines.append(f"before the messages: {', '.join(before)}")
    lines += _places(receipt, whole)
    lines += [_note(note) for note in receipt.get("notes", [])]
    if receipt["continues"]:
        lines.append("The prompt ends in the beginning of the reply, which goes on from there.")
    return lines + [f"warning: {line(warning)}" for warning in receipt["warnings"]]


def reason(name: str) -> str:
    """Why an epoch begins, in words."""
    return REASONS.get(name, name)


def _summary(receipt: Mapping[str, Any]) -> str:
    tokens, size = receipt["prompt_tokens"], receipt["context_size"]
    about = "about " if receipt["counted"] == "estimate" else ""
    if tokens is None:
        long = "a prompt of unknown length" + (f", of at most {size:,} tokens" if size else "")
    elif size is None:
        long = f"{about}{tokens:,} tokens of an unknown number"
    else:
        long = f"{about}{tokens:,} of {size:,} tokens ({100 * tokens / size:.0f} %)"
    kept = f"  {receipt['reserved']:,} kept free for the reply" if receipt["reserved"] else ""
    return f"{line(receipt['model'])}  {receipt['window']}  {long}{kept}"


def _cached(receipt: Mapping[str, Any]) -> list[str]:
    """How much was not prefilled again, where the engine says so. Servers of before say nothing of it."""
    cached, tokens = receipt.get("cached_tokens"), receipt["prompt_tokens"]
    return [] if cached is None or tokens is None else [f"{cached:,} of {tokens:,} prompt tokens were cached"]


def _epoch(receipt: Mapping[str, Any]) -> str:
    epoch = receipt["epoch"]
    if not epoch["began"]:
        return f"epoch {_end(epoch['id'])}  goes on; it began because {reason(epoch['reason'])}"
    named = "a new epoch" if receipt["turn"] is None else f"epoch {_end(epoch['id'])}"
    idle = ", prepared while idle" if epoch.get("prepared") else ""
    return f"{named}  begins here because {reason(epoch['reason'])}{idle}"


def _note(note: Mapping[str, Any]) -> str:
    """What was quoted with a message. Servers of before say nothing of it."""
    what = counted(len(note["quotes"]), "earlier message") if note["quotes"] else "nothing that was found"
    quoted = f": {', '.join(_end(quote['message']) for quote in note['quotes'])}" if note["quotes"] else ""
    return f"recalled with {note['place'] + 1} {BY.get(note['by'], '')}: {what}{quoted}"


def _end(id: str) -> str:
    return short_ids([id])[id]


def _places(receipt: Mapping[str, Any], whole: bool) -> list[str]:
    """What was seen and what not, in the order of the path."""
    short = short_ids(each["id"] for each in receipt["messages"] if each["id"])
    rows: list[tuple[int, str, str]] = []
    for _, run in groupby(enumerate(receipt["messages"]), lambda each: each[1]["place"] - each[0]):
        rows += _run([seen for _, seen in run], short, whole)
    rows += [(out["first"], _numbers(out), _left_out(out)) for out in receipt["left_out"]]
    rows.sort()
    width = max((len(number) for _, number, _ in rows), default=0)
    return [f"  {number.rjust(width)}  {text}".rstrip() for _, number, text in rows]


def _run(run: Sequence[Seen], short: Mapping[str, str], whole: bool) -> Iterator[tuple[int, str, str]]:
    """The rows of messages that follow each other. What was deleted since is always shown."""
    last = len(run) - ENDS
    for shown, group in groupby(
        enumerate(run), lambda each: whole or not ENDS <= each[0] < last or each[1]["deleted"]
    ):
        several = [seen for _, seen in group]
        if shown or len(several) < 2:
            for seen in several:
                yield seen["place"], str(seen["place"] + 1), _message(seen, short)
        else:
            yield several[0]["place"], "", _counted(several)


def _counted(several: Sequence[Seen]) -> str:
    """Messages in the middle of a run."""
    known = [seen["tokens"] for seen in several if seen["tokens"] is not None]
    tokens = f", {counted(sum(known), 'token')}" if len(known) == len(several) else ""
    return f"… {counted(len(several), 'message')}{tokens} …"


def _message(seen: Seen, short: Mapping[str, str]) -> str:
    role = "(deleted)" if seen["deleted"] else seen["role"] or ""
    id = short[seen["id"]] if seen["id"] else ""
    tokens = "" if seen["tokens"] is None else counted(seen["tokens"], "token")
    width = max(map(len, short.values()), default=0)
    return f"{role:<9}  {id.ljust(width)}  {tokens}".rstrip()


def _numbers(out: Mapping[str, Any]) -> str:
    first, last = out["first"] + 1, out["last"] + 1
    return f"{first}–{last}" if last > first else str(first)


def _left_out(out: Mapping[str, Any]) -> str:
    is_between = out["why"] == "window" and out["first"] > 0
    why = SKIPPED if is_between else WHY.get(out["why"], out["why"])
    them = "it" if out["messages"] == 1 else "them"
    return f"left out: {counted(out['messages'], 'message')}; {why.format(them=them)}"
