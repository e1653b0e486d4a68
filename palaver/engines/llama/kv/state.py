"""What an engine holds, for those who want to see it."""

from __future__ import annotations

import msgspec

from palaver.engines.base import Held, KvCache
from palaver.engines.llama.kv.slots import Keeping, Slots
from palaver.engines.llama.kv.snapshots import Snapshots
from palaver.engines.llama.workers import Worker


async def kv_state(unkept: str, slots: Slots, keeping: Keeping | None, worker: Worker | None) -> KvCache:
    """`unkept` is why nothing of the model can be saved, empty where it can."""
    if keeping is None:
        why = unkept or "nothing is to be kept"
        return KvCache(held=slots.held(worker), unkept=why, counts=dict(slots.counts))
    saved = await saved_state(keeping.snapshots, keeping.model)
    return msgspec.structs.replace(
        saved, held=[*slots.held(worker), *saved.held], counts={**slots.counts, **saved.counts}
    )


async def saved_state(snapshots: Snapshots, model: str) -> KvCache:
    """What is saved of a model, whether it runs or not."""
    await snapshots.open_or_none()
    held = [
        Held(
            owner=each.head.owner,
            conversation=each.head.conversation,
            where="memory" if each.disk is None else "disk",
            tokens=each.head.tokens,
            bytes=each.bytes,
            used=each.used,
        )
        for each in snapshots.of(model)
    ]
    return KvCache(
        held=held,
        memory_quota=snapshots.memory_quota,
        disk_quota=snapshots.disk_quota if snapshots.folder is not None else 0,
        counts={f"refused_{why}": times for why, times in snapshots.refused(model).items()},
    )
