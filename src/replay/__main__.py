"""`python -m replay`: the command."""

from replay.cli.main import main

main()
