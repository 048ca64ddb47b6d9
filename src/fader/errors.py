"""What stops a command in good order."""


class UserError(Exception):
    """Bad input: the message is one clear sentence with the file, the value and the remedy.

    The command line prints the message without a traceback and exits with code 2. Names of files and columns, which
    messages quote, are untrusted: whatever could steer a terminal in them is escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class CommonError(UserError):
    """Bad input that all of several processes come upon alike: one of them says so."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, once everything worth keeping is saved; the message says how to go on.

    The command line prints the message and exits with code 128 + signal.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


class ProcessLostError(Exception):
    """Of several processes that train together another one ended; the message says how to go on.

    The command line prints the message and exits with code 75: a failure that trying again may mend.
    """


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether this says that memory, the machine's or a GPU's, was not enough."""
    # torch, which is not to be imported here, has a class of its own for a GPU's memory, and none for the machine's.
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))
    )


def printable(text: str) -> str:
    """The text with control characters, line breaks and undecodable bytes written as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
