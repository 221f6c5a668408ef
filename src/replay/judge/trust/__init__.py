"""Whether the evidence can carry a verdict at all: what comes before anything is said about the change."""
