"""The Python front door: conversations over the store of this machine's user.

`Palaver.open` finds the process that owns the store and speaks to it; where there is none, it becomes the owner
itself, with the same server inside, so that whoever comes next finds it. Either way it uses the public API only.

    async with Palaver.open() as palaver:
        async with palaver.say([{"role": "user", "content": "Hello!"}]) as reply:
            async for piece in reply:
                print(piece.text, end="")

Whatever chat completions can be asked for is a parameter of `say`: tools, forms, several replies, thinking.

    async with palaver.say(history, tools=tools, reasoning_effort="low") as reply:
        async for piece in reply:
            print(piece.text, end="")
    history.append(reply.message)
    for call in reply.tool_calls:
        result = run(call["function"]["name"], call["function"]["arguments"])
        history.append({"role": "tool", "tool_call_id": call["id"], "content": result})

What the model saw of a conversation is in the receipt of its turn (`receipt`, or `reply.context` where `say` was asked
for it with ``context=True``); what it would see is said by `foresee`, which takes what `say` does and asks nobody.

    receipt = await palaver.receipt(reply.turn)
    for left_out in receipt["left_out"]:
        print(f"{left_out['messages']} messages: {left_out['why']}")
"""

from palaver.library.client import Palaver
from palaver.library.reply import Choice, Piece, Reply

__all__ = ["Choice", "Palaver", "Piece", "Reply"]
