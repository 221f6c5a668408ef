"""What all tests share."""

import os

from hypothesis import settings

# A shared machine may take its time over an example; how long one takes is for the benchmarks to say. CI has the same
# examples each time, so that what fails there is what was changed.
settings.register_profile("replay", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("replay")
