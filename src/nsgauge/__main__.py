"""`python -m nsgauge`."""

from nsgauge.cli.app import main

main()
