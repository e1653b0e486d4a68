"""Several replies (`n`) of an engine that gives one at a time: so many generators, merged into one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable

import msgspec

from palaver.core.errors import EngineError
from palaver.core.turn import Accepted, EngineEvent, Finish, Progress, Usage
from palaver.engines.base import Options

GenerateOne = Callable[[Options], AsyncGenerator[EngineEvent, None]]
SEEDS = 2**64


async def several(generate: GenerateOne, options: Options) -> AsyncGenerator[EngineEvent, None]:
    """The events of all replies that `options` ask for, as `Engine.generate` gives them.

    `generate` makes the generator of one reply; it is given the options with an `n` of 1 and, where there is a
    seed, that of this choice: the choices' seeds follow each other. All run at once; an engine lets those wait
    that it has no place for. `Accepted` comes when all are accepted or one has something to say. What is waited for
    is told of the first choice, until one has something to say. The first
    failure is raised and ends the others, and so does closing.
    """
    count = options.parameters.n
    if count == 1:
        async with contextlib.aclosing(generate(options)) as events:
            async for event in events:
                yield event
        return
    # At most as many events as choices wait for the reader, so that a slow one slows the engine down.
    news: asyncio.Queue[tuple[int, EngineEvent | Exception]] = asyncio.Queue(count)
    tasks = [
        asyncio.create_task(_follow(generate(_options_of(options, choice)), choice, news))
        for choice in range(count)
    ]
    finishes: dict[int, Finish] = {}
    accepted, is_told, has_said = 0, False, False
    try:
        while len(finishes) < count:
            choice, said = await news.get()
            if isinstance(said, Exception):
                raise said
            event = said
            if isinstance(event, Progress):
                if choice == 0 and not has_said:
                    yield event
                continue
            accepted += isinstance(event, Accepted)
            if not is_told and (accepted == count or not isinstance(event, Accepted)):
                is_told = True
                yield Accepted()
            if isinstance(event, Finish):
                finishes[choice] = event
            elif not isinstance(event, Accepted):
                has_said = True
                yield msgspec.structs.replace(event, choice=choice)
        yield _merged([finishes[choice] for choice in range(count)])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _follow(
    generator: AsyncGenerator[EngineEvent, None],
    choice: int,
    news: asyncio.Queue[tuple[int, EngineEvent | Exception]],
) -> None:
    """Pass on what one generator says, up to its end or its failure."""
    try:
        async with contextlib.aclosing(generator) as events:
            async for event in events:
                await news.put((choice, event))
                if isinstance(event, Finish):
                    return
        raise EngineError("The model ended without saying so.")
    except asyncio.CancelledError:
        this = asyncio.current_task()
        if this is None or this.cancelling():
            raise
        await news.put(
            (choice, EngineError("The model gave up on the reply."))
        )  # nobody else would hear of it
    except Exception as error:
        await news.put((choice, error))


def _options_of(options: Options, choice: int) -> Options:
    seed = options.parameters.seed
    if seed is not None:  # a signed number of 64 bits, as the request has it
        seed = (seed + choice + SEEDS // 2) % SEEDS - SEEDS // 2
    parameters = msgspec.structs.replace(options.parameters, n=1, seed=seed)
    return msgspec.structs.replace(options, parameters=parameters)


def _merged(finishes: list[Finish]) -> Finish:
    first, *others = finishes
    return msgspec.structs.replace(
        first,
        usage=_together([finish.usage for finish in finishes]),
        others=[finish.reason for finish in others],
        warnings=list(dict.fromkeys(warning for finish in finishes for warning in finish.warnings)),
    )


def _together(usages: list[Usage | None]) -> Usage | None:
    """What all replies cost, the prompt counted once: as the first of them read it, before it was cached for the
    others. None where one of them does not say."""
    told = [usage for usage in usages if usage is not None]
    if len(told) < len(usages):
        return None
    thought = [usage.reasoning_tokens for usage in told if usage.reasoning_tokens is not None]
    cached = [usage.cached_tokens for usage in told if usage.cached_tokens is not None]
    return Usage(
        prompt_tokens=told[0].prompt_tokens,
        completion_tokens=sum(usage.completion_tokens for usage in told),
        cached_tokens=min(cached, default=None),
        reasoning_tokens=sum(thought) if thought else None,
    )
