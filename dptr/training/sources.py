"""Sources of training and validation crops: rendered words, labeled crops, or a mixture of both."""

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
SHARD_SAMPLE = 2000  # crops of shards whose labels choose the direction


def held_out_words(
    corpus: CorpusConfig, render: RenderConfig, encoder: EncoderConfig, charset: Charset, max_length: int
) -> RenderedWords:
    """Words that the corpus holds out, rendered; in held-out fonts if ``render.font_split`` is ``train``.

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
    """Rendered words to train on, a function that makes those to validate on, and notes for the log.

    Validation words (``held_out_words``) are made by a function, since a run with other validation crops needs no
    held-out fonts and, with a pack, no fonts at all.

    Args:
        pack: folder of the training words; empty = render them.
        data: has the window and the cache of a pack of shards; None = the defaults.

    Raises:
        UserError: no words, no fonts (see ``Corpus``, ``Renderer``). The function raises it too.
    """
    size = encoder.crop_size
    make_validation = partial(held_out_words, corpus, render, encoder, charset, max_length)
    if pack:
        data = data or DataConfig()
        packed, messages = open_pack(pack, charset, max_length, size, seed, data.window, data.cache)
        return packed, make_validation, messages
    fonts = find_fonts(render.fonts)
    train = RenderedWords(
        Corpus(corpus, charset, max_length, seed), Renderer(render, seed, FontIndex(fonts, render.font_split), size)
    )
    return train, make_validation, [*describe_embedded(fonts, render.fonts), *train.describe()]


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
    """Render the first ``count`` samples into memory."""
    samples = [source.sample(index) for index in range(count)]
    words = [word for _, word, _ in samples]
    crops = [crop for crop, _, _ in samples]
    arrays = VariableSizeCrops(crops) if len(source.renderer.size.every) > 1 else np.stack(crops)
    return LabeledCrops(arrays, words, words, [0] * count, DropReport())


Transform = Callable[[LabeledCrops], tuple[LabeledCrops, list[str]]]  # the crops, and lines for the log
Inspect = Callable[[LabeledCrops], list[str]]  # lines for the log


class FinetuneCrops(NamedTuple):
    """Training and validation crops of ``dptr finetune``.

    Attributes:
        notes: lines for the log: the data sets, and what was dropped and why.
        epoch: samples, rendered ones included, after which each labeled crop was used; with ``data.weights``, after
            which as many labeled samples were drawn as there are crops; 0 without labeled crops.
        digest: of the labeled crops (``LabeledCrops.digest``); empty without any.
    """

    source: Source
    validation: LabeledCrops
    notes: list[str]
    epoch: float
    digest: str = ""


def load_finetune_crops(
    recipe: FinetuneRecipe,
    charset: Charset,
    transform: Transform = lambda crops: (crops, []),
    inspect: Inspect = lambda crops: [],
) -> FinetuneCrops:
    """Open the training and validation crops of ``dptr finetune``.

    Args:
        recipe: as ``dptr.training.resolve.resolve_finetune`` returns it.
        transform: applied to the labeled training crops in memory; crops of shards stay as they are.
        inspect: called before with the crops that ``transform`` will get, or the first ones if all are in shards.

    Raises:
        UserError: see ``load_crops``, ``stream_crops``, ``split``, ``mix_sets``, ``rendered_words``.
    """
    crops = _load_crops(recipe, charset, transform, inspect)
    steps = steps_of(recipe.run, crops.epoch)
    source, messages = in_batches(crops.source, recipe.data.bucket, recipe.model.encoder, recipe.run, steps)
    return crops._replace(source=source, notes=crops.notes + messages)


def in_batches(
    source: Source, pool: int, encoder: EncoderConfig, run: RunConfig, steps: int = 0
) -> tuple[Source, list[str]]:
    """Reorder samples so that a batch has crops of one size or words of similar length; also return lines for the log.

    If the encoder reads several crop sizes, each batch has one (``dptr.data.size_batches``). Otherwise, if ``pool`` is
    above 1, pools of that many batches are sorted by word length (``LengthBuckets``).

    Args:
        steps: of the run: the last pool ends there, so that all samples before are used; 0 = unlimited.
    """
    if len(encoder.crop_size.every) > 1:
        return in_size_batches(source, run.batch_size, pool, run.seed)
    if pool == 1:
        return source, []
    return LengthBuckets(source, run.batch_size, pool, run.seed, last=steps * run.batch_size), []


def _load_crops(recipe: FinetuneRecipe, charset: Charset, transform: Transform, inspect: Inspect) -> FinetuneCrops:
    data, seed = recipe.data, recipe.run.seed
    if not data.train:
        return _load_rendered(recipe, charset)
    rendered: Source | None = None
    notes: list[str] = []
    if data.rendered:
        rendered, _, notes = _render(recipe, charset)
    sets, streams, validation, messages = _load_labeled(recipe, charset)
    notes += messages
    if data.max_crops:  # not with streams
        order = np.random.Generator(np.random.Philox(key=[seed, 1])).permutation(len(sets[0]))
        sets[0] = sets[0].choose(order[: data.max_crops])
    count = sum(len(crops) for crops in sets) + sum(len(stream) for stream in streams.values())
    notes.append(
        f"{count} crops for training, {len(validation)} for validation, {data.rendered:.0%} of each batch rendered"
    )
    notes += inspect(sets[0] if sets else first_crops(next(iter(streams.values())), SHARD_SAMPLE))
    digests = [crops.digest() for crops in sets] + [
        f"{len(stream)} ({stream.surveyed.survey.digest})" for stream in streams.values()
    ]
    if sets:
        sets[0], messages = transform(sets[0])
        notes += messages
    labeled, messages = mix_sets(sets, streams, data, seed)
    notes += messages
    epoch = count / (1 - data.rendered) if data.rendered < 1 else 0.0
    source = labeled if rendered is None else Mixture(labeled, rendered, data.rendered)
    return FinetuneCrops(source, validation, notes, epoch, " and ".join(digests))


def _load_rendered(recipe: FinetuneRecipe, charset: Charset) -> FinetuneCrops:
    """Rendered words alone to train on."""
    source, make_validation, notes = _render(recipe, charset)
    if recipe.data.validation:
        validation = _load(recipe.data.validation, recipe, charset)
    else:
        validation = draw(make_validation(), RENDERED_VALIDATION)
    return FinetuneCrops(source, validation, notes + validation.drops.lines(), 0.0)


def _render(recipe: FinetuneRecipe, charset: Charset) -> tuple[Source, Callable[[], RenderedWords], list[str]]:
    data, model = recipe.data, recipe.model
    return rendered_words(
        recipe.corpus, recipe.render, model.encoder, charset, model.max_length, recipe.run.seed, data.pack, data
    )


def _load(paths: Sequence[str], recipe: FinetuneRecipe, charset: Charset) -> LabeledCrops:
    data, size = recipe.data, recipe.model.encoder.crop_size
    cache = data.cache if len(size.every) == 1 else ""
    return load_crops(paths, charset, recipe.model.max_length, size, cache, data.allow_empty)


def _load_labeled(
    recipe: FinetuneRecipe, charset: Charset
) -> tuple[list[LabeledCrops], dict[int, StreamedCrops], LabeledCrops, list[str]]:
    """Labeled crops to train on, in memory and streamed as ``mix_sets`` takes them, those to validate on, and notes."""
    data = recipe.data
    streams = open_streams(recipe, charset)
    listed = [path for number, path in enumerate(data.train) if number not in streams]
    notes = describe_roots(data)
    sets: list[LabeledCrops] = []
    held_out: list[LabeledCrops] = []
    if listed:
        crops = _load(listed, recipe, charset)
        notes += [f"labeled crops: {len(crops)} of {', '.join(listed)}", *crops.drops.lines()]
        if not data.validation:
            crops, part = split(crops, data.validation_share, data.validation_split)
            held_out.append(part)
        sets.append(crops)
    for number, stream in streams.items():
        notes += [f"labeled crops: {len(stream)} of {data.train[number]}, streamed", *drops_of(stream).lines()]
        if not data.validation:
            part, total = held_out_crops(stream)
            held_out.append(part)
            notes += [f"{len(part)} of {total} that are held out validate"] if len(part) < total else []
    if data.validation:
        validation = _load(data.validation, recipe, charset)
        return sets, streams, validation, notes + validation.drops.lines()
    validation = held_out[0] if len(held_out) == 1 else join_crops(held_out, recipe.model.encoder.crop_size)
    if not len(validation):
        raise UserError(
            f"data.validation_share = {data.validation_share}: none of these crops is held out; raise it, or pass "
            "data.validation"
        )
    return sets, streams, validation, notes


def open_streams(recipe: FinetuneRecipe, charset: Charset) -> dict[int, StreamedCrops]:
    """The sets of ``data.train`` that are shards, by their index there.

    Raises:
        UserError: settings that shards do not support; shards within a root of data sets; see ``stream_crops``.
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
    """A line for the log on each path that is a root of several data sets, which lists them."""
    opened = [open_labeled(path) for path in (*data.train, *data.validation) if not is_shards(path)]
    return [dataset.describe() for dataset in opened if isinstance(dataset, LabeledRoot)]


