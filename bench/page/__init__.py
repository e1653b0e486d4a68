"""How the chat page behaves on long chats."""
