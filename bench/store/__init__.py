"""What it costs to keep a conversation: `python -m bench.store`."""
