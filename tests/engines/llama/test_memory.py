"""Who gets room in memory, who makes it, and who waits: decided without a single worker."""

import asyncio
from collections.abc import Callable

import pytest

from palaver.core.errors import EngineUnavailable
from palaver.engines.llama import memory as module
from palaver.engines.llama.machine import MachineMemory
from palaver.engines.llama.memory import ModelMemory


class Tenant:
    """A model that is loaded at once, and gone one turn of the loop after it is told to."""

    def __init__(self, name: str, memory: ModelMemory, size: int = 10) -> None:
        self.name = name
        self.size = size
        self.memory = memory
        self.uses = 0
        self.unloaded = 0
        self.loading = asyncio.Lock()

    @property
    def in_use(self) -> bool:
        return self.uses > 0

    def unload(self) -> None:
        assert not self.in_use
        self.unloaded += 1
        asyncio.get_running_loop().call_soon(self.memory.give_back, self)

    @property
    def is_loaded(self) -> bool:
        return self in self.memory.loaded

    async def use(self) -> None:
        while self.memory.holds_off(self):
            await self.memory.changed()
        self.uses += 1
        try:
            async with self.loading:
                if not self.is_loaded:
                    await self.memory.take(self)
        except BaseException:
            self.uses -= 1
            raise
        self.memory.used(self)

    def release(self) -> None:
        self.uses -= 1
        self.memory.look()


def tenants(memory: ModelMemory, count: int, size: int = 10) -> list[Tenant]:
    return [Tenant("abcdefgh"[number], memory, size) for number in range(count)]


async def once(tenant: Tenant) -> None:
    await tenant.use()
    tenant.release()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_what_fits_is_loaded_beside_the_others() -> None:
    memory = ModelMemory(30)
    for tenant in tenants(memory, 3):
        await once(tenant)
    assert [tenant.name for tenant in memory.loaded] == ["a", "b", "c"]


async def test_the_one_used_longest_ago_makes_room() -> None:
    memory = ModelMemory(30)
    a, b, c, d, e = tenants(memory, 5)
    for tenant in (a, b, c, a, d):
        await once(tenant)
    assert [tenant.name for tenant in memory.loaded] == ["c", "a", "d"]
    await once(e)
    assert [tenant.name for tenant in memory.loaded] == ["a", "d", "e"]
    assert [tenant.unloaded for tenant in (a, b, c, d, e)] == [0, 1, 1, 0, 0]


async def test_no_more_is_unloaded_than_is_needed() -> None:
    memory = ModelMemory(30)
    small = tenants(memory, 3)
    for tenant in small:
        await once(tenant)
    await once(Tenant("large", memory, 20))
    assert [tenant.name for tenant in memory.loaded] == ["c", "large"]
    await once(small[0])
    assert [tenant.name for tenant in memory.loaded] == ["large", "a"]


async def test_what_is_in_use_is_passed_over() -> None:
    memory = ModelMemory(20)
    a, b, c = tenants(memory, 3)
    await a.use()
    await once(b)
    await once(c)
    assert [tenant.name for tenant in memory.loaded] == ["a", "c"]
    a.release()


async def test_who_waits_is_served_when_a_place_is_free_and_the_first_first() -> None:
    memory = ModelMemory(10)
    a, b, c = tenants(memory, 3)
    await a.use()
    order: list[str] = []

    async def wait(tenant: Tenant) -> None:
        await tenant.use()
        order.append(tenant.name)
        tenant.release()

    tasks = [asyncio.create_task(wait(b))]
    await settle()
    tasks.append(asyncio.create_task(wait(c)))
    await settle()
    assert memory.waiting == 2
    assert order == []
    a.release()
    await asyncio.gather(*tasks)
    assert order == ["b", "c"]
    assert memory.waiting == 0


