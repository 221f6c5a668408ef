"""What all tests share."""

from hypothesis import settings

# A shared machine may take its time over an example; how long one takes is for the benchmarks to say.
settings.register_profile("replay", deadline=None)
settings.load_profile("replay")
