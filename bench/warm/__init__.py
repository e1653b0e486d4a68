"""What a warm start saves: restarts, pauses, crowds and long prompts of others: `python -m bench.warm`."""
