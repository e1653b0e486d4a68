"""Many who ask, leave and are cut off, all at once: everything is given back in the end."""

import asyncio
import random
from collections import Counter

from palaver.core.errors import EngineBroke, EngineUnavailable
from palaver.core.parameters import Parameters
from palaver.engines.llama import LlamaEngine
from tests.engines.llama.conftest import MakeEngine
from tests.engines.llama.talk import ENDLESS, ask, kill, options, slots, unix, until, window

LONG = Parameters(temperature=0.0, max_tokens=60)
REQUESTS = 60
KILLS = (20, 40)
"""The worker is killed when so many requests were sent."""


async def one(engine: LlamaEngine, dice: random.Random, number: int) -> str:
    """Ask something and perhaps leave after some events; how it ended."""
    texts = dice.choice([ENDLESS, ("What is the capital of France?",), ("hi " * 200,)])
    prompt = window(
        *texts, conversation=str(dice.randrange(8)), owner=dice.choice(["ada", "bob"]), turn=str(number)
    )
    leave_after = dice.choice([1, 2, 5, 30, 10_000])
    events = engine.generate(prompt, options(LONG))
    seen = 0
    try:
        async for _ in events:
            seen += 1
            if seen == leave_after:
                return "left"
        return "finished"
    except (EngineUnavailable, EngineBroke):
        return "cut off"
    finally:
        await events.aclose()


@unix
async def test_nothing_is_lost_in_a_storm(make_engine: MakeEngine) -> None:
    dice = random.Random(1)
    engine = make_engine(slots=3, batch=64)
    tasks: list[asyncio.Task[str]] = []
    for number in range(REQUESTS):
        tasks.append(asyncio.create_task(one(engine, dice, number)))
        if dice.random() < 0.3:
            await asyncio.sleep(dice.random() / 20)
        if dice.random() < 0.2:
            dice.choice(tasks).cancel()
        if number in KILLS:
            await until(lambda: engine.worker_pid)
            kill(engine)
    ends = Counter(await asyncio.gather(*(ended(task) for task in tasks)))
    assert min(ends["finished"], ends["left"], ends["cancelled"]) > 2
    assert sum(ends.values()) == REQUESTS
    await until(lambda: engine._places.taken == 0)
    assert engine.waiting == 0
    assert (await ask(engine, window("What is the capital of France?"))).text.endswith("Paris.")
    assert [slot["is_processing"] for slot in await slots(engine)] == [False] * 3


async def ended(task: asyncio.Task[str]) -> str:
    await asyncio.wait([task])
    return "cancelled" if task.cancelled() else task.result()
