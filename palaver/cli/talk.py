"""One conversation in the hands of a command: where one is in it, who answers, and how one more is said."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import msgspec

from palaver.cli.link import Link, unless_missing
from palaver.cli.messages import is_cut, last_item
from palaver.cli.names import model_name, new_names
from palaver.cli.resent import IMAGES, resent, text_of
from palaver.cli.saying import Said, answer
from palaver.cli.show import last_items
from palaver.cli.terminal import ReplyView
from palaver.core.errors import (
    EngineUnavailable,
    InvalidRequest,
    MessageNotFound,
    ModelNotFound,
    PalaverError,
    RequestError,
)
from palaver.library import Palaver

T = TypeVar("T")
PAGE = 100
RECALLING = {"window": {"recall": "always"}}
Message = Mapping[str, Any]


class Open(msgspec.Struct, frozen=True):
    """A question without an answer: its text, and the id of its message where that is known."""

    text: str | None = None
    id: str | None = None


class Talk:
    """A conversation in which one says something after the other.

    What is kept is not sent again: a question names the message that it goes on from (`parent`), so that it comes
    where the person who asks it reads it, whatever others say there meanwhile. Where nothing is kept, all
    is sent with every question, as any client of the API does.

    `model` is what --model said, or None for the model of whoever owns the store. `name` is the name or id of
    the conversation; without one, each question is a conversation of its own. `instructions` come first. With `recalls`
    questions are shown with what was said before that they are about.
    """

    def __init__(
        self,
        link: Link,
        *,
        model: str | None = None,
        name: str | None = None,
        instructions: str | None = None,
    ) -> None:
        self.link = link
        self.name = name
        self._asked = model
        self._chosen: str | None = None
        self._given = [{"role": "system", "content": instructions}] if instructions else []
        self._instructions: Sequence[Message] = self._given
        self._kept = True
        self.recalls = False
        self._at: str | None = None
        """The message to go on from; None at the beginning."""
        self._open = Open()
        self._unkept: list[dict[str, Any]] = []
        """What was said, where it is not kept."""

    @property
    def model(self) -> str:
        """The name of the model that is asked."""
        if self._chosen is not None:
            return self._chosen
        # Where this process owns the store, --model was a setting of it, and may be the path of a file.
        palaver = self.link.palaver
        return palaver.model if self._asked is None or palaver.own else model_name(self._asked)

    @property
    def is_kept(self) -> bool:
        """Whether what is said here is stored."""
        return self._kept

    @property
    def has_begun(self) -> bool:
        """Whether anything was said here."""
        return self._at is not None or bool(self._unkept)

    def choose(self, model: str) -> None:
        """From here on this model is asked."""
        self._chosen = model

    def of(self, name: str | None) -> Talk:
        """Another conversation with the same model; nothing of it is loaded."""
        other = Talk(self.link, model=self._asked, name=name)
        other._chosen = self._chosen
        return other

    async def check_model(self) -> None:
        """Raises RequestError where whoever answers has no such model, saying who that is."""
        palaver = self.link.palaver
        try:
            await self.link.asked(lambda palaver: palaver.model_named(self.model))
        except RequestError as error:
            if palaver.own or error.code != ModelNotFound.default_code:
                raise
            who = f"It is the palaver at {palaver.address} that answers here, as long as it runs."
            raise RequestError(f"{error.message} {who}", param=error.param, code=error.code) from error

    async def load(self) -> None:
        """Go to the head of the conversation, or to its beginning where it does not exist yet.

        Questions at the end that nobody answered are open: whoever goes on asks anew, beside them.
        """
        name = self.name
        if name is None or not self._kept:
            return
        self._at, self._open = None, Open()
        there = await unless_missing(self.link.asked(lambda palaver: palaver.conversation(name)))
        self._instructions = self._given or (there["instructions"] if there else [])
        last = await self._last(None, lambda item: True) if there else None
        if last is not None and last["role"] == "user":
            self._open = Open(text_of(last), last["id"])
            last = await self._last(None, lambda item: item["role"] != "user")
        self._at = last["id"] if last else None

    async def say(self, text: str, view: ReplyView) -> Said:
        """Ask, show the reply as it comes, and go on from there.

        Raises PalaverError. The conversation can go on then: what was stored of this question is known.
        """
        question = {"role": "user", "content": text}
        try:
            said = await self._ask([question], view, self._at)
        except PalaverError:
            if not view.text:
                self._open = Open(text, self._open.id if self._open.text == text else None)
            raise
        if not self._kept:
            self._unkept += [question, {"role": "assistant", "content": said.text}]
        return said

    async def retry(self, view: ReplyView) -> Said:
        """Have the last question answered again; the reply stands beside the last one. Raises PalaverError."""
        if self._open.id is not None:
            return await self._ask([], view, self._open.id)
        if self._open.text is not None:
            return await self.say(self._open.text, view)
        if not self._kept:
            return await self.say(self._taken_back(), view)
        return await self._ask([], view, (await self._last_question())["id"])

    async def edit(self, text: str, view: ReplyView) -> Said:
        """Ask something else in place of the last question, which stays beside it. Raises PalaverError."""
        if self._open.text is None:
            if self._kept:
                self._at = (await self._last_question())["parent"]
            else:
                self._taken_back()
        return await self.say(text, view)

    async def go_on(self, view: ReplyView) -> Said:
        """Have the last reply continued, which was cut off. Raises PalaverError."""
        last = await self._last(self._at, lambda item: True) if self._at else None
        if last is None or not is_cut(last):
            raise InvalidRequest("The last reply was not cut off.")
        return await self._ask([], view, self._at)

    async def receipt(self) -> dict[str, Any]:
        """What the model saw for the last reply. Raises MessageNotFound where that is not known; PalaverError."""
        last = await self._last(self._at, lambda item: item["turn"] is not None) if self._at else None
        if last is None:
            unkept = "What models see is not kept here; /context TEXT says what one would see."
            raise MessageNotFound("No model has answered here yet." if self._kept else unkept)
        return await self.link.asked(partial(Palaver.receipt, turn=last["turn"]))

    async def foresee(self, text: str) -> dict[str, Any]:
        """The receipt of what would be asked if this were said next. Raises PalaverError."""
        new = [{"role": "user", "content": text}]
        return await self.link.asked(
            lambda palaver: self._with_all(new, self._at, self.model, palaver.foresee)
        )

    async def last_question(self) -> str:
        """The text of the last question. Raises MessageNotFound where there is none."""
        if self._open.text is not None:
            return self._open.text
        if not self._kept:
            return str(next((m["content"] for m in self._unkept[::-1] if m["role"] == "user"), ""))
        return text_of(await self._last_question())

    async def move(self, message: str) -> None:
        """Make a message the head of the conversation, and go there. Raises RequestError."""
        await self.link.asked(partial(Palaver.set_head, ref=self.name or "", message=message))
        await self.load()

    async def _ask(self, new: Sequence[Message], view: ReplyView, parent: str | None) -> Said:
        try:
            said = await self._answer(new, view, parent)
        except PalaverError:
            await self.load()
            raise
        self._open = Open()
        self._kept = said.conversation is not None
        if said.conversation is not None and self.name is not None:
            await self._arrive(said.conversation, said.turn, new, parent)
        return said

    async def _answer(self, new: Sequence[Message], view: ReplyView, parent: str | None) -> Said:
        """The answer of whoever owns the store; if it goes before it says anything, that of the next one."""
        model, here = self.model, self.link.palaver.own
        try:
            return await self._answered(new, view, parent, model)
        except EngineUnavailable:
            if here:
                raise
            view.end()  # before anything else is said
            await self.link.renew()
            if view.text:
                raise
            if self.model != model:
                raise EngineUnavailable(f"{model} is gone. Say it again, and {self.model} answers.") from None
            return await self._answered(new, view, parent, model)

    async def _answered(
        self, new: Sequence[Message], view: ReplyView, parent: str | None, model: str
    ) -> Said:
        return await self._with_all(new, parent, model, partial(answer, self.link.palaver, view=view))

    async def _with_all(
        self, new: Sequence[Message], parent: str | None, model: str, ask: Callable[..., Awaitable[T]]
    ) -> T:
        """What `ask` gets that is handed all that a question takes along."""
        options: dict[str, Any] = {"model": model, "conversation": self.name}
        if self._kept:
            options |= RECALLING if self.recalls else {}
            try:
                sent = self._given if parent else self._instructions
                return await ask([*sent, *new], parent=parent, **options)
            except RequestError as error:
                if not (parent and new) or error.param != "parent" or error.code is not None:
                    raise
            # This palaver records nothing, so nothing can hang below what is stored: it has to be told all.
            await self._unkeep(parent)
        # As much of it as the model has room for, as it is where it is kept.
        return await ask([*self._instructions, *self._unkept, *new], window="auto", **options)

    async def _arrive(self, ref: str, turn: str, new: Sequence[Message], parent: str | None) -> None:
        """Go on from the reply of this turn."""
        latest = await self.link.asked(lambda palaver: palaver.messages(ref, limit=1))
        if (item := next(iter(latest["data"]), None)) and item["turn"] == turn:
            self._at = item["id"]
            return
        for item in (await self.link.asked(lambda palaver: palaver.leaves(ref, limit=PAGE)))["data"]:
            if item["turn"] == turn:
                self._at = item["id"]
                if parent is None:
                    # The server takes what begins a conversation anew for a chore, and leaves the head alone.
                    await self.link.asked(partial(Palaver.set_head, ref=ref, message=item["id"]))
                return
        self._open = Open(new[-1]["content"] if new else None, None if new else parent)  # nothing was said

    async def _unkeep(self, end: str) -> None:
        """Take what is stored up to a message, to be sent from here on."""
        name = self.name or ""
        items = await self.link.asked(lambda palaver: last_items(palaver, name, 0, end, IMAGES))
        self._unkept = resent(items)
        self._kept, self._at = False, None

    def _taken_back(self) -> str:
        """The last question, taken out of what was said. Raises MessageNotFound."""
        while self._unkept:
            message = self._unkept.pop()
            if message["role"] == "user":
                return str(message["content"])
        raise MessageNotFound("Nothing was asked here yet.")

    async def _last_question(self) -> Message:
        question = await self._last(self._at, lambda item: item["role"] == "user") if self._at else None
        if question is None:
            raise MessageNotFound("Nothing was asked here yet.")
        return question

    async def _last(self, end: str | None, fits: Callable[[Message], bool]) -> Message | None:
        """The last message that fits on the path to `end`, by default the head."""
        return await self.link.asked(partial(last_item, ref=self.name or "", fits=fits, to=end))


async def new_name(link: Link) -> str:
    """A name for a conversation that begins now, which no other has. Raises PalaverError."""
    for name in new_names(datetime.now()):
        if await unless_missing(link.asked(partial(Palaver.conversation, ref=name))) is None:
            return name
    raise AssertionError("new_names has an end")
