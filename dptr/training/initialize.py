"""Initial weights of a recognizer in stage 2: from another recognizer, or from an encoder and a decoder."""

from __future__ import annotations

from dptr.config.model import ClipVisionConfig
from dptr.config.train import FinetuneRecipe
from dptr.models.checkpoint import transfer
from dptr.models.decoders import Decoder
from dptr.models.decoders.ctc import TokenCTC
from dptr.models.encoders.ppocr_weights import Head, load_head
from dptr.models.loading import load_strictly
from dptr.models.recognizer import Recognizer
from dptr.models.resize_positions import resize_rows
from dptr.training.parts import FinetuneParts, Resolved
from dptr.training.shared_rows import compose_rows, decoder_tables


def initialize(model: Recognizer, resolved: Resolved[FinetuneRecipe, FinetuneParts]) -> list[str]:
    """Load the parts that ``init`` names into ``model``.

    If ``max_length``, FMU queries, or ``encoder.max_width`` differ from a part's, its position embeddings and queries
    are resized (``dptr.models.resize_positions``).

    Returns:
        Lines for the log: the origin of each part, which parameters were resized, which keep fresh weights.

    Raises:
        UserError: a checkpoint that does not fit; see ``transfer``.
    """
    image_messages, fresh = _load_image_side(model, resolved)
    decoder_messages, is_fresh = _load_decoder(model.decoder, resolved)
    messages = image_messages + decoder_messages
    if is_fresh:
        fresh.append("decoder.")
    if fresh:
        count = sum(name.startswith(tuple(fresh)) for name in model.state_dict())
        messages.append(f"fresh: {', '.join(f'{prefix}*' for prefix in fresh)} ({count} tensors)")
    return messages


def _load_image_side(
    model: Recognizer, resolved: Resolved[FinetuneRecipe, FinetuneParts]
) -> tuple[list[str], list[str]]:
    """Load encoder and FMU; return lines for the log, and prefixes of the parameters that stay fresh."""
    init, encoder, parts = resolved.recipe.init, resolved.recipe.model.encoder, resolved.parts
    image_side = "encoder" if model.fmu is None else "encoder and FMU"
    fmu_prefix = [] if model.fmu is None else ["fmu."]
    if parts.model is not None:
        tensors = {name: tensor for name, tensor in parts.model.tensors.items() if not name.startswith("decoder.")}
        positions = {f"encoder.{name}": kind for name, kind in model.encoder.per_position().items()}
        if model.fmu is not None:
            positions |= {f"fmu.{name}": kind for name, kind in model.fmu.per_position().items()}
        tensors, resized = resize_rows(model, positions, tensors, "")
        load_strictly(model, tensors, str(parts.model.folder), fresh=("decoder.",))
        return [f"{image_side} from {init.model}", *resized], []
    if parts.glyph is not None:
        glyph = parts.glyph.model
        columns = model.encoder.per_position()
        tensors, resized = resize_rows(model.encoder, columns, glyph.encoder.state_dict(), "encoder.")
        load_strictly(model.encoder, tensors, f"encoder of {init.glyph}")
        if model.fmu is not None:
            slots, more = resize_rows(model.fmu, model.fmu.per_position(), glyph.slots.state_dict(), "fmu.")
            load_strictly(model.fmu, slots, f"slots of {init.glyph}")
            resized += more
        return [f"{image_side} from {init.glyph}", *resized], []
    if parts.encoder is not None:
        tower = encoder if isinstance(encoder, ClipVisionConfig) else None
        source = tower.model if tower else init.encoder
        load_strictly(model.encoder, parts.encoder, source)
        return [f"encoder from {source}" + (", frozen" if tower and tower.frozen else "")], fmu_prefix
    return [], ["encoder.", *fmu_prefix]


def _load_decoder(decoder: Decoder, resolved: Resolved[FinetuneRecipe, FinetuneParts]) -> tuple[list[str], bool]:
    """Load the decoder; return lines for the log, and whether the whole decoder stays fresh."""
    recipe, charset, parts = resolved.recipe, resolved.charset, resolved.parts
    tables, seed = decoder_tables(decoder), recipe.run.seed
    if (origin := parts.model or parts.decoder) is not None:
        new, resized = transfer(decoder, origin, charset)
        published: list[str] = []
        if new and isinstance(decoder, TokenCTC):
            head = Head(
                origin.charset.characters,
                *(origin.tensors[f"decoder.head.{name}"].float() for name in ("weight", "bias")),
            )
            lacking = load_head(decoder.head, head.with_more(parts.head) if parts.head else head, charset)
            published, new = [each for each in new if each not in lacking], lacking
        else:
            compose_rows(tables, charset, new, recipe.decomposition, seed)
        message = (
            f"decoder from {origin.folder}"
            + (f"; characters from the head of PP-OCRv6: {''.join(published)}" if published else "")
            + (f"; fresh characters: {''.join(new)}" if new else "")
        )
        return [message, *resized], False
    if parts.head is not None and isinstance(decoder, TokenCTC):
        new = load_head(decoder.head, parts.head, charset)
        return [f"head from {recipe.init.encoder}" + (f"; fresh characters: {''.join(new)}" if new else "")], False
    compose_rows(tables, charset, charset.characters, recipe.decomposition, seed)
    return [], True
