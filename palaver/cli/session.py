"""What `palaver chat` does: read a line, have it answered, show the reply, until the person leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from palaver.cli.banner import BANNER, POCKET
from palaver.cli.drawing import drawing
from palaver.cli.earlier import show_last
from palaver.cli.link import Link, unless_missing
from palaver.cli.list import conversations, rows
from palaver.cli.messages import message_id, tree_of
from palaver.cli.models import rows as model_rows
from palaver.cli.names import to_continue
from palaver.cli.prompt import Prompt, prompt
from palaver.cli.receipt import lines_of
from palaver.cli.saying import Said
from palaver.cli.talk import Talk, new_name
from palaver.cli.terminal import ReplyView, Terminal
from palaver.cli.wording import columns
from palaver.config import Config
from palaver.core.errors import (
    ContextLengthExceeded,
    InvalidRequest,
    MessageNotFound,
    PalaverError,
    RequestError,
)

LISTED = 10
LOOKED_AT = 100
"""How many of the last conversations --continue looks at."""
HELP = """\
/new [NAME]    begin a new conversation
/model [NAME]  say which model answers and which there are, or change it
/list          the last conversations
/show          the last messages of this one
/retry         have the last question answered again
/edit [TEXT]   ask something else in place of the last question
/continue      go on with a reply that was cut off
/recall TEXT   ask with what was said before about it, where the model sees no more of that
/context       what the model saw last; /context TEXT what it would see
/tree          the branches that this makes; /branch MESSAGE goes to one
/help          this
/quit          leave; so do Ctrl-D, and Ctrl-C twice
After /edit alone comes the other question; an empty line, Ctrl-C or a command changes nothing.
A line that begins with a space is never a command. Alt-Enter begins a new line. Ctrl-C stops a reply."""
TOO_LONG = """\
Nothing is lost. What was said before makes room by itself, unless `truncation` is disabled; but this is
too long for the model even alone. Say less, or choose another with /model."""


async def converse(config: Config, model: str | None, name: str | None, go_on: bool) -> int:
    """Hold a conversation; the exit code. Raises PalaverError where it cannot begin."""
    terminal = Terminal()

    def renewed(link: Link) -> None:
        by = "this one answers now" if link.palaver.own else f"the one at {link.palaver.address} answers now"
        terminal.note(f"The palaver that answered has gone; {by}, with the model {link.palaver.model}.")

    async with Link(config, renewed) as link:
        session = Session(link, terminal, model)
        await session.begin(name, go_on)
        return await session.run(prompt())


class Session:
    """A person, a terminal and a conversation. `model` is what --model said."""

    def __init__(self, link: Link, terminal: Terminal, model: str | None) -> None:
        self._link = link
        self._terminal = terminal
        self._model = model
        self._talk = Talk(link, model=model)
        self._unkept = False
        self._prompt: Prompt | None = None
        self._put_back: str | None = None
        """A line that was read and is still to be taken."""
        self._leaving = False
        """Whether one more Ctrl-C leaves."""
        self._commands = {
            "/new": self._new,
            "/model": self._change_model,
            "/list": self._list,
            "/show": self._show,
            "/retry": self._retry,
            "/edit": self._edit,
            "/continue": self._continue,
            "/recall": self._recall,
            "/context": self._context,
            "/tree": self._tree,
            "/branch": self._branch,
            "/help": self._help,
        }

    async def begin(self, name: str | None, go_on: bool) -> None:
        """Say with whom one talks, and what was said last. Raises PalaverError."""
        if self._model:
            await self._talk.check_model()
        if go_on:
            name = to_continue(await conversations(self._link.palaver, LOOKED_AT, include_tasks=True))
            if name is None:
                self._terminal.note("There is no conversation to go on with yet, so this is a new one.")
        self._introduce()
        if name is not None:
            await self._open(name)

    def _introduce(self) -> None:
        if self._talk.model == POCKET:
            self._terminal.note(BANNER)
        else:
            self._terminal.note(f"{self._talk.model} answers. /help says what there is to type.")
        self._terminal.note()

    async def run(self, prompt: Prompt) -> int:
        """Until the person leaves; the exit code: 1 where lines were piped in and one of them failed."""
        failed = False
        self._prompt = prompt
        while True:
            try:
                line = self._put_back or await prompt.line()
            except KeyboardInterrupt:
                if self._leaving:
                    break
                self._leaving = True
                self._terminal.note("Ctrl-C again leaves, and so does Ctrl-D.")
                continue
            self._leaving, self._put_back = False, None
            if line is None or line.strip() == "/quit":
                break
            if line.strip():
                failed |= not await self._take(line)
        self._part()
        return int(failed and not self._terminal.is_terminal)

    async def _take(self, line: str) -> bool:
        """Answer a line or do what it says; whether that could be done."""
        try:
            if not line.startswith("/"):
                await self._say(line.strip())
                return True
            command, _, rest = line.strip().partition(" ")
            if command not in self._commands:
                self._terminal.note(f"There is no {command}; /help says what there is.")
                return False
            await self._commands[command](rest.strip())
        except PalaverError as error:
            self._terminal.complain(error.message)
            if isinstance(error, RequestError) and error.code == ContextLengthExceeded.default_code:
                self._terminal.note(TOO_LONG)
            return False
        return True

    async def _say(self, text: str) -> None:
        if self._talk.name is None:
            self._talk.name = await new_name(self._link)
        await self._hear(lambda view: self._talk.say(text, view))

    async def _hear(self, asking: Callable[[ReplyView], Awaitable[Said]]) -> None:
        """Show a reply, and how it ended."""
        view = ReplyView(self._terminal)
        try:
            said = await asking(view)
        except PalaverError:
            view.end()
            if view.text:
                self._terminal.note("It broke off here; what came is kept.")
            raise
        view.end()
        if said.conversation is None and not self._unkept:
            self._unkept = True
            self._terminal.note(
                "This palaver records nothing (record = none): what is said here is not kept."
            )
        if said.stopped:
            self._leaving = True
            self._terminal.note("Stopped; what came is kept. Ctrl-C again leaves.")
        elif said.finish_reason == "length":
            self._terminal.note("It reached its limit of tokens; /continue goes on.")
        if self._terminal.is_terminal:
            self._terminal.note()

    def _part(self) -> None:
        if self._terminal.is_terminal and self._talk.has_begun:
            kept = (
                f"Kept as {self._talk.name}; `palaver chat --continue` goes on."
                if self._talk.is_kept
                else "Not kept."
            )
            self._terminal.note(kept)

    async def _open(self, name: str) -> None:
        """Go on with a conversation, or begin it under this name."""
        self._talk = self._talk.of(name)
        await self._talk.load()
        there = await unless_missing(self._link.asked(lambda palaver: palaver.conversation(name)))
        if there is None:
            self._terminal.note(f"{name} is a new conversation.")
        else:
            await show_last(self._link, self._terminal, there["id"])

    async def _new(self, name: str) -> None:
        self._talk = self._talk.of(None)
        if name:
            await self._open(name)
        else:
            self._terminal.note("A new conversation begins; the one before is kept.")

    async def _change_model(self, name: str) -> None:
        if name:
            await self._link.asked(lambda palaver: palaver.model_named(name))
            self._talk.choose(name)
            self._introduce()
            return
        for line in columns(model_rows(await self._link.asked(lambda p: p.models()), self._talk.model)):
            self._terminal.note(line)

    async def _list(self, _: str) -> None:
        found = await self._link.asked(lambda palaver: conversations(palaver, LISTED, include_tasks=False))
        for line in columns(rows(found)):
            self._terminal.note(line[: self._terminal.out.width])
        self._terminal.note("/new NAME goes on with one of them." if found else "No conversations yet.")

    async def _show(self, _: str) -> None:
        if self._talk.has_begun and self._talk.name:
            await show_last(self._link, self._terminal, self._talk.name)
        else:
            self._terminal.note("Nothing was said here yet.")

    async def _retry(self, _: str) -> None:
        await self._hear(self._talk.retry)

    async def _edit(self, text: str) -> None:
        if not text:
            text = await self._asked_for(await self._talk.last_question())
        if text:
            await self._hear(lambda view: self._talk.edit(text, view))
        else:
            self._terminal.note("Nothing was changed.")

    async def _asked_for(self, before: str) -> str:
        """What is to be asked in place of the question before; empty if the person thinks better of it."""
        if not self._terminal.is_terminal:
            self._terminal.note(f"In place of: {before}")
        before = f" {before}" if before.startswith("/") else before
        try:
            line = await self._prompt.line(before) if self._prompt else None
        except KeyboardInterrupt:
            line = None
        if line and line.startswith("/"):
            self._put_back, line = line, None
        return (line or "").strip()

    async def _continue(self, _: str) -> None:
        await self._hear(self._talk.go_on)

    async def _recall(self, text: str) -> None:
        if not text:
            raise InvalidRequest("/recall takes a question; what was said before about it is shown with it.")
        self._talk.recalls = True
        try:
            await self._say(text)
        finally:
            self._talk.recalls = False

    async def _context(self, text: str) -> None:
        receipt = await (self._talk.foresee(text) if text else self._talk.receipt())
        for line in lines_of(receipt):
            self._terminal.note(line[: self._terminal.out.width])

    async def _tree(self, _: str) -> None:
        ref = self._kept_name()
        conversation = await self._link.asked(lambda palaver: palaver.conversation(ref))
        items = await self._link.asked(lambda palaver: tree_of(palaver, ref))
        for line in drawing(items, conversation["head"]):
            self._terminal.note(line[: self._terminal.out.width])

    async def _branch(self, message: str) -> None:
        ref = self._kept_name()
        if not message:
            raise InvalidRequest("/branch takes the id of a message, or its end, as /tree says it.")
        chosen = await self._link.asked(lambda palaver: message_id(palaver, ref, message))
        await self._talk.move(chosen)
        await show_last(self._link, self._terminal, ref)

    def _kept_name(self) -> str:
        """The name of this conversation. Raises MessageNotFound where nothing is kept of it."""
        if self._talk.name is None or not self._talk.is_kept:
            raise MessageNotFound("Nothing is kept here.")
        return self._talk.name

    async def _help(self, _: str) -> None:
        self._terminal.note(HELP)
