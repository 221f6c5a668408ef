"""Deploy a release of the demonstration's API: ``python -m replay.demo.deploy v2``.

STAGE_DEPLOYS says where its Stage takes orders. Ends with 0 when the new release answers and the old one is gone. The
new one is Stage's own, so it outlives this command.
"""

import os
import sys

from replay.demo.releases import ask
from replay.errors import ReplayError, StageError


def _main(arguments: list[str]) -> int:
    desk = os.environ.get("STAGE_DEPLOYS")
    try:
        if not desk:
            raise StageError("STAGE_DEPLOYS is not set.", "It says where Stage takes orders for deploys.")
        if len(arguments) != 1:
            raise StageError("Say which release: `python -m replay.demo.deploy v2`.")
        print(ask(desk, arguments[0]))  # noqa: T201 - a program of its own
    except ReplayError as error:
        print(f"Error: {error.message} {error.hint}".strip(), file=sys.stderr)  # noqa: T201 - as above
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
