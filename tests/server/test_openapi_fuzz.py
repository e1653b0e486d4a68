"""Whatever the description of the API allows or forbids is answered as it says, and never by a failure.

The cases are Schemathesis's: of each operation the bounds of everything that it takes, and requests drawn at random.
They are sent to a real door, where most of the ids that they name stand for something.
"""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.generation.feedback import NO_FEEDBACK
from structlog.testing import capture_logs

from tests.server.conftest import KEY
from tests.server.fuzzing import door, plant, store_some

HANGING = 60
"""Seconds after which a request counts as never answered."""
# What fits the types may still name what is not there, contradict itself, or ask a model for what it cannot do.
CONFIG = schemathesis.Config.from_dict({"checks": {"positive_data_acceptance": {"enabled": False}}})


class Asking:
    """Sends the cases of an operation, and keeps what is wrong with the answers: an example of each kind. `stored` is
    what there is, and left so that it is there afterwards, too."""

    def __init__(self, http: requests.Session, address: str, operation: Any, stored: dict[str, str]) -> None:
        self._http = http
        self._address = address
        self._deletes = operation.method == "delete" or operation.path == "/v1/retention"
        self._stored = stored
        self.statuses: Counter[int] = Counter()
        self.wrong: dict[str, str] = {}

    def ask(self, case: Case[Any], random: Random, template: object = None) -> None:
        plant(case, self._stored, random, template)
        answer = case.call(base_url=self._address, session=self._http, timeout=HANGING)
        self.statuses[answer.status_code] += 1
        if self._deletes and answer.status_code < 300:
            self._stored |= store_some(self._http, self._address)
        try:
            case.validate_response(answer)
        except BaseExceptionGroup as failures:
            for failure in failures.exceptions:
                if not _is_text_in_the_end(case, failure):
                    self.wrong.setdefault(f"{type(failure).__name__}: {str(failure)[:300]}", str(failures))


def _is_text_in_the_end(case: Case[Any], failure: BaseException) -> bool:
    """Whether a note to look for (`metadata[key]=value`) was forbidden, because it was no text: in a query it is."""
    about = case.meta.phase.data.parameter if case.meta else None
    if case.method != "GET" or type(failure).__name__ != "AcceptedNegativeData":
        return False
    notes = (case.query or {}).get("metadata", {})
    are_texts = isinstance(notes, dict) and all(isinstance(value, str) for value in notes.values())
    return about == "metadata" or not are_texts


def bounds(schema: Any, operation: Any, most: int, random: Random) -> tuple[list[Case[Any]], object]:
    """Cases at the bounds of what an operation takes, and the body that those of them vary which it allows."""
    generation = schema.config.generation_for(operation=operation)
    cases = list(
        schema.iter_coverage_cases(operation, generation_modes=generation.modes, generation_config=generation)
    )
    bodies = (
        case.body for case in cases if isinstance(case.body, dict) and case.meta.generation.mode.is_positive
    )
    template = next(bodies, None)
    return (random.sample(cases, most) if len(cases) > most else cases), template


def draw(operation: Any, mode: GenerationMode, asking: Asking, examples: int, *, always_alike: bool) -> None:
    @settings(
        max_examples=examples,
        derandomize=always_alike,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(mode, feedback=NO_FEEDBACK), random=st.randoms(use_true_random=False))
    def each(case: Case[Any], random: Random) -> None:
        asking.ask(case, random)

    each()


@pytest.mark.parametrize(
    ("most_bounds", "examples"), [(80, 3), pytest.param(1_000_000, 150, marks=pytest.mark.slow)]
)
def test_the_description_is_kept(
    most_bounds: int,
    examples: int,
    tmp_path: Path,
    subtests: pytest.Subtests,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with capture_logs() as logs, door(tmp_path) as address, requests.Session() as http:
        http.headers["authorization"] = f"Bearer {KEY}"
        document = http.get(f"{address}/openapi.json").json()
        schema = schemathesis.openapi.from_dict(document, config=CONFIG)
        stored = store_some(http, address)
        operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
        for operation in operations:
            with subtests.test(operation.label):
                asking, random = Asking(http, address, operation, stored), Random(operation.label)
                cases, template = bounds(schema, operation, most_bounds, random)
                for case in cases:
                    asking.ask(case, random, template)
                for mode in GenerationMode:
                    # Nothing else can be what is not allowed: every text may stand in a path.
                    if mode.is_positive or operation.query or operation.body:
                        draw(operation, mode, asking, examples, always_alike=examples < 10)
                assert not asking.wrong, "\n\n".join(asking.wrong.values())
                assert any(status < 300 for status in asking.statuses), asking.statuses
                assert not any(status >= 500 for status in asking.statuses), asking.statuses
    assert len(operations) == sum(map(len, document["paths"].values()))
    assert not [entry for entry in logs if entry["log_level"] in ("error", "critical")]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
