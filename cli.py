"""Launcher: ``python cli.py …`` in a checkout is ``edgex …``."""

from edgex.cli import main

if __name__ == "__main__":
    main()
