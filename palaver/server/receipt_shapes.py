"""Receipts and epochs as the API shows them."""

from __future__ import annotations

from typing import Literal

import msgspec

from palaver.chat.windows import Shown
from palaver.core import ids
from palaver.core.epoch import Reason
from palaver.core.message import Role
from palaver.core.recall import Recalled, RecalledBy
from palaver.core.receipt import LeftOut, Why
from palaver.core.summaries import Failure, SummaryRef
from palaver.core.window_settings import Mode
from palaver.server.paging import page_of
from palaver.stores.base import EpochRecord


class SeenMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that the model saw. `place` is its number on the path, from 0; `tokens` how long it is by itself, by
    the model's own tokenizer, null where that was not counted. `id` is null for what is not stored, and for what was
    deleted since (`deleted`) and is gone; in the reply of a turn that is not stored, so are `role` and `tokens`."""

    place: int
    id: str | None
    role: Role | None
    tokens: int | None
    deleted: bool


class LeftOutMessages(msgspec.Struct, frozen=True, kw_only=True):
    """Messages that the model did not see: those from the place `first` to the place `last`.

    `why` says whose doing it was: the `window` starts after them (for want of room), the `client` did not send them,
    or they were `deleted`, or are a tool's call or result whose other part was.
    """

    first: int
    last: int
    messages: int
    why: Why


class EpochRef(msgspec.Struct, frozen=True, kw_only=True):
    """The epoch of a turn. `began` is whether it began with this turn, and `reason` why it did. `prepared` is whether
    it was chosen, and where its engine does so its beginning prefilled, while nobody waited; that says something only
    where it `began`."""

    id: str
    reason: Reason
    began: bool
    prepared: bool


class QuoteBody(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a message (its id): the characters of its text from `start` up to `stop`, excluded."""

    message: str
    start: int
    stop: int


class NoteBody(msgspec.Struct, frozen=True, kw_only=True):
    """What was quoted of messages that the window does not show, with the message at this `place` of the path.

    `by` says who had it recalled: the model (``tool``), a ``setting``, or the request itself (``user``). A model's
    call that brought nothing has no `quotes`.
    """

    place: int
    by: RecalledBy
    quotes: list[QuoteBody]


class SummarySeen(msgspec.Struct, frozen=True, kw_only=True):
    """The summary that stood for messages that were left out, from the place `first` to `last`, in one `version`. One
    that was deleted since has no `id`, and covers nothing."""

    id: str
    version: int
    first: int
    last: int


class ReceiptBody(msgspec.Struct, frozen=True, kw_only=True):
    """What the model saw of a conversation in one turn, and what not.

    The prompt is `instructions` (so many system and developer messages from before the first question), `tools` (so
    many), a `summary`, the `messages`, and `notes`: what was quoted, for this turn and before it in its epoch, of
    messages that the window does not show; `offers_recall` is whether the model was offered the tool `recall` for
    that, which is not counted among its tools. `summary_failed` says why what was left out is in no summary, or not
    all of it, although summaries are on: ``empty``, ``too_long``, ``failed``, ``none_yet``. `prompt_tokens` is how
    long it was, as its engine `counted` it, or by an estimate; null where nobody knows. `cached_tokens` of it were not
    prefilled again; null where the engine does not say. `context_size` is the most that prompt and reply may have
    together, null where that is not known, and so many tokens were `reserved` of it for the reply. `path` is how many
    messages the path has, up to the one that was answered. `continues` is whether the prompt ended in the beginning of
    the reply. `turn` is null in a dry run, `conversation` where nothing is stored.
    """

    object: Literal["receipt"] = "receipt"
    turn: str | None
    conversation: str | None
    model: str
    window: Mode
    epoch: EpochRef
    context_size: int | None
    reserved: int
    prompt_tokens: int | None
    cached_tokens: int | None
    counted: Literal["engine", "estimate"] | None
    instructions: int
    tools: int
    path: int
    summary: SummarySeen | None = None
    summary_failed: Failure | None = None
    messages: list[SeenMessage]
    notes: list[NoteBody]
    offers_recall: bool
    left_out: list[LeftOutMessages]
    continues: bool
    warnings: list[str]


class EpochBody(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of turns whose prompts each begin with the one before; see `reason` for why it began.

    `start` is the place on the path of the first message that its turns see, and so are those of the `gap` (from, up
    to), which they do not see. `summary` is what they see of what stands before. `turns` is how many there are of
    them, `first_turn` the one that began it.
    """

    id: str
    object: Literal["epoch"] = "epoch"
    model: str
    reason: Reason
    start: int
    gap: tuple[int, int] | None
    summary: SummarySeen | None = None
    turns: int
    first_turn: str
    created_at: int


class EpochPage(msgspec.Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[EpochBody]
    first_id: str
    last_id: str
    has_more: bool


def receipt_body(shown: Shown) -> ReceiptBody:
    receipt = shown.receipt
    steps = {step.depth: step for step in shown.steps}
    seen = [depth for start, stop in receipt.seen for depth in range(start, stop)]
    return ReceiptBody(
        turn=ids.as_chat_completion(shown.turn) if shown.turn else None,
        conversation=shown.conversation,
        model=receipt.model,
        window=receipt.mode,
        epoch=EpochRef(
            id=receipt.epoch, reason=receipt.reason, began=receipt.began, prepared=receipt.prepared
        ),
        context_size=receipt.context_size,
        reserved=receipt.reserved,
        prompt_tokens=receipt.prompt_tokens,
        cached_tokens=receipt.cached_tokens,
        counted=receipt.counted,
        instructions=receipt.instructions,
        tools=receipt.tools,
        path=receipt.path,
        messages=[
            SeenMessage(
                place=depth,
                id=step.id or None if step else None,
                role=step.message.role if step else None,
                tokens=shown.tokens.get(depth),
                deleted=step.deleted if step else False,
            )
            for depth in seen
            for step in (steps.get(depth),)
        ],
        left_out=[_left_out(out) for out in receipt.left_out],
        notes=[_note(recalled) for recalled in receipt.recalled],
        offers_recall=receipt.offers_recall,
        summary=_summary(receipt.summary),
        summary_failed=receipt.summary_failed,
        continues=receipt.continues,
        warnings=receipt.warnings,
    )


def epoch_page(found: list[EpochRecord], limit: int) -> EpochPage:
    """A page of at most `limit`, of what was found when one more was asked for."""
    return page_of(EpochPage, found, limit, _epoch)


def _note(recalled: Recalled) -> NoteBody:
    quotes = [QuoteBody(message=each.message, start=each.start, stop=each.stop) for each in recalled.quotes]
    return NoteBody(place=recalled.depth, by=recalled.by, quotes=quotes)


def _summary(shown: SummaryRef | None) -> SummarySeen | None:
    if shown is None:
        return None
    return SummarySeen(id=shown.id, version=shown.version, first=0, last=shown.stop - 1)


def _left_out(out: LeftOut) -> LeftOutMessages:
    return LeftOutMessages(first=out.start, last=out.stop - 1, messages=out.stop - out.start, why=out.why)


def _epoch(record: EpochRecord) -> EpochBody:
    epoch = record.epoch
    return EpochBody(
        id=epoch.id,
        model=epoch.model,
        reason=epoch.reason,
        start=epoch.span.start,
        gap=epoch.span.gap,
        summary=_summary(epoch.summary),
        turns=record.turns,
        first_turn=ids.as_chat_completion(record.first_turn),
        created_at=epoch.began // 1000,
    )
