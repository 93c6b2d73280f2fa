"""``python -m dptr``: the command line."""

from dptr.cli import main

main()
