"""What search finds again in long dialogues, step by step of its ranking. See `python -m bench.recall --help`."""
