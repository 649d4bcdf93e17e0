"""Frames by the hundred thousand, valid and mutated, against a running broker: `run.py` says what must hold."""
