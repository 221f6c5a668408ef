"""Traffic like a capture's, for longer or larger than was recorded: a model is fitted, and drawn from."""

from replay.workload.synthesis.fit import fit
from replay.workload.synthesis.model import VisitModel
from replay.workload.synthesis.store import read_model, write_model
from replay.workload.synthesis.synthesise import synthesise

__all__ = ["VisitModel", "fit", "read_model", "synthesise", "write_model"]
