"""What an assistant said, put together from the items that it was sent as."""

from __future__ import annotations

from palaver.core.message import FunctionCall, Message, Part, TextPart, ToolCall
from palaver.core.thinking import thought_apart
from palaver.server.input_shapes import CallInput, MessageInput, ReasoningInput, empty, joined, read_content


class Reply:
    """A reply, as far as its items have come, the first from `place`. `of` is the id of the stored message that they
    are parts of, where they say so; `ids` are those that do, with their places."""

    def __init__(self, place: int) -> None:
        self.place = place
        self.of: str | None = None
        self.ids: list[tuple[int, str]] = []
        self.thoughts: list[str] = []
        self.parts: list[Part] | None = None
        self.calls: list[ToolCall] = []

    def takes(self, item: MessageInput | ReasoningInput | CallInput, of: str | None) -> bool:
        """Whether an item goes on with this."""
        if of is not None and self.of is not None:
            return of == self.of
        return isinstance(item, CallInput) or (self.parts is None and not self.calls)

    def add(
        self, place: int, item: MessageInput | ReasoningInput | CallInput, of: str | None, at: str
    ) -> None:
        """Take an item as a part of it; `at` is its place in the body. Raises InvalidRequest."""
        is_run = of is not None and self.of == of and item.id not in [id for _, id in self.ids]
        if of is not None and item.id is not None:
            self.of = of
            self.ids.append((place, item.id))
        match item:
            case ReasoningInput():
                text = "".join(part.text for part in item.content or ())
                text = text or "\n\n".join(part.text for part in item.summary or ())
                if is_run and self.thoughts:
                    text = self.thoughts.pop() + text
                self.thoughts += [text] if text else []
            case CallInput():
                if not item.name:
                    raise empty(f"{at}.name")
                self.calls.append(ToolCall(FunctionCall(item.name, item.arguments), item.call_id))
            case MessageInput():
                content = read_content(item.content, f"{at}.content") or ""
                parts: list[Part] = [TextPart(content)] if isinstance(content, str) else content
                self.parts = self.parts or []
                if is_run and self.parts and parts:
                    parts = [*_together(self.parts.pop(), parts[0]), *parts[1:]]
                self.parts += parts

    def message(self) -> Message | None:
        """What it says; None for thinking that nobody can read."""
        if not self.thoughts and self.parts is None and not self.calls:
            return None
        message = Message(
            "assistant",
            joined(self.parts or []),
            tool_calls=self.calls or None,
            reasoning="\n\n".join(self.thoughts) or None,
        )
        return message if self.thoughts else thought_apart(message)


def _together(last: Part, next: Part) -> list[Part]:
    """Two runs of a reply's text: in its message they are one text."""
    if isinstance(last, TextPart) and isinstance(next, TextPart):
        return [TextPart(last.text + next.text)]
    return [last, next]
