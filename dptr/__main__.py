"""``python -m dptr``: the command line."""

from dptr.cli.app import main

main()
