"""The model of a capture: endpoints, clients, visits, and the values that hang together."""

from replay.workload.correlations.find import Correlation, Credential
from replay.workload.model import Share, Workload, model_workload, read_workload
from replay.workload.profile.visits import Visit

__all__ = ["Correlation", "Credential", "Share", "Visit", "Workload", "model_workload", "read_workload"]
