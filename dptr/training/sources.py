"""Where crops to train on and crops to validate on come from: rendered words, labeled crops, both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from dptr.data.crops import LabeledCrops, join_crops, load_crops
from dptr.data.held_out import RULE, is_held_out
from dptr.data.labeled import LabeledRoot, LabeledShards, open_labeled, parts_of
from dptr.data.report import DropReport
from dptr.data.shards import StreamedCrops, drops_of, first_crops, held_out_crops, stream_crops
from dptr.data.size_batches import in_size_batches
from dptr.data.sources import LabeledSource, LengthBuckets, Mixture, Source, WeightedMixture
from dptr.dual.glyph.model import GlyphDual
from dptr.shards.shard_set import is_shards
from dptr.synth import FontIndex, Renderer, describe_embedded, find_fonts
from dptr.synth.pack import open_pack
from dptr.synth.source import RenderedWords
from dptr.text.charset import Charset
from dptr.text.corpus import Corpus
from dptr.training.epochs import steps_of
from dptr.utils.dealing import whole_weights
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
    data: DataConfig | None = None,
) -> tuple[Source, Callable[[], RenderedWords], list[str]]:
    """Rendered words to train on, from ``pack`` where one is named; others to validate on; and notes for the log.

    Those to validate on (``held_out_words``) come from a function: who has other crops for that needs neither held-out
    fonts nor, with a pack, any.

    Args:
        data: where a pack of shards finds its window and its cache; None = the defaults.

    Raises:
        UserError: no words, no fonts (see ``Corpus``, ``Renderer``); the function the same.
    """
    size = encoder.crop_size
    unseen = partial(held_out_words, corpus, render, encoder, charset, max_length)
    if pack:
        data = data or DataConfig()
        packed, messages = open_pack(pack, charset, max_length, size, seed, data.window, data.cache)
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
    if count > len(packed):
        raise UserError(f"pack {pack}: {len(packed):,} crops, {count:,} asked for; ask for fewer, or render more")
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
Look = Callable[[LabeledCrops], list[str]]  # lines for the log
LOOKED_AT = 2000  # crops that stand for those of shards


class FinetuneCrops(NamedTuple):
    """What ``dptr finetune`` trains on, and validates on.

    Attributes:
        notes: for the log: which data sets, what was dropped, and why.
        epoch: samples until each labeled crop was used, rendered ones among them; 0 where none is labeled. With
            ``data.weights`` as many labeled samples as there are crops.
        digest: of the labeled crops, as ``LabeledCrops.digest`` tells; empty where there are none.
    """

    source: Source
    validation: LabeledCrops
    notes: list[str]
    epoch: float
    digest: str = ""


def load_finetune_crops(
    recipe: FinetuneRecipe,
    charset: Charset,
    change: Change = lambda crops: (crops, []),
    look: Look = lambda crops: [],
) -> FinetuneCrops:
    """What ``dptr finetune`` trains on and validates on.

    Args:
        recipe: as ``dptr.training.resolve.resolve_finetune`` lets it pass.
        change: what to make of the labeled crops that are trained on; crops of shards stay as they are.
        look: gets those that ``change`` will get, or where all are in shards the first of them.

    Raises:
        UserError: see ``load_crops``, ``stream_crops``, ``split``, ``mix_sets``, ``rendered_words``.
    """
    found = _stage2(recipe, charset, change, look)
    steps = steps_of(recipe.run, found.epoch)
    source, messages = in_batches(found.source, recipe.data.bucket, recipe.model.encoder, recipe.run, steps)
    return found._replace(source=source, notes=found.notes + messages)


def in_batches(
    source: Source, pool: int, encoder: EncoderConfig, run: RunConfig, steps: int = 0
) -> tuple[Source, list[str]]:
    """The same samples in an order that suits batches, and lines for the log.

    Words of one length come together (``LengthBuckets``) where ``pool`` is above 1. Where crops are of several sizes,
    each batch is of one (``dptr.data.size_batches``).

    Args:
        steps: at which batches of one length end, so that all samples up to there are seen; 0 = there is no end.
    """
    if len(encoder.crop_size.every) > 1:
        return in_size_batches(source, run.batch_size, pool, run.seed)
    if pool == 1:
        return source, []
    return LengthBuckets(source, run.batch_size, pool, run.seed, last=steps * run.batch_size), []


def _stage2(recipe: FinetuneRecipe, charset: Charset, change: Change, look: Look) -> FinetuneCrops:
    data, encoder, length = recipe.data, recipe.model.encoder, recipe.model.max_length
    load = partial(
        load_crops,
        charset=charset,
        max_length=length,
        size=encoder.crop_size,
        cache=data.cache if len(encoder.crop_size.every) == 1 else "",
        allow_empty=data.allow_empty,
    )
    rendered: Source | None = None
    notes: list[str] = []
    if data.rendered:
        rendered, unseen, notes = rendered_words(
            recipe.corpus, recipe.render, encoder, charset, length, recipe.run.seed, data.pack, data
        )
        if not data.train:
            validation = load(data.validation) if data.validation else draw(unseen(), RENDERED_VALIDATION)
            return FinetuneCrops(rendered, validation, notes + validation.drops.lines(), 0.0)
    streams = open_streams(recipe, charset)
    listed = [path for number, path in enumerate(data.train) if number not in streams]
    notes += describe_roots(data)
    sets: list[LabeledCrops] = []  # that are in memory, one at most
    held: list[LabeledCrops] = []
    if listed:
        crops = load(listed)
        notes += [f"labeled crops: {len(crops)} of {', '.join(listed)}", *crops.drops.lines()]
        if not data.validation:
            crops, part = split(crops, data.validation_share, data.validation_split)
            held.append(part)
        sets.append(crops)
    for number, stream in streams.items():
        notes += [f"labeled crops: {len(stream)} of {data.train[number]}, streamed", *drops_of(stream).lines()]
        if not data.validation:
            part, total = held_out_crops(stream)
            held.append(part)
            notes += [f"{len(part)} of {total} that are held out validate"] if len(part) < total else []
    if data.validation:
        validation = load(data.validation)
        notes += validation.drops.lines()
    else:
        validation = held[0] if len(held) == 1 else join_crops(held, encoder.crop_size)
        if not len(validation):
            raise UserError(
                f"data.validation_share = {data.validation_share}: none of these crops is held out; raise it, or pass "
                "data.validation"
            )
    if data.max_crops:  # not with streams
        order = np.random.Generator(np.random.Philox(key=[recipe.run.seed, 1])).permutation(len(sets[0]))
        sets[0] = sets[0].choose(order[: data.max_crops])
    count = sum(len(crops) for crops in sets) + sum(len(stream) for stream in streams.values())
    notes.append(
        f"{count} crops for training, {len(validation)} for validation, {data.rendered:.0%} of each batch rendered"
    )
    notes += look(sets[0] if sets else first_crops(next(iter(streams.values())), LOOKED_AT))
    digests = [crops.digest() for crops in sets] + [
        f"{len(stream)} ({stream.surveyed.survey.digest})" for stream in streams.values()
    ]
    if sets:
        sets[0], messages = change(sets[0])
        notes += messages
    labeled, messages = mix_sets(sets, streams, data, recipe.run.seed)
    notes += messages
    epoch = count / (1 - data.rendered) if data.rendered < 1 else 0.0
    source = labeled if rendered is None else Mixture(labeled, rendered, data.rendered)
    return FinetuneCrops(source, validation, notes, epoch, " and ".join(digests))


def open_streams(recipe: FinetuneRecipe, charset: Charset) -> dict[int, StreamedCrops]:
    """The sets of ``data.train`` that are shards, by their numbers there.

    Raises:
        UserError: settings that shards do not go with, shards below a root; see ``stream_crops``.
    """
    data, model = recipe.data, recipe.model
    numbers = [number for number, path in enumerate(data.train) if is_shards(path)]
    if numbers and data.max_crops:
        raise UserError(
            f"data.max_crops = {data.max_crops} with {data.train[numbers[0]]}: shards are trained on whole; pass fewer "
            "of them, and set data.max_crops=0"
        )
    if numbers and not data.validation and data.validation_split == "order":
        raise UserError(
            f"data.validation_split = 'order' with {data.train[numbers[0]]}: shards hold out by picture; set it to "
            "picture, or pass data.validation"
        )
    for path in (path for number, path in enumerate(data.train) if number not in numbers):
        for _, part in parts_of(open_labeled(path)):
            if isinstance(part, LabeledShards):
                raise UserError(f"{path}: holds shards in {part.path}; name that folder in data.train, and others too")
    return {
        number: stream_crops(
            data.train[number], charset, model.max_length, model.encoder.crop_size, recipe.run.seed + (number << 32),
            data.augment, data.window, data.cache, data.allow_empty, 0.0 if data.validation else data.validation_share,
        )
        for number in numbers
    }  # fmt: skip


def describe_roots(data: DataConfig) -> list[str]:
    """A line for each path that is a root of many data sets: which were found."""
    opened = [open_labeled(path) for path in (*data.train, *data.validation) if not is_shards(path)]
    return [dataset.describe() for dataset in opened if isinstance(dataset, LabeledRoot)]


def mix_sets(
    sets: Sequence[LabeledCrops], streams: Mapping[int, StreamedCrops], data: DataConfig, seed: int
) -> tuple[Source, list[str]]:
    """Crops in memory and crops that are streamed, in the proportion of ``data.weights``, or else of their numbers.

    Args:
        sets: one at most.
        streams: by their numbers in ``data.train``.

    Returns:
        The mixture, and a line a set for the log where there are weights.

    Raises:
        UserError: a set with a weight of which no crop is left.
    """
    if data.weights:
        return _weight_sets(sets, streams, data, seed)
    parts: list[tuple[Source, int]] = [(LabeledSource(crops, seed, data.augment), len(crops)) for crops in sets]
    parts += [(stream, len(stream)) for stream in streams.values()]
    if len(parts) == 1:
        return parts[0][0], []
    return WeightedMixture(tuple(source for source, _ in parts), tuple(count for _, count in parts)), []


def _weight_sets(
    sets: Sequence[LabeledCrops], streams: Mapping[int, StreamedCrops], data: DataConfig, seed: int
) -> tuple[WeightedMixture, list[str]]:
    owners = np.array(sets[0].sources if sets else [])
    listed = iter(range(len(data.train)))  # the numbers of sets in memory, among themselves
    parts: list[Source] = []
    notes = []
    for number, (path, weight) in enumerate(zip(data.train, data.weights, strict=True)):
        if number in streams:
            parts.append(streams[number])
            count = len(streams[number])
        else:
            rows = np.flatnonzero(owners == next(listed))
            count = len(rows)
            if not count:
                raise UserError(f"{path}: no crop left to train on; raise data.max_crops, or leave it out")
            # the seed's upper half tells sets apart, so that their orders and augmentations differ
            parts.append(LabeledSource(sets[0].choose(rows), seed + (number << 32), data.augment))
        notes.append(f"{weight / sum(data.weights):.1%} of labeled crops from {path} ({count})")
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
