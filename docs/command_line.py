"""The command line, for its page."""

from multicryogan.cli.app import make_app

app = make_app([])
