"""How long a prompt would be, where its engine cannot count."""

from __future__ import annotations

from palaver.chat import HEAD, Chat
from palaver.core.parameters import Tool
from tests.chat.asking import request, system
from tests.chat.puppets import PuppetEngine


async def test_an_estimate_is_of_all_that_is_shown(chat: Chat, engine: PuppetEngine) -> None:
    """Instructions of turns above, and tools, too."""
    engine.capabilities -= {"count"}
    engine.can_count = False
    said = "Be kind. " * 400
    live = await chat.say(request(system(said), "one", conversation="c"))
    play = await engine.play()
    play.say("yes")
    play.finish()
    await live.ended()
    below = request("two", conversation="c", parent=HEAD, is_whole=True)
    plain = await chat.windows.length(below)
    assert plain > 400
    tool = Tool(name="look", description="Look. " * 400)
    more = await chat.windows.length(
        request("two", conversation="c", parent=HEAD, is_whole=True, tools=[tool])
    )
    assert more > plain + 400
