"""``python -m edgex`` is ``edgex``."""

from edgex.cli import main

main()
