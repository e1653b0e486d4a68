"""Recalling: finding what left the window, and quoting it where the turn needs it."""

from __future__ import annotations

from collections.abc import Collection

from palaver.core.errors import InvalidRequest
from palaver.core.message import INSTRUCTING, Message, ToolCall
from palaver.core.recall import (
    MOST_QUOTES,
    NAME,
    QUOTE_CHARACTERS,
    Lookup,
    Note,
    Quote,
    Quoted,
    RecalledBy,
    lookup_of,
    part_around,
    told,
)
from palaver.core.searching import MARKS, MOST_CHARACTERS, Query, read_query
from palaver.core.window_settings import Mode, WindowSettings
from palaver.engines.base import Model
from palaver.finding import Finding
from palaver.running.counting import estimated
from palaver.running.fitted import Fitted
from palaver.running.needs import Asked
from palaver.stores.base import Match, Scope, Store

LOOKED_AT = 60
"""As many of the best matches are looked at: others may be shown already, or stand on other branches."""
WORTH = 0.3
"""What is quoted counts at least so much of what the best match counts."""
LEAST_SIZE = 2048
"""In a smaller context, in tokens, the tool itself would take too much of the room."""
AROUND_QUOTE = 60
"""About so many tokens stand around a quote: its id, who said it and when."""
CHARACTERS_A_TOKEN = 2
"""A quote has at most so many characters for each token that there is room for."""
LEAST_CHARACTERS = 80
"""Nothing is quoted in less."""
BY_SETTING = 3
"""Nobody asked for more than what a question needs."""
SURE = 1.5
"""A quote is taken for so much longer than it is estimated: it must not be what is too much."""
ALL_SHOWN = "Nothing was found that is not shown above already."
ENOUGH = "You cannot look up more in this turn. Answer now, with what you have."
NO_ROOM = "There is no room to quote more."


