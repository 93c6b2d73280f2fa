"""Typed recipes. They need pydantic, which reading does without."""

from dptr.utils.errors import UserError

try:
    import pydantic  # noqa: F401
except ModuleNotFoundError as error:
    raise UserError(f"{error.name} is not installed; recipes need it; pip install 'dptr[train]'") from error
