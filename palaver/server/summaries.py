"""``/v1/conversations/{conversation}/summaries``: what stands in windows for what these leave out. Ours."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from palaver.chat import Chat
from palaver.core.errors import InvalidRequest
from palaver.core.summaries import Summary
from palaver.deletion import Deletion
from palaver.server.body import decode, decode_fields, read_body
from palaver.server.conversation_shapes import USER_HEADERS, ConversationQuery, find
from palaver.server.exchange import exchange_of
from palaver.server.route import Operation, json_response, path_value
from palaver.server.settings import ServerSettings
from palaver.server.sse import unless_gone

TEXT_LENGTH = 20_000


class SummaryBody(msgspec.Struct, frozen=True, kw_only=True):
    """A summary of the path to a `message`: of the places on it from `first` to `last`. Times are in seconds since
    1970.

    `version` is one more with each change of its text. `model` wrote that; null for a person. Windows show none that is
    not `enabled`. A `stale` one is of messages that are not on the path to the head any more.
    """

    id: str
    object: Literal["conversation.summary"] = "conversation.summary"
    conversation: str
    message: str
    first: int
    last: int
    version: int
    text: str
    model: str | None
    enabled: bool
    stale: bool
    created_at: int
    updated_at: int


class SummaryList(msgspec.Struct, frozen=True, kw_only=True):
    """All summaries of a conversation, those that cover most first."""

    object: Literal["list"] = "list"
    data: list[SummaryBody]
    first_id: str
    last_id: str
    has_more: Literal[False] = False


class SummaryRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to sum up, and who is to do that."""

    to: Annotated[
        str | None,
        Meta(
            description="The id of the last message that it covers; without it, all that the conversation's window "
            "does not show."
        ),
    ] = None
    model: Annotated[
        str | None,
        Meta(
            description="The model to ask, also one that costs something; by default the server's `summary_model`, or "
            "the model that answered last there, if that costs nothing."
        ),
    ] = None


class SummaryUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be changed of a summary: at least one."""

    text: Annotated[
        Annotated[str, Meta(min_length=1, max_length=TEXT_LENGTH)] | None,
        Meta(description="What it says from now on."),
    ] = None
    enabled: Annotated[bool | None, Meta(description="Whether windows show it.")] = None


class SummaryDeleted(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["conversation.summary.deleted"] = "conversation.summary.deleted"
    deleted: Literal[True] = True


_request = msgspec.json.Decoder(SummaryRequest)
_update = msgspec.json.Decoder(SummaryUpdate)


class Summaries:
    def __init__(self, chat: Chat, settings: ServerSettings) -> None:
        self._chat = chat
        self._store = chat.store
        self._settings = settings
        self._deletion = Deletion(chat)

    def operations(self) -> list[Operation]:
        common: dict[str, Any] = {"query": ConversationQuery, "headers": USER_HEADERS}
        path = "/conversations/{conversation}/summaries"
        return [
            Operation(
                method="GET",
                path=path,
                handler=self.list,
                summary="The summaries of a conversation",
                description="Each is of its messages from the first on, those that cover most first. Windows that "
                "leave messages out show one, where the setting `summaries` is on; the messages themselves stay.",
                reply=SummaryList,
                **common,
            ),
            Operation(
                method="POST",
                path=path,
                handler=self.make,
                scope="write",
                is_limited=True,
                summary="Have a summary made now",
                description="A model is asked. Where there is a summary of the same messages it is made anew. The next "
                "turn whose window leaves all of these messages out begins a new epoch that shows it.",
                body=SummaryRequest,
                needs_body=False,
                reply=SummaryBody,
                **common,
            ),
            *self._of_one(path + "/{summary}", common),
        ]

    def _of_one(self, path: str, common: dict[str, Any]) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path=path,
                handler=self.retrieve,
                summary="One summary",
                reply=SummaryBody,
                **common,
            ),
            Operation(
                method="POST",
                path=path,
                handler=self.update,
                scope="write",
                summary="Edit a summary, or switch it off or on",
                description="The next turn whose window showed it begins a new epoch.",
                body=SummaryUpdate,
                reply=SummaryBody,
                **common,
            ),
            Operation(
                method="DELETE",
                path=path,
                handler=self.delete,
                scope="write",
                summary="Delete a summary",
                description="What it is about stays. Turns of the conversation that run are stopped: they may have "
                "been shown it.",
                reply=SummaryDeleted,
                **common,
            ),
        ]

    async def list(self, request: Request) -> Response:
        owner, conversation = await self._conversation(request)
        data = [_body(each) for each in await self._store.summaries(owner, conversation)]
        first, last = (data[0].id, data[-1].id) if data else ("", "")
        return json_response(SummaryList(data=data, first_id=first, last_id=last))

    async def make(self, request: Request) -> Response:
        body = await read_body(request, self._settings.max_body_bytes)
        asked = decode(body or b"{}", _request)
        owner, conversation = await self._conversation(request)
        made, usage = await unless_gone(
            request.receive,
            self._chat.summaries.now.ask(owner, conversation, to=asked.to, model=asked.model),
        )
        if (meter := exchange_of(request).meter) is not None:
            meter.charge(usage.total_tokens)
        return json_response(_body(made))

    async def retrieve(self, request: Request) -> Response:
        owner, conversation = await self._conversation(request)
        return json_response(
            _body(await self._store.summary(owner, conversation, path_value(request, "summary")))
        )

    async def update(self, request: Request) -> Response:
        asked = decode(await read_body(request, self._settings.max_body_bytes), _update)
        owner, conversation = await self._conversation(request)
        id = path_value(request, "summary")
        await self._store.summary(owner, conversation, id)  # first that it is there
        if asked.text is None and asked.enabled is None:
            raise InvalidRequest("Input required: `text` or `enabled`.", param="text")
        if asked.text is not None:
            if not asked.text.strip():
                raise InvalidRequest(
                    "`text` says nothing; delete the summary, or switch it off.", param="text"
                )
            await self._store.edit_summary(owner, conversation, id, asked.text)
        if asked.enabled is not None:
            await self._store.switch_summary(owner, conversation, id, is_off=not asked.enabled)
        return json_response(_body(await self._store.summary(owner, conversation, id)))

    async def delete(self, request: Request) -> Response:
        owner, conversation = await self._conversation(request)
        id = path_value(request, "summary")
        await self._deletion.summary(owner, conversation, id)
        return json_response(SummaryDeleted(id=id))

    async def _conversation(self, request: Request) -> tuple[str, str]:
        """Whose, and the id of, the conversation that the path names."""
        query = decode_fields(request.query_params, ConversationQuery)
        found = await find(self._store, request, query.user)
        return exchange_of(request).owner, found.id


def _body(summary: Summary) -> SummaryBody:
    return SummaryBody(
        id=summary.id,
        conversation=summary.conversation,
        message=summary.message,
        first=0,
        last=summary.stop - 1,
        version=summary.version,
        text=summary.text,
        model=summary.model,
        enabled=not summary.is_off,
        stale=summary.is_stale,
        created_at=summary.created_at // 1000,
        updated_at=summary.updated_at // 1000,
    )
