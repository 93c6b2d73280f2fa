"""Settings of checkpoints in older formats, converted to the present one when they are read; no file changes.

Format 1 had one flat section for all kinds of encoders, one for all kinds of decoders, and settings of image encoder
and FMU in stage 1 decoders too, which have none.
"""

from __future__ import annotations

from typing import Any

from dptr.config.base import KindConfig
from dptr.config.model import DecoderConfig, EncoderConfig

FORMAT = 2  # what is written
FORMATS = (1, FORMAT)  # what is read

_RENAMED = {"widest": "max_width"}


def migrate(described: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's description (``config.json``) in the present format.

    Keys of other kinds than the part's are left out. What was no key in format 1 stays, so that it is refused.
    """
    if described.get("kind") == "recogniser":  # as format 1 spelled it
        described = {**described, "kind": "recognizer"}
    if described.get("format") != 1:
        return described
    migrated = {**described, "format": FORMAT}
    for section in ("model", "glyph"):
        settings = described.get(section)
        if not isinstance(settings, dict):
            continue
        settings = dict(settings)
        if described.get("kind") == "decoder":
            settings = {key: value for key, value in settings.items() if key not in ("encoder", "fmu")}
        for part, base in (("encoder", EncoderConfig), ("decoder", DecoderConfig)):
            if isinstance(settings.get(part), dict):
                settings[part] = _of_its_kind(base, settings[part])
        migrated[section] = settings
    return migrated


def _of_its_kind(base: type[KindConfig], settings: dict[str, Any]) -> dict[str, Any]:
    settings = {_RENAMED.get(key, key): value for key, value in settings.items()}
    own = base.class_of(str(settings.get("kind", base.default_kind))).model_fields
    foreign = {key for other in base.kinds().values() for key in other.model_fields} - set(own)
    return {key: value for key, value in settings.items() if key not in foreign}
