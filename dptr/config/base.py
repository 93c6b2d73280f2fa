"""Base classes of recipe parts."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, model_validator
from pydantic_core import PydanticCustomError


class Config(BaseModel):
    """Base of every recipe part: frozen; unknown keys are errors."""

    # charset = 36 means "36"
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, allow_inf_nan=False)


class KindConfig(Config):
    """A part with several kinds: a discriminated union whose members are in a dict.

    A subclass has the keys of all kinds; its subclasses add the keys of one kind. Validation of the former returns an
    instance of the latter for ``kind``. A kind that is not in the dict has no further keys; the builder of the part
    checks whether it exists.
    """

    default_kind: ClassVar[str]  # if ``kind`` is left out; a key of the dict

    kind: str

    def __init__(self, **keys: Any) -> None:
        own = type(self)
        if KindConfig in own.__bases__ and keys.get("kind", own.default_kind) in own.kinds():
            raise TypeError(f"{own.__name__} lacks the keys of its kind; make it by {own.__name__}.of(...)")
        super().__init__(**keys)

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined] # validation goes past it

    @classmethod
    def kinds(cls) -> dict[str, type[Self]]:
        """Kind -> the class with its keys."""
        raise NotImplementedError

    @classmethod
    def class_of(cls, kind: str) -> type[Self]:
        """The class with the keys of ``kind``."""
        return cls.kinds().get(kind, cls)

    @classmethod
    def of(cls, **keys: Any) -> Self:
        """Make the part with these keys, of the class of its ``kind``.

        Raises:
            ValidationError: a key that this kind does not have, or an invalid value.
        """
        return cls.model_validate(keys)

    @model_validator(mode="wrap")
    @classmethod
    def _of_its_kind(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if KindConfig not in cls.__bases__ or not isinstance(value, dict):
            return handler(value)
        kind = value.get("kind", cls.default_kind)
        target = cls.class_of(kind) if isinstance(kind, str) else cls
        for key in value:
            others = [name for name, other in cls.kinds().items() if key in other.model_fields]
            if key not in target.model_fields and others:
                raise PydanticCustomError(
                    "other_kind",
                    "kind '{kind}' has no key '{key}', which is one of {others}; leave it out, or set kind={first}",
                    {"kind": kind, "key": key, "others": ", ".join(others), "first": others[0]},
                )
        return handler(value) if target is cls else target.model_validate(value)
