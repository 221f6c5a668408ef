"""How many files and connections this process may have open."""

import contextlib
import resource

BESIDE = 100  # what a process opens beside its connections


def allow_open_files(wanted: int) -> int:
    """Let this process open ``wanted`` files, as far as it may allow itself that; gives how many it may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