class Recalling:
    """Recalls for turns, from a store."""

    def __init__(self, store: Store, finding: Finding) -> None:
        self._store = store
        self._finding = finding
        self.refused: set[str] = set()
        """The models (their names) whose servers refuse tools."""

    async def for_question(self, fitted: Fitted, by: RecalledBy) -> Fitted:
        """The same window with quotes before its question, as far as anything fits. Raises StoreError."""
        question = fitted.steps[-1] if fitted.steps else None
        is_asked = question is not None and question.message.role == "user"
        if not is_asked or not leaves_out(fitted) or fitted.receipt.continues:
            return fitted
        assert question is not None
        budget = fitted.made.note_tokens
        if fitted.room is not None and fitted.receipt.prompt_tokens is not None:
            # The room was measured with the note's place kept free; a prompt that took it leaves less.
            budget = min(budget, fitted.room + budget - fitted.receipt.prompt_tokens)
        lookup = Lookup(query=question.message.text[:MOST_CHARACTERS])
        try:
            quoted = await self._quoted(fitted, lookup, budget, most=BY_SETTING)
        except InvalidRequest:  # a question without words, such as a picture
            return fitted
        if not quoted:
            return fitted
        note = Note(depth=question.depth, by=by, quoted=quoted)
        return fitted.with_note(note, _tokens(quoted))

    async def by_tool(self, fitted: Fitted, call: ToolCall, left: int, said: str, *, enough: bool) -> Fitted:
        """The same window with a model's call and its answer, which may be about so many tokens long; before the call
        it had `said` something. Where it has called `enough` it is told so. Raises StoreError."""
        answer, quoted = ENOUGH if enough else "", list[Quoted]()
        try:
            if not enough:
                quoted = await self._quoted(
                    fitted, lookup_of(call.function.arguments), left, most=MOST_QUOTES
                )
        except InvalidRequest as error:
            answer = error.message
        if not quoted and not answer:
            answer = NO_ROOM if left <= 0 else ALL_SHOWN
        note = Note(
            depth=fitted.steps[-1].depth, by="tool", quoted=quoted, call=call, answer=answer, said=said
        )
        return fitted.with_note(note, _tokens(quoted))

    async def _quoted(self, fitted: Fitted, lookup: Lookup, budget: int, *, most: int) -> list[Quoted]:
        """What fits best that the window does not show, as much of it as is so many tokens long."""
        window, beginning = fitted.window, fitted.made.beginning
        conversation = beginning.conversation or window.conversation
        end = next((step.id for step in reversed(beginning.steps) if step.id), None)
        query = read_query(lookup.query, param="query")
        if not conversation or end is None or budget <= 0:
            return []
        mine = None
        if lookup.everywhere:
            # What is nobody's may be anybody's: only somebody who is named has other conversations.
            mine = (await self._store.conversation(window.owner, conversation)).end_user
        scope = Scope(
            end_user=mine,
            conversation=conversation if mine is None else None,
            since=lookup.since,
            before=lookup.before,
        )
        matches = await self._finding.find(window.owner, query, scope, limit=LOOKED_AT)
        found = await self._unseen(fitted, conversation, end, matches.found)
        found = [match for match in found if match.score >= WORTH * found[0].score][:most]
        return await self._told(window.owner, conversation, query, found, budget)

    async def _unseen(
        self, fitted: Fitted, conversation: str, end: str, matches: Collection[Match]
    ) -> list[Match]:
        """Those of the matches that are not in the prompt, and of this conversation stand on the path."""
        owner, shown = fitted.window.owner, {step.depth for step in fitted.steps}
        quoted = {each.quote.message for note in fitted.notes for each in note.quoted}
        here = [match.message for match in matches if match.conversation == conversation]
        on_path = await self._store.on_path(owner, end, here) if here else {}
        return [
            match
            for match in matches
            if match.role not in INSTRUCTING
            and match.message not in quoted
            and (
                match.conversation != conversation
                or (match.message in on_path and on_path[match.message] not in shown)
            )
        ]

    async def _told(
        self, owner: str, conversation: str, query: Query, found: list[Match], budget: int
    ) -> list[Quoted]:
        ids = [match.message for match in found]
        items = {item.id: item for item in await self._store.messages(owner, ids)}
        excerpts = await self._store.excerpts(owner, query, ids)
        quoted: list[Quoted] = []
        for match in found:
            item = items.get(match.message)
            if item is None or item.deleted or not item.message.text.strip():
                continue
            text, left = item.message.text, budget - _tokens(quoted)
            most = min(QUOTE_CHARACTERS, max(LEAST_CHARACTERS, (left - AROUND_QUOTE) * CHARACTERS_A_TOKEN))
            start, stop = part_around(text, _marked(excerpts.get(match.message, "")), most)
            one = Quoted(
                quote=Quote(match.message, start, stop),
                role=match.role,
                text=text[start:stop],
                created_at=item.created_at,
                conversation=match.conversation if match.conversation != conversation else None,
            )
            if _tokens([*quoted, one]) > budget:
                break
            quoted.append(one)
        return quoted


def offers(asked: Asked, model: Model, standing: WindowSettings, mode: Mode, size: int | None) -> bool:
    """Whether a turn may be offered the tool: where its model calls tools, has the room for it, and the request leaves
    it free to. `size` is that of the context in tokens, None where that is not known.

    `standing` are the settings without the request's own: who wants quotes for one question takes nothing from the
    prompts of the others, which begin with the same tools.
    """
    parameters = asked.parameters
    wanted = standing.recall if asked.asks.recall == "always" else asked.asks.recall or standing.recall
    return (
        mode == "auto"
        and wanted in (None, "tool")
        and (size is None or size >= LEAST_SIZE)
        and asked.window.conversation is not None
        and "tools" in model.engine.capabilities
        and parameters.n == 1
        and parameters.tool_choice in (None, "auto")
        and parameters.format is None
        and all(tool.name != NAME for tool in asked.window.tools)
    )


def leaves_out(fitted: Fitted) -> bool:
    """Whether the window leaves anything of its path out."""
    return any(out.why == "window" for out in fitted.receipt.left_out)


def _marked(excerpt: str) -> str:
    """The first word of an excerpt that was looked for."""
    _, _, after = excerpt.partition(MARKS[0])
    return after.partition(MARKS[1])[0]


def _tokens(quoted: list[Quoted]) -> int:
    return int(estimated(Message("user", told(quoted))) * SURE) if quoted else 0
