"""Where crops to train on and crops to validate on come from: rendered words, labeled crops, both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from dptr.config.data import DataConfig
from dptr.config.model import EncoderConfig
from dptr.config.render import CorpusConfig, RenderConfig
from dptr.config.train import FinetuneRecipe, RunConfig
from dptr.data.augment import to_pixels
from dptr.data.crops import LabeledCrops, load_crops
from dptr.data.held_out import RULE, is_held_out
from dptr.data.labeled import LabeledRoot, open_labeled
from dptr.data.report import DropReport
from dptr.data.size_batches import in_size_batches
from dptr.data.sources import LabeledSource, LengthBuckets, Mixture, Source, WeightedMixture, whole_weights
from dptr.dual.glyph.model import GlyphDual
from dptr.synth import FontIndex, Renderer, describe_embedded, find_fonts
from dptr.synth.pack import open_pack
from dptr.synth.source import RenderedWords
from dptr.text.charset import Charset
from dptr.text.corpus import Corpus
from dptr.utils.errors import UserError
from dptr.utils.sizes import VariableSizeCrops, group_by_size

RENDERED_VALIDATION = 512  # rendered held-out words
_LOOKED_AT = 5000  # words that are tried for whether some font draws them, for the log


def held_out_words(
    corpus: CorpusConfig, render: RenderConfig, encoder: EncoderConfig, charset: Charset, max_length: int
) -> RenderedWords:
    """Words that the corpus holds out, in fonts held out where ``render.font_split`` is ``train``.

    They do not depend on a run's seed, so that runs can be compared.

    Raises:
        UserError: no words, no fonts (see ``Corpus``, ``Renderer``).
    """
    fonts = FontIndex(find_fonts(render.fonts), "heldout" if render.font_split == "train" else render.font_split)
    return RenderedWords(
        Corpus(corpus, charset, max_length, 1, "heldout"), Renderer(render, 1, fonts, encoder.crop_size)
    )


def rendered_words(
    corpus: CorpusConfig,
    render: RenderConfig,
    encoder: EncoderConfig,
    charset: Charset,
    max_length: int,
    seed: int,
    pack: str,
) -> tuple[Source, Callable[[], RenderedWords], list[str]]:
    """Rendered words to train on, from ``pack`` where one is named; others to validate on; and notes for the log.

    Those to validate on (``held_out_words``) come from a function: who has other crops for that needs neither held-out
    fonts nor, with a pack, any.

    Raises:
        UserError: no words, no fonts (see ``Corpus``, ``Renderer``); the function the same.
    """
    size = encoder.crop_size
    unseen = partial(held_out_words, corpus, render, encoder, charset, max_length)
    if pack:
        packed, messages = open_pack(pack, charset, max_length, size, seed)
        return packed, unseen, messages
    fonts = find_fonts(render.fonts)
    train = RenderedWords(
        Corpus(corpus, charset, max_length, seed), Renderer(render, seed, FontIndex(fonts, render.font_split), size)
    )
    undrawable = train.undrawable(_LOOKED_AT).items()
    notes = [*describe_embedded(fonts, render.fonts), train.corpus.describe()]
    notes += [f"words left out: {count} of the first {_LOOKED_AT:,}, {reason}" for reason, count in undrawable]
    return train, unseen, notes


def packed_batches(
    pack: str | Path, glyph: GlyphDual, count: int
) -> Iterator[tuple[Float[Tensor, "b 3 h w"], list[str]]]:
    """The first ``count`` crops of a pack in a seeded order, as pixels for ``glyph``, and their words.

    Raises:
        UserError: see ``open_pack``; a pack with fewer crops.
    """
    packed, _ = open_pack(pack, glyph.charset, glyph.config.max_length, glyph.config.encoder.crop_size, 0)
    if count > len(packed.rows):
        raise UserError(f"pack {pack}: {len(packed.rows):,} crops, {count:,} asked for; ask for fewer, or render more")
    for start in range(0, count, 100):
        samples = [packed.sample(index) for index in range(start, min(start + 100, count))]
        for places, crops in group_by_size([crop for crop, _, _ in samples], 100):
            yield to_pixels(crops), [samples[place][1] for place in places]


def draw(source: RenderedWords, count: int) -> LabeledCrops:
    """The first ``count`` samples, in memory."""
    samples = [source.sample(index) for index in range(count)]
    words = [word for _, word, _ in samples]
    crops = [crop for crop, _, _ in samples]
    arrays = VariableSizeCrops(crops) if len(source.renderer.size.every) > 1 else np.stack(crops)
    return LabeledCrops(arrays, words, words, [0] * count, DropReport())


Change = Callable[[LabeledCrops], tuple[LabeledCrops, list[str]]]  # and lines for the log


class FinetuneCrops(NamedTuple):
    """What ``dptr finetune`` trains on, and validates on.

    Attributes:
        notes: for the log: which data sets, what was dropped, and why.
        epoch: samples until each labeled crop was used, rendered ones among them; 0 where none is labeled. With
            ``data.weights`` as many labeled samples as there are crops.
    """

    source: Source
    validation: LabeledCrops
    notes: list[str]
    epoch: float


def load_finetune_crops(
    recipe: FinetuneRecipe, charset: Charset, change: Change = lambda crops: (crops, [])
) -> FinetuneCrops:
    """What ``dptr finetune`` trains on and validates on.

    Args:
        recipe: as ``dptr.training.resolve.resolve_finetune`` lets it pass.
        change: what to make of the labeled crops that are trained on.

    Raises:
        UserError: see ``load_crops``, ``split``, ``weight_sources``, ``rendered_words``.
    """
    source, validation, notes, epoch = _stage2(recipe, charset, change)
    source, messages = in_batches(source, recipe.data.bucket, recipe.model.encoder, recipe.run)
    return FinetuneCrops(source, validation, notes + messages, epoch)


def in_batches(source: Source, pool: int, encoder: EncoderConfig, run: RunConfig) -> tuple[Source, list[str]]:
    """The same samples in an order that suits batches, and lines for the log.

    Words of one length come together (``LengthBuckets``) where ``pool`` is above 1. Where crops are of several sizes,
    each batch is of one (``dptr.data.size_batches``).
    """
    if len(encoder.crop_size.every) > 1:
        return in_size_batches(source, run.batch_size, pool, run.seed)
    return (LengthBuckets(source, run.batch_size, pool, run.seed) if pool > 1 else source), []


def _stage2(recipe: FinetuneRecipe, charset: Charset, change: Change) -> FinetuneCrops:
    data, encoder, length = recipe.data, recipe.model.encoder, recipe.model.max_length
    load = partial(
        load_crops,
        charset=charset,
        max_length=length,
        size=encoder.crop_size,
        cache=data.cache,
        allow_empty=data.allow_empty,
    )
    rendered: Source | None = None
    notes: list[str] = []
    if data.rendered:
        rendered, unseen, notes = rendered_words(
            recipe.corpus, recipe.render, encoder, charset, length, recipe.run.seed, data.pack
        )
        if not data.train:
            validation = load(data.validation) if data.validation else draw(unseen(), RENDERED_VALIDATION)
            return FinetuneCrops(rendered, validation, notes + validation.drops.lines(), 0.0)
    crops = load(data.train)
    notes += [*describe_roots(data), f"labeled crops: {len(crops)} of {', '.join(data.train)}", *crops.drops.lines()]
    if data.validation:
        validation = load(data.validation)
        notes += validation.drops.lines()
    else:
        crops, validation = split(crops, data.validation_share, data.validation_split)
    if data.max_crops:
        order = np.random.Generator(np.random.Philox(key=[recipe.run.seed, 1])).permutation(len(crops))
        crops = crops.choose(order[: data.max_crops])
    notes.append(
        f"{len(crops)} crops for training, {len(validation)} for validation, {data.rendered:.0%} of each batch rendered"
    )
    crops, messages = change(crops)
    notes += messages
    labeled: Source = LabeledSource(crops, recipe.run.seed, data.augment)
    if data.weights:
        labeled, messages = weight_sources(crops, data, recipe.run.seed)
        notes += messages
    epoch = len(crops) / (1 - data.rendered) if data.rendered < 1 else 0.0
    source = labeled if rendered is None else Mixture(labeled, rendered, data.rendered)
    return FinetuneCrops(source, validation, notes, epoch)


def describe_roots(data: DataConfig) -> list[str]:
    """A line for each path that is a root of many data sets: which were found."""
    opened = [open_labeled(path) for path in (*data.train, *data.validation)]
    return [dataset.describe() for dataset in opened if isinstance(dataset, LabeledRoot)]


def weight_sources(crops: LabeledCrops, data: DataConfig, seed: int) -> tuple[WeightedMixture, list[str]]:
    """The sets of ``data.train`` in the proportion of ``data.weights``, and a line a set for the log.

    Raises:
        UserError: a set of which no crop is left.
    """
    sources = np.array(crops.sources)
    parts, notes = [], []
    for number, (path, weight) in enumerate(zip(data.train, data.weights, strict=True)):
        rows = np.flatnonzero(sources == number)
        if not len(rows):
            raise UserError(f"{path}: no crop left to train on; raise data.max_crops, or leave it out with its weight")
        # the seed's upper half tells sets apart, so that their orders and augmentations differ
        parts.append(LabeledSource(crops.choose(rows), seed + (number << 32), data.augment))
        notes.append(f"{weight / sum(data.weights):.1%} of labeled crops from {path} ({len(rows)})")
    return WeightedMixture(tuple(parts), whole_weights(data.weights)), notes


def describe_validation(data: DataConfig) -> dict[str, Any]:
    """Which crops a run validates on, for its card: other sets, or a share of the train sets and by which rule."""
    if data.validation:
        return {"sets": ["/".join(Path(path).parts[-2:]) for path in data.validation]}
    if not data.train:
        return {"rule": "rendered words that the corpus holds out"}
    return {"rule": RULE if data.validation_split == "picture" else "permutation", "share": data.validation_share}


def split(
    crops: LabeledCrops, share: float, by: Literal["picture", "order"] = "picture"
) -> tuple[LabeledCrops, LabeledCrops]:
    """A fixed part for validation: the same crops whatever the run's seed, so that runs can be compared.

    Args:
        crops: they know the hashes of their pictures.
        share: about this much is held out, 0 to 1.
        by: ``picture`` as ``dptr.data.held_out`` says; ``order`` a permutation of all crops, which with one crop more
            is another one.

    Returns:
        The crops to train on, and those held out.

    Raises:
        UserError: the share leaves no crop on one of the two sides.
    """
    if by == "picture":
        held = is_held_out(crops.hashes, share)
    else:
        order = np.random.Generator(np.random.Philox(key=[0, 0])).permutation(len(crops))
        held = np.isin(np.arange(len(crops)), order[: round(share * len(crops))])
    if held.all() or not held.any():
        raise UserError(
            f"data.validation_share = {share} of {len(crops)} crops leaves none to train on or to validate on; "
            "add crops, change the share, or pass data.validation"
        )
    return crops.choose(np.flatnonzero(~held)), crops.choose(np.flatnonzero(held))
