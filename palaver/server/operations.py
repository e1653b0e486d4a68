"""Everything the door can be asked for, by subject."""

from __future__ import annotations

from palaver.chat import Chat
from palaver.deletion import Deletion
from palaver.server.about import About
from palaver.server.auth import Guard
from palaver.server.branches import Branches
from palaver.server.cache import KvCaches
from palaver.server.compactions import Compactions
from palaver.server.completions import Completions
from palaver.server.conversation_items import ConversationItems
from palaver.server.conversations import Conversations
from palaver.server.deletion import Deletions
from palaver.server.embeddings import Embeddings
from palaver.server.export import Exports
from palaver.server.file_routes import Files
from palaver.server.follow import Following
from palaver.server.keyring import Keyring
from palaver.server.keys import ApiKeys
from palaver.server.messages import Messages
from palaver.server.models import Models
from palaver.server.page import Page
from palaver.server.receipts import Receipts
from palaver.server.response_items import ResponseItems
from palaver.server.responses import Responses
from palaver.server.route import Operation
from palaver.server.search import Searching
from palaver.server.session import Sessions
from palaver.server.settings import ServerSettings
from palaver.server.stored_completions import StoredCompletions
from palaver.server.summaries import Summaries
from palaver.server.text_completions import TextCompletions


def all_operations(chat: Chat, settings: ServerSettings, keyring: Keyring, guard: Guard) -> list[Operation]:
    """The operations of every subject, save those that describe the door itself."""
    return [
        *Receipts(chat, settings).operations(),
        *Completions(chat, settings).operations(),
        *StoredCompletions(chat, settings).operations(),
        *Compactions(chat, settings).operations(),
        *ResponseItems(chat, settings).operations(),
        *Responses(chat, settings).operations(),
        *Following(chat).operations(),
        *TextCompletions(chat, settings).operations(),
        *Embeddings(chat, settings).operations(),
        *Models(chat.catalog).operations(),
        *Conversations(chat, settings).operations(),
        *Messages(chat.store).operations(),
        *ConversationItems(chat, settings).operations(),
        *Exports(chat.store).operations(),
        *Branches(chat.store, settings).operations(),
        *Summaries(chat, settings).operations(),
        *Searching(chat).operations(),
        *Deletions(Deletion(chat), chat.store, settings).operations(),
        *Files(chat.store).operations(),
        *KvCaches(chat).operations(),
        *ApiKeys(chat.store, keyring, settings).operations(),
        *Sessions(guard).operations(),
        *About(chat.settings, settings).operations(),
        *Page().operations(),
    ]
