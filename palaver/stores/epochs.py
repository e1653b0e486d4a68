"""Epochs: how they are kept, and read again for the turns that may go on with them."""

from __future__ import annotations

from palaver.core.epoch import Above, Epoch
from palaver.core.summaries import SummaryRef
from palaver.stores.database import Row, Session
from palaver.stores.rows import receipt_of, span_of


def epoch_number(session: Session, held: Row, epoch: Epoch) -> int:
    """The number of the epoch that a turn's window belongs to, which is put on record where it is new."""
    gap_from, gap_to = epoch.span.gap or (None, None)
    shown = epoch.summary
    session.run(
        "add_epoch",
        id=epoch.id,
        conversation=held["conversation"],
        model=epoch.model,
        reason=epoch.reason,
        start=epoch.span.start,
        gap_from=gap_from,
        gap_to=gap_to,
        began_at=epoch.began,
        summary=shown.id if shown else None,
        summary_version=shown.version if shown else None,
        summary_failed=epoch.summary_failed,
    )
    row = session.one("epoch_with_id", id=epoch.id, conversation=held["conversation"])
    assert row is not None
    seq: int = row["seq"]
    return seq


def drop_other_epoch(session: Session, held: Row, epoch: int | None) -> None:
    """A turn that was to be answered by another model first had begun an epoch for that."""
    if held["epoch"] is not None and held["epoch"] != epoch:
        session.run("remove_epochs", epochs=[held["epoch"]])


def above_of(row: Row, instructions: int | None, tools: int | None) -> Above:
    """What a turn with these instructions and tools (numbers) may go on with."""
    receipt = receipt_of(row["receipt"])
    # A turn that lost a reply to a deletion has lost its tools, too: nobody knows any more whether they were the same.
    is_known = row["tools"] is not None or not (receipt and receipt.tools)
    return Above(
        epoch=epoch_of(row),
        same_instructions=row["instructions"] == instructions,
        same_tools=is_known and row["tools"] == tools,
        turn=row["turn"],
        asked=row["asked"],
        prompt_tokens=row["prompt_tokens"],
        completion_tokens=row["completion_tokens"],
        seen=receipt.seen if receipt else [],
        is_strict=receipt is not None and receipt.mode == "strict",
        is_cut=receipt is not None and any(out.why == "client" for out in receipt.left_out),
        notes=len(receipt.recalled) if receipt else 0,
        offers_recall=receipt is not None and receipt.offers_recall,
    )


def epoch_of(row: Row) -> Epoch:
    """An epoch, with the `summary_id` and `summary_stop` of what it shows, None where that is gone."""
    return Epoch(
        id=row["id"],
        model=row["model"],
        reason=row["reason"],
        span=span_of(row),
        began=row["began_at"],
        summary=_summary_of(row),
        summary_failed=row["summary_failed"],
    )


def _summary_of(row: Row) -> SummaryRef | None:
    if row["summary_version"] is None:
        return None
    return SummaryRef(row["summary_id"] or "", row["summary_version"], row["summary_stop"] or 0)
