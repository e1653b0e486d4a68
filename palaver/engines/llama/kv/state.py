"""What an engine holds, for those who want to see it."""

from __future__ import annotations

from palaver.engines.base import Held, KvCache
from palaver.engines.llama.kv.slots import Keeping, Slots
from palaver.engines.llama.workers import Worker


async def kv_state(unkept: str, slots: Slots, keeping: Keeping | None, worker: Worker | None) -> KvCache:
    """`unkept` is why nothing of the model can be saved, empty where it can."""
    if keeping is None:
        why = unkept or "nothing is to be kept"
        return KvCache(held=slots.held(worker), unkept=why, counts=dict(slots.counts))
    snapshots = keeping.snapshots
    await snapshots.open_or_none()
    saved = [
        Held(
            owner=each.head.owner,
            conversation=each.head.conversation,
            where="memory" if each.disk is None else "disk",
            tokens=each.head.tokens,
            bytes=each.bytes,
            used=each.used,
        )
        for each in snapshots.of(keeping.model)
    ]
    refused = {f"refused_{why}": times for why, times in snapshots.refused(keeping.model).items()}
    return KvCache(
        held=[*slots.held(worker), *saved],
        memory_quota=snapshots.memory_quota,
        disk_quota=snapshots.disk_quota if snapshots.folder is not None else 0,
        counts={**slots.counts, **refused},
    )
