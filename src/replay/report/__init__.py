"""Reports: a verdict and its evidence, for people and for programs."""
