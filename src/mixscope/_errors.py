"""The one kind of error that the command line shows as a single line."""


class UserError(ValueError):
    """A mistake in what the user gave: a path, a file, an option. The command line prints it and exits with 2."""
