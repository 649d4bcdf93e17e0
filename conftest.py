"""How hard Hypothesis looks: `quick` in every run and always the same, `long` by `make fuzz`."""

import os

from hypothesis import settings

# No deadline: a machine that is busy is not a finding.
settings.register_profile("quick", deadline=None, derandomize=True, max_examples=50)
settings.register_profile("long", deadline=None, max_examples=2_000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
