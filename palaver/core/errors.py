"""The one exception tree.

PalaverError
├── RequestError                what the caller sent cannot be served
│   ├── InvalidRequest            a field is missing, of the wrong type or out of range
│   │   ├── UnsupportedParameter    a known parameter that this engine or version cannot honour
│   │   └── ContextLengthExceeded   the prompt, or prompt and reply, do not fit the model's context
│   ├── BodyTooLarge              the request body is over the limit
│   ├── NotAuthenticated          no valid API key
│   ├── Forbidden                 a foreign Host or Origin, or a content type that is not JSON
│   │   └── ScopeMissing            the API key may not do this
│   ├── NotFound                  no such route
│   │   ├── ModelNotFound           no model of that name is configured
│   │   ├── ConversationNotFound    no such conversation for this owner
│   │   ├── MessageNotFound         no such message for this owner
│   │   ├── TurnNotFound            no such turn for this owner
│   │   ├── AttachmentNotFound      no such file for this owner
│   │   ├── SummaryNotFound         no such summary in this conversation
│   │   └── ApiKeyNotFound          no such API key
│   ├── TurnRunning               what is asked of the turn is possible only when it has ended
│   ├── TurnCancelled             the turn was stopped, or deleted, before it could answer
│   ├── ConversationBusy          another turn answers there, and this one may not wait
│   └── TooManyRequests           a limit on waiting or running turns is reached
│       └── RateLimited             the API key has used up what it may in a minute
├── EngineError                 what generates failed
│   ├── EngineUnavailable         it is starting, restarting or cannot be reached; try again
│   ├── EngineTimeout             it accepted the request and then said nothing for too long
│   ├── EngineRefused             it refused the request, with its own words
│   └── EngineBroke               it broke off in the middle of a reply
├── StoreError                  what keeps failed
│   ├── StoreFull                 no space left on its disk
│   ├── StoreUnavailable          locked, read-only or unreadable
│   ├── StoreRefused              what it was asked can never work: trying again changes nothing
│   ├── StoreCorrupt              the database file is damaged, or is not a palaver store
│   ├── StoreTooNew               written by a newer palaver
│   ├── StoreOwned                another process owns it
│   └── LeaseLost                 the turn no longer belongs to this process
├── HubError                    the hub of models cannot be reached, or refuses
└── ConfigError                 a setting that cannot be used

The first paragraph of each class's docstring is its default message. Foreign errors (sqlite3, aiohttp, msgspec) are
mapped into this tree once, at the edge where they arise; the server maps the tree to HTTP in one table.
"""

from __future__ import annotations


class PalaverError(Exception):
    """Something went wrong inside palaver.

    `message` is for whoever runs palaver and may name a file; `public` is for clients and does not.
    """

    def __init__(self, message: str | None = None, *, public: str | None = None) -> None:
        said = (self.__doc__ or type(self).__name__).strip()
        self.message = message or " ".join(said.split("\n\n")[0].split())
        self.public = public or self.message
        super().__init__(self.message)


