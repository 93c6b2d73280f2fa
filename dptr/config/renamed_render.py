"""Keys of the renderer in older recipes, and what they are called now."""

from __future__ import annotations

from dptr.config.effects import RENAMED_EFFECTS, Effects

RENAMED_RENDER: dict[str, str] = {
    **{f"render.{name}": f"render.effects.{name}" for name in Effects.model_fields},
    **{f"render.{old}": f"render.effects.{new}" for old, new in RENAMED_EFFECTS.items()},
    "render.height": "size.height",
    "render.width": "size.width",
    "render.widest": "size.max_width",
}


def explain_renamed(key: str, sections: list[str]) -> str | None:
    """What to write for an older ``key`` in a recipe with these ``sections``; None for any other key."""
    new = RENAMED_RENDER.get(key)
    if new is not None and new.split(".")[0] not in sections:
        return f"leave it out: rendered crops have the size that the image encoder reads; dptr synth has '{new}'"
    return new and f"it is now '{new}'"
