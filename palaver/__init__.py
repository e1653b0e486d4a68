"""palaver: a server for conversations that speaks your model's chat API and keeps every conversation."""

__version__ = "0.1.0"
