"""The verbs of titles that a model makes."""

from __future__ import annotations

from typing import Protocol

from palaver.stores.base.values import Item


class Titles(Protocol):
    """A model's title takes the place of the first words, and of nothing else: a user's stays."""

    async def titled_by_words(self, owner: str, conversation: str) -> Item | None:
        """The message whose first words are a conversation's title (ids).

        None where it has none, or another's; where it is temporary, and where it is a task that nothing has continued.
        Raises ConversationNotFound.
        """

    async def set_model_title(self, owner: str, conversation: str, title: str, message: str) -> bool:
        """Call a conversation what a model made of a message; the title goes with that, when it is deleted.

        Compare and set: only where the first words of this message still are its title. Whether that was so. It stays
        where it stands in lists. Raises ConversationNotFound.
        """