async def test_a_large_model_is_not_overtaken_by_small_ones() -> None:
    memory = ModelMemory(20)
    a, b, c = tenants(memory, 3)
    large = Tenant("large", memory, 20)
    await a.use()
    first = asyncio.create_task(large.use())
    await settle()
    second = asyncio.create_task(b.use())
    await settle()
    assert not b.is_loaded, "there is room, but not for who is first"
    a.release()
    await first
    assert not second.done()
    large.release()
    await second
    b.release()
    await once(c)


async def test_a_model_that_is_always_busy_does_not_keep_others_out() -> None:
    memory = ModelMemory(10, patience=0.02)
    a, b = tenants(memory, 2)
    await a.use()
    waiting = asyncio.create_task(b.use())
    await settle()
    assert not memory.holds_off(a), "for a while it goes on serving whoever comes"
    await a.use()
    a.release()
    await until(lambda: memory.holds_off(a))
    again = asyncio.create_task(a.use())
    await settle()
    assert not again.done()
    a.release()
    await waiting
    assert b.is_loaded
    assert not again.done()
    b.release()
    await again
    assert a.is_loaded
    a.release()


async def test_who_gives_up_lets_the_others_go_on() -> None:
    memory = ModelMemory(10, patience=0.01)
    a, b, c = tenants(memory, 3)
    await a.use()
    leaves = asyncio.create_task(b.use())
    await until(lambda: memory.holds_off(a))
    again = asyncio.create_task(a.use())
    await settle()
    leaves.cancel()
    await asyncio.wait([leaves])
    await again
    assert memory.waiting == 0
    assert b.uses == 0
    a.release()
    a.release()
    await once(c)


async def test_room_that_comes_in_the_moment_of_leaving_is_not_lost() -> None:
    memory = ModelMemory(10)
    a, b, c = tenants(memory, 3)
    await a.use()
    leaves = asyncio.create_task(b.use())
    await settle()
    a.uses = 0
    memory.give_back(a)  # gives the room to b, which is cancelled before it runs
    assert b.is_loaded
    leaves.cancel()
    await asyncio.wait([leaves])
    assert memory.loaded == []
    await once(c)


async def test_nobody_waits_for_ever() -> None:
    memory = ModelMemory(15, longest_wait=0.02)
    a, b = tenants(memory, 2)
    await a.use()
    with pytest.raises(EngineUnavailable, match=r"no room in memory for the model b: a had it") as caught:
        await b.use()
    assert caught.value.retry_after == module.RETRY_AFTER
    assert memory.waiting == 0
    a.release()
    await once(b)


async def test_what_never_fits_does_not_wait() -> None:
    memory = ModelMemory(10)
    with pytest.raises(EngineUnavailable, match=r"needs about 2\.0 GB, and models may take 0 kB"):
        await memory.take(Tenant("huge", memory, 2 * 10**9))
    await once(Tenant("a", memory))


async def test_a_crowd_with_room_for_one() -> None:
    """Three models, room for one, many requests each: all are served, never two models at a time."""
    memory = ModelMemory(10, patience=0.001)
    served: list[str] = []

    async def request(tenant: Tenant) -> None:
        await tenant.use()
        assert memory.loaded == [tenant]
        await asyncio.sleep(0)
        served.append(tenant.name)
        tenant.release()

    three = tenants(memory, 3)
    async with asyncio.timeout(30):
        await asyncio.gather(*(request(three[number % 3]) for number in range(90)))
    assert sorted(served) == sorted("abc" * 30)
    assert memory.waiting == 0


def test_the_limit_by_itself_is_a_share_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "machine_memory", lambda: MachineMemory(16_000, 10_000))
    assert ModelMemory().limit == 7_000
    assert ModelMemory(5).limit == 5


async def test_who_is_passed_over_in_the_moment_of_leaving_just_leaves() -> None:
    memory = ModelMemory(10)
    a, b = tenants(memory, 2)
    await a.use()
    leaves = asyncio.create_task(b.use())
    await settle()
    leaves.cancel()
    memory.give_back(a)  # before the other has heard
    await asyncio.wait([leaves])
    assert leaves.cancelled()
    assert memory.loaded == []
    await once(b)
