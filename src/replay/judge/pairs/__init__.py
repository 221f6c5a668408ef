"""Several pairs of arms as one verdict: what a second one confirms, repetitions, production beside pre-production."""
