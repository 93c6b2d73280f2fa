"""The one exception a user is meant to read, and two kinds of it that a server answers in their own way."""

from dptr.utils.escapes import escape


class UserError(Exception):
    """Bad input from outside the program: a file, a setting, a label, a font, a full disk.

    The message is one line that names the value, the rule it breaks and the remedy. The command line prints it
    after ``dptr: error:`` and exits with code 2; library callers catch it like any exception. What cannot be
    seen in it, such as a line break in the name of a file, is escaped (``dptr.utils.escapes.escape``).
    """

    def __str__(self) -> str:
        return escape(super().__str__())


class UnknownKind(UserError):
    """A file of a kind that is not read."""


class TooLarge(UserError):
    """A picture of more pixels than are read."""


def one_line(error: Exception) -> str:
    """The message of a library's error, as part of a line."""
    return " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
