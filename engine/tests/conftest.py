"""Makes engine_support.py, which several of the engine's tests share, importable."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
