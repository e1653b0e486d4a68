"""What every store must do: the suite that each implementation inherits and passes as a whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from palaver.stores.base import Store
from tests.stores.contract_admission import Admissions
from tests.stores.contract_attachments import Attachments, DeletingAttachments
from tests.stores.contract_branches import Branching, Forking
from tests.stores.contract_choices import Choices, DeletingChoices
from tests.stores.contract_conversations import Adding, Describing, Making
from tests.stores.contract_crowds import Crowds
from tests.stores.contract_deletion import DeletingMessages, DeletingMore, Felling, Retention
from tests.stores.contract_endings import Endings
from tests.stores.contract_foresight import Foresight
from tests.stores.contract_interleavings import Interleavings
from tests.stores.contract_keys import ApiKeys
from tests.stores.contract_marks import Expiring, Marks
from tests.stores.contract_naming import Naming
from tests.stores.contract_openings import Opening, Sending
from tests.stores.contract_owners import OwnersApart
from tests.stores.contract_places import Places
from tests.stores.contract_reading import Reading
from tests.stores.contract_resends import Resends
from tests.stores.contract_responses import Carrying, Forgetting
from tests.stores.contract_search import Searching
from tests.stores.contract_sequences import Sequences
from tests.stores.contract_shown import Mapping, Shown
from tests.stores.contract_titles import Titles
from tests.stores.contract_turn_lists import TurnLists
from tests.stores.contract_vectors import Vectors
from tests.stores.contract_windows import Windows
from tests.stores.talking import Tables


class StoreContract(
    Admissions,
    Naming,
    Endings,
    Reading,
    Crowds,
    Sequences,
    Interleavings,
    Branching,
    Forking,
    Making,
    Adding,
    Describing,
    Choices,
    DeletingChoices,
    DeletingMessages,
    DeletingMore,
    Retention,
    Felling,
    ApiKeys,
    OwnersApart,
    Places,
    Resends,
    Windows,
    Foresight,
    TurnLists,
    Carrying,
    Forgetting,
    Sending,
    Opening,
    Titles,
    Attachments,
    DeletingAttachments,
    Searching,
    Vectors,
    Marks,
    Expiring,
    Shown,
    Mapping,
):
    """Inherit it as `Test…`, and say how a store is opened and what it holds."""

    def opened(self, folder: Path) -> AbstractAsyncContextManager[Store]:
        """The store that is kept in `folder`, open; the same folder is the same store."""
        raise NotImplementedError

    def tables(self, folder: Path) -> Tables:
        """All that the store in `folder` holds, read beside it."""
        raise NotImplementedError

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path / "store"

    @pytest.fixture
    async def store(self, folder: Path) -> AsyncIterator[Store]:
        async with self.opened(folder) as store:
            yield store
