"""The exception whose message is meant for users, and two subclasses that the server answers with their own status."""

from dptr.utils.escapes import escape


class UserError(Exception):
    """A problem outside the program: a file, a setting, a label, a font, a full disk.

    The message is one line that names the value, the rule that it breaks, and the remedy. The command line prints it
    after ``dptr: error:`` and exits with code 2; callers of the library catch it like any exception. Invisible
    characters, such as a line break in the name of a file, are escaped (``dptr.utils.escapes.escape``).
    """

    def __str__(self) -> str:
        return escape(super().__str__())


class UnknownKind(UserError):
    """A file of a format that DPTR does not read."""


class TooLarge(UserError):
    """A picture that is too large: it has too many pixels, or decoding it takes too much memory."""


def one_line(error: Exception) -> str:
    """The message of an error of a library as a part of one line, at most 200 characters long."""
    return " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
