"""The one exception a user is meant to read."""


class UserError(Exception):
    """Bad input from outside the program: a file, a setting, a label, a font, a full disk.

    The message is one line that names the value, the rule it breaks and the remedy. The command line prints it
    after ``dptr: error:`` and exits with code 2; library callers catch it like any exception.
    """
