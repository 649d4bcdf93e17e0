"""Makes the simulation's modules importable, as engine_support is."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