def mix_sets(
    sets: Sequence[LabeledCrops], streams: Mapping[int, StreamedCrops], data: DataConfig, seed: int
) -> tuple[Source, list[str]]:
    """Mix crops in memory and streamed crops in proportion to ``data.weights``, or to their numbers without weights.

    Args:
        sets: the crops in memory, one element at most.
        streams: by their index in ``data.train``.

    Returns:
        The mixture, and, with weights, a line for the log on each set.

    Raises:
        UserError: a set with a weight has no crops left.
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
    listed = iter(range(len(data.train)))  # indices among the sets in memory
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
            # the seed's upper half differs between sets, so that their orders and augmentations do
            parts.append(LabeledSource(sets[0].choose(rows), seed + (number << 32), data.augment))
        notes.append(f"{weight / sum(data.weights):.1%} of labeled crops from {path} ({count})")
    return WeightedMixture(tuple(parts), whole_weights(data.weights)), notes


def describe_validation(data: DataConfig) -> dict[str, Any]:
    """The validation crops of a run, for its card: other sets, or a share of the training sets and its rule."""
    if data.validation:
        return {"sets": ["/".join(Path(path).parts[-2:]) for path in data.validation]}
    if not data.train:
        return {"rule": "rendered words that the corpus holds out"}
    return {"rule": RULE if data.validation_split == "picture" else "permutation", "share": data.validation_share}


def split(
    crops: LabeledCrops, share: float, by: Literal["picture", "order"] = "picture"
) -> tuple[LabeledCrops, LabeledCrops]:
    """Hold out a part for validation: the same crops for all seeds of a run, so that runs can be compared.

    Args:
        crops: with the hashes of their pictures.
        share: of the crops to hold out, approximately; 0 to 1.
        by: ``picture``: by the hash of the picture (``dptr.data.held_out``); ``order``: by a permutation of all crops,
            which changes if a crop is added.

    Returns:
        The crops to train on, and those held out.

    Raises:
        UserError: one of the two would have no crops.
    """
    if by == "picture":
        is_validation = is_held_out(crops.hashes, share)
    else:
        order = np.random.Generator(np.random.Philox(key=[0, 0])).permutation(len(crops))
        is_validation = np.isin(np.arange(len(crops)), order[: round(share * len(crops))])
    if is_validation.all() or not is_validation.any():
        raise UserError(
            f"data.validation_share = {share} of {len(crops)} crops leaves none to train on or to validate on; "
            "add crops, change the share, or pass data.validation"
        )
    return crops.choose(np.flatnonzero(~is_validation)), crops.choose(np.flatnonzero(is_validation))
