"""The `replay` command: its subcommands, and what its exit codes mean."""

import atexit
import contextlib
import errno
import importlib
import keyword
import os
import sys
import traceback
from typing import NoReturn

import click

from replay import __version__
from replay.cli.text import plain
from replay.errors import ExitCode, ReplayError

# In the order of the work. A command's module is imported only when it is called, so that `--help` is quick.
COMMANDS = {
    "demo": "all of it on an embedded Stage: rehearse a migration, see the report",
    "capture": "record traffic through mitmproxy",
    "import": "turn files of any format into a capture",
    "inspect": "what a capture holds",
    "compare": "what production does that another capture never tries",
    "build": "turn a capture into a locust scenario",
    "run": "replay a scenario without a migration",
    "init": "write a plan to start from",
    "rehearse": "the experiment, the verdict and the report",
    "judge": "the verdict again, from a run's evidence",
    "report": "the report again, from a run's evidence",
}


class Commands(click.Group):
    """Subcommands by name, each in ``replay.cli.NAME`` as ``command`` (``import_``, as ``import`` is Python's)."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All names, in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command called ``cmd_name``, or None."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"replay.cli.{_module(cmd_name)}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _module(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) else name


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="replay")
def cli() -> None:
    """Rehearse a migration on Stage under production's own traffic, and say GO, NO_GO or INCONCLUSIVE.

    \b
    Begin with:
      replay demo                     the whole job on an embedded Stage
      replay rehearse plan.toml --out runs/first

    Exit codes: 0 GO or done, 1 NO_GO and nothing else, 2 wrong usage or input, 3 INCONCLUSIVE,
    4 the tool or Stage broke, 130 interrupted.
    """


def main() -> NoReturn:
    """Run the command line and leave with its exit code.

    The interpreter is not taken apart: a thread of Arrow's or DuckDB's that lets go of a Python object meanwhile would
    abort the process, and the exit code would not be ours.
    """
    code = run(sys.argv[1:])
    atexit._run_exitfuncs()  # noqa: SLF001 - what the interpreter itself would do
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # its reader has left, or it was never there
            stream.flush()
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code. Nothing but a verdict gives 1."""
    try:
        result = cli.main(arguments, prog_name="replay", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        return ExitCode.INTERRUPTED
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        return ExitCode.INTERRUPTED
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as error:
        error.show()
        return ExitCode.INPUT
    except ReplayError as error:
        click.echo(f"Error: {plain(error.message)}", err=True)
        if error.hint:
            click.echo(plain(error.hint), err=True)
        return error.exit_code
    except (OSError, MemoryError) as error:  # a full disk, a folder that was taken away
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            click.echo(f"Error: The disk is full{plain(f': {error.filename}' if error.filename else '')}.", err=True)
            click.echo("Make room. What was written until then is kept; a rehearsal goes on with --resume.", err=True)
        else:
            click.echo(f"Error: {plain(str(error)) or 'there is not enough memory'}.", err=True)
        return ExitCode.BROKEN
    except SystemExit:
        # click's own way out, with 1, where the reader of our output has left, as `head` does.
        return ExitCode.BROKEN
    except Exception as error:  # noqa: BLE001 - the last resort: a crash must never look like NO_GO
        traceback.print_exc()
        click.echo(f"Error: replay broke: {type(error).__name__}: {error}", err=True)
        return ExitCode.BROKEN
    return result if isinstance(result, int) else ExitCode.GO


if __name__ == "__main__":
    main()
