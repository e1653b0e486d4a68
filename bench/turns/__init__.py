"""What a long conversation costs in prefilled tokens: `python -m bench.turns`."""
