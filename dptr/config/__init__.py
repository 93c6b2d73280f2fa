"""Typed recipes. They need pydantic, which reading does not."""

from dptr.utils.extras import missing_package

try:
    import pydantic  # noqa: F401
except ModuleNotFoundError as error:
    raise missing_package(error, "a recipe", "train") from error
