"""Conversion of checkpoint settings in older formats, when they are read; files do not change.

Format 1 had one flat section for encoders of all kinds and one for decoders of all kinds. Stage 1 decoders had settings
of an image encoder and an FMU too.
"""

from __future__ import annotations

from typing import Any

from dptr.config.base import KindConfig
from dptr.config.model import DecoderConfig, EncoderConfig

FORMAT = 2  # that is written
FORMATS = (1, FORMAT)  # that can be read

_RENAMED = {"widest": "max_width"}


def migrate(described: dict[str, Any]) -> dict[str, Any]:
    """Convert a checkpoint's description (``config.json``) to the present format.

    Keys of other kinds of encoders and decoders are dropped. Unknown keys stay, so that they are refused later.
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
                settings[part] = _drop_foreign_keys(base, settings[part])
        migrated[section] = settings
    return migrated


def _drop_foreign_keys(base: type[KindConfig], settings: dict[str, Any]) -> dict[str, Any]:
    settings = {_RENAMED.get(key, key): value for key, value in settings.items()}
    own = base.class_of(str(settings.get("kind", base.default_kind))).model_fields
    foreign = {key for other in base.kinds().values() for key in other.model_fields} - set(own)
    return {key: value for key, value in settings.items() if key not in foreign}
