"""Rehearse a change on Stage under the traffic that production really gets, and say whether it is safe to release."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("stage-replay")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