class RequestError(PalaverError):
    """The request cannot be served.

    `param` names the field at fault as a path into the body (``messages[2].role``), or is None when no single field
    is; `code` is the machine-readable code of the API's error body.
    """

    default_code: str | None = None

    def __init_subclass__(cls, code: str | None = None) -> None:
        """`code` is what errors of the class have where none is said; without it, that of the class above."""
        super().__init_subclass__()
        cls.default_code = code or cls.default_code

    def __init__(
        self, message: str | None = None, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.param = param
        self.code = code or self.default_code


class InvalidRequest(RequestError):
    """The request is not valid."""


class UnsupportedParameter(InvalidRequest, code="unsupported_parameter"):
    """This parameter is known but cannot be honoured here."""


class ContextLengthExceeded(InvalidRequest, code="context_length_exceeded"):
    """The prompt does not fit the model's context."""

    def __init__(
        self, *, prompt_tokens: int, context_size: int, max_tokens: int | None = None, param: str = "messages"
    ) -> None:
        if max_tokens is None:
            message = (
                f"The input ({prompt_tokens} tokens) is longer than the model's context length "
                f"({context_size} tokens)."
            )
        else:
            message = (
                f"Input validation error: `inputs` tokens + `max_new_tokens` must be <= {context_size}. "
                f"Given: {prompt_tokens} `inputs` tokens and {max_tokens} `max_new_tokens`"
            )
        super().__init__(message, param=param)
        self.prompt_tokens = prompt_tokens
        self.context_size = context_size

    def naming(self, part: str, tokens: int) -> ContextLengthExceeded:
        """The same error, which also says what of the prompt is that long."""
        self.message = self.public = f"{self.message} {part} has {tokens} of them."
        return self


class BodyTooLarge(RequestError, code="request_too_large"):
    """The request body is larger than this server accepts."""


class NotAuthenticated(RequestError, code="invalid_api_key"):
    """Invalid API key provided."""


class Forbidden(RequestError, code="forbidden"):
    """This request is not allowed."""


class ScopeMissing(Forbidden, code="insufficient_scope"):
    """This API key may not do this."""


class NotFound(RequestError, code="not_found"):
    """There is nothing at this address."""


class ModelNotFound(NotFound, code="model_not_available"):
    """No model of this name is available."""


class ConversationNotFound(NotFound, code="conversation_not_found"):
    """No conversation has this id."""


class MessageNotFound(NotFound, code="message_not_found"):
    """No message has this id."""


class TurnNotFound(NotFound, code="turn_not_found"):
    """No turn has this id."""


class AttachmentNotFound(NotFound, code="file_not_found"):
    """No file has this id."""


class SummaryNotFound(NotFound, code="summary_not_found"):
    """There is no such summary."""


class ApiKeyNotFound(NotFound, code="api_key_not_found"):
    """No API key has this id."""


class TurnRunning(RequestError, code="turn_running"):
    """This turn is still running; ask again when it has ended."""


class TurnCancelled(RequestError, code="turn_cancelled"):
    """This turn was cancelled before it said anything."""


class ConversationBusy(RequestError, code="conversation_locked"):
    """Another turn is being answered in this conversation; try again when it has ended."""


class TooManyRequests(RequestError, code="rate_limit_exceeded"):
    """Too many requests are running or waiting; try again shortly."""


class RateLimited(TooManyRequests):
    """This API key has reached its limit; try again when a minute has passed.

    `retry_after` is in seconds."""

    def __init__(
        self, message: str | None = None, *, retry_after: float = 60.0, code: str | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class EngineError(PalaverError):
    """The model failed to answer."""


class EngineUnavailable(EngineError):
    """The model is starting or restarting; try again in a moment.

    `retry_after` is in seconds, None where nobody said."""

    def __init__(self, message: str | None = None, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EngineTimeout(EngineError):
    """The model server did not answer in time."""


class EngineRefused(EngineError):
    """The model server refused the request.

    `status` is its HTTP status (400–599), `param` the field it named; `retry_after` is in seconds. None: not said."""

    def __init__(
        self,
        message: str | None = None,
        *,
        status: int = 400,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.retry_after = retry_after


class EngineBroke(EngineError):
    """The model broke off in the middle of the reply; what it had said is kept."""


class StoreError(PalaverError):
    """The store failed."""


class StoreFull(StoreError):
    """The disk that holds the store is full; nothing was changed."""


class StoreUnavailable(StoreError):
    """The store cannot be read or written at the moment; nothing was changed."""


class StoreRefused(StoreError):
    """The store refuses this; trying again changes nothing."""


class StoreCorrupt(StoreError):
    """The store's file is damaged or is not a palaver store."""


class StoreTooNew(StoreError):
    """The store was written by a newer version of palaver."""


class StoreOwned(StoreError):
    """Another process owns this store.

    `address` is the base URL at which the owner serves it, or None while it is not serving yet."""

    def __init__(self, message: str | None = None, *, address: str | None = None) -> None:
        super().__init__(message)
        self.address = address


class LeaseLost(StoreError):
    """The turn is not running under this process any more."""


class HubError(PalaverError):
    """A file of the hub of models cannot be had."""


class ConfigError(PalaverError):
    """A setting cannot be used.

    `setting` is its name in the configuration file."""

    def __init__(self, message: str | None = None, *, setting: str | None = None) -> None:
        super().__init__(message)
        self.setting = setting


def kept_name(error: PalaverError) -> str:
    """What an error is called where it is kept with the turn that it ended."""
    is_limit = isinstance(error, EngineRefused) and error.status == 429
    return TooManyRequests.__name__ if is_limit else type(error).__name__


def kept_error(name: str | None, message: str) -> PalaverError:
    """An error of a turn by the name that it was kept under: as much of it as readers are told."""
    if name == TooManyRequests.__name__:
        return TooManyRequests(message)
    kinds: list[type[InvalidRequest]] = [InvalidRequest, *InvalidRequest.__subclasses__()]
    if name in [kind.__name__ for kind in kinds]:
        return InvalidRequest(message)
    return EngineError(message)
