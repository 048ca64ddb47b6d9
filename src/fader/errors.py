"""The one kind of error that is the user's to mend."""


class UserError(Exception):
    """Bad input: the message is one clear sentence with the file, the value and the remedy.

    The command line prints the message without a traceback and exits with code 2.
    """
