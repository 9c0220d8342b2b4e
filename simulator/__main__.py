"""``python -m simulator`` is the command ``supernode``."""

from simulator.cli import main

main()
