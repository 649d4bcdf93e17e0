"""An hour of ordinary life in short: mixed load, restarts, retention; `run.py` says what must hold."""
