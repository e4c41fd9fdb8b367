"""The one exception for what a user can put right."""


class InputError(ValueError):
    """A file, option or setting that cannot be used.

    The message is one line: what was found, where, and the cure. The command line
    prints it and exits with status 2.
    """
