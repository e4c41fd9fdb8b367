"""The command line: parse, call one function, print."""

from multicryogan.cli.app import main

__all__ = ["main"]
