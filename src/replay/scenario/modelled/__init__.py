"""A schedule drawn from a fitted model: each event takes a recorded request, with values of its own time."""
