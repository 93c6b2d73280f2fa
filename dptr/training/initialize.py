"""Weights of a new recognizer in stage 2, copied from what it starts from: a recognizer, an encoder, a decoder."""

from __future__ import annotations

from dptr.config.model import ClipVisionConfig
from dptr.config.train import FinetuneRecipe
from dptr.models.checkpoint import transfer
from dptr.models.decoders.ctc import TokenCTC
from dptr.models.encoders.ppocr_weights import Head, load_head
from dptr.models.loading import load_strictly
from dptr.models.recognizer import Recognizer
from dptr.models.resize_positions import resize_rows
from dptr.training.parts import FinetuneParts, Resolved
from dptr.training.shared_rows import compose_rows, decoder_tables


def initialize(model: Recognizer, resolved: Resolved[FinetuneRecipe, FinetuneParts]) -> list[str]:
    """Load what was opened for ``init`` into ``model``.

    Where the model has another ``max_length``, queries or ``encoder.max_width`` than a part was trained with, rows of
    places in a word, or in the image, are fitted (``dptr.models.resize_positions``).

    Returns:
        Lines for the log: where parts come from, which rows were fitted, which keys stay fresh.

    Raises:
        UserError: a checkpoint that does not fit; see ``transfer``.
    """
    init, encoder, parts = resolved.recipe.init, resolved.recipe.model.encoder, resolved.parts
    image_side = "encoder" if model.fmu is None else "encoder and FMU"
    messages: list[str] = []
    fresh: list[str] = []  # prefixes of keys
    tables = decoder_tables(model.decoder)
    if parts.model is not None:
        held = parts.model.tensors
        tensors = {name: tensor for name, tensor in held.items() if not name.startswith("decoder.")}
        places = {f"encoder.{name}": kind for name, kind in model.encoder.per_position().items()}
        if model.fmu is not None:
            places |= {f"fmu.{name}": kind for name, kind in model.fmu.per_position().items()}
        tensors, fitted = resize_rows(model, places, tensors, "")
        load_strictly(model, tensors, str(parts.model.folder), fresh=("decoder.",))
        messages += [f"{image_side} from {init.model}", *fitted]
    elif parts.glyph is not None:
        glyph = parts.glyph.model
        columns = model.encoder.per_position()
        seen_by, fitted = resize_rows(model.encoder, columns, glyph.encoder.state_dict(), "encoder.")
        load_strictly(model.encoder, seen_by, f"encoder of {init.glyph}")
        if model.fmu is not None:
            slots, more = resize_rows(model.fmu, model.fmu.per_position(), glyph.slots.state_dict(), "fmu.")
            load_strictly(model.fmu, slots, f"slots of {init.glyph}")
            fitted += more
        messages += [f"{image_side} from {init.glyph}", *fitted]
    elif parts.encoder is not None:
        tower = encoder if isinstance(encoder, ClipVisionConfig) else None
        source = tower.model if tower else init.encoder
        load_strictly(model.encoder, parts.encoder, source)
        messages.append(f"encoder from {source}" + (", frozen" if tower and tower.frozen else ""))
        fresh += [] if model.fmu is None else ["fmu."]
    else:
        fresh += ["encoder."] if model.fmu is None else ["encoder.", "fmu."]
    if (origin := parts.model or parts.decoder) is not None:
        new, fitted = transfer(model.decoder, origin, resolved.charset)
        published: list[str] = []
        if new and isinstance(model.decoder, TokenCTC):
            own = Head(
                origin.charset.characters,
                *(origin.tensors[f"decoder.head.{name}"].float() for name in ("weight", "bias")),
            )
            lacked = load_head(model.decoder.head, own.with_more(parts.head) if parts.head else own, resolved.charset)
            published, new = [each for each in new if each not in lacked], lacked
        else:
            compose_rows(tables, resolved.charset, new, resolved.recipe.decomposition, resolved.recipe.run.seed)
        messages.append(
            f"decoder from {origin.folder}"
            + (f"; characters from the head of PP-OCRv6: {''.join(published)}" if published else "")
            + (f"; fresh characters: {''.join(new)}" if new else "")
        )
        messages += fitted
    elif parts.head is not None and isinstance(model.decoder, TokenCTC):
        new = load_head(model.decoder.head, parts.head, resolved.charset)
        messages.append(f"head from {init.encoder}" + (f"; fresh characters: {''.join(new)}" if new else ""))
    else:
        charset, recipe = resolved.charset, resolved.recipe
        compose_rows(tables, charset, charset.characters, recipe.decomposition, recipe.run.seed)
        fresh.append("decoder.")
    if fresh:
        count = sum(name.startswith(tuple(fresh)) for name in model.state_dict())
        messages.append(f"fresh: {', '.join(f'{prefix}*' for prefix in fresh)} ({count} tensors)")
    return messages
