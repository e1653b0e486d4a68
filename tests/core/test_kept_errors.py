"""Errors of turns, kept by their names: who asks later is told the same as who heard them."""

from __future__ import annotations

import pytest

from palaver.core.errors import (
    ContextLengthExceeded,
    ConversationBusy,
    EngineBroke,
    EngineError,
    EngineRefused,
    InvalidRequest,
    LeaseLost,
    PalaverError,
    TooManyRequests,
    UnsupportedParameter,
    kept_error,
    kept_name,
)


@pytest.mark.parametrize(
    ("error", "name", "kind"),
    [
        (EngineBroke("It broke."), "EngineBroke", EngineError),
        (EngineRefused("No.", status=400), "EngineRefused", EngineError),
        (EngineRefused("Slow down.", status=429), "TooManyRequests", TooManyRequests),
        (InvalidRequest("No.", param="x"), "InvalidRequest", InvalidRequest),
        (UnsupportedParameter("No.", param="x"), "UnsupportedParameter", InvalidRequest),
        (ContextLengthExceeded(prompt_tokens=2, context_size=1), "ContextLengthExceeded", InvalidRequest),
        (ConversationBusy(), "ConversationBusy", EngineError),
        (LeaseLost(), "LeaseLost", EngineError),
    ],
)
def test_what_is_kept_of_an_error(error: PalaverError, name: str, kind: type[PalaverError]) -> None:
    assert kept_name(error) == name
    later = kept_error(name, error.public)
    assert (type(later), later.public) == (kind, error.public)


def test_one_that_has_no_name() -> None:
    assert type(kept_error(None, "It ended.")) is type(kept_error("interrupted", "It ended.")) is EngineError
