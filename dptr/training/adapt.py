"""``dptr adapt``: a recognizer learns the words of a domain from rendered crops of them; its image side is frozen.

The words are rendered, the frozen encoder and FMU see them once, and the decoder learns to read what they saw: a step
costs the decoder alone. The other part of each batch are rendered words of the recognizer's language, seen in the same
way, so that it does not forget them. Ours, and not training on text alone: without rendering, text standing in for the
image side of a finished recognizer was tried and failed (docs/LOG.md).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from dptr.config.render import CorpusConfig, SourceConfig
from dptr.config.train import AdaptRecipe
from dptr.data.augment import to_pixels
from dptr.data.sources import Source
from dptr.evaluation.accuracy import compare, read_batches, share_correct, slice_batches
from dptr.inference.torch_backend import to_probabilities
from dptr.models.checkpoint import Loaded, save_checkpoint
from dptr.models.decoders import Decoder
from dptr.models.recognizer import Recognizer
from dptr.synth import FontIndex, Renderer, find_fonts
from dptr.synth.source import RenderedWords
from dptr.text.corpus import Corpus, in_language
from dptr.text.tokenizer import Decoded, Tokenizer
from dptr.training.device import make_accelerator
from dptr.training.forgetting import WAYS, between
from dptr.training.resolve import resolve_adapt
from dptr.training.sources import RENDERED_VALIDATION, rendered_words
from dptr.training.state import check_out
from dptr.training.task import Scores, Share, Task, Validation
from dptr.training.trainer import Trainer
from dptr.utils.errors import UserError
from dptr.utils.permutations import seeded_order
from dptr.utils.sizes import group_by_size
from dptr.utils.terminal import progress_bars

LOOKED_AT = 5000  # words that are tried for whether some font draws them, for the log
Progress = Callable[[int], None]  # so many pictures more
_TOGETHER = 128  # crops that the image side sees at once


class AdaptObjective(nn.Module):
    def __init__(self, decoder: Decoder):
        super().__init__()
        self.decoder = decoder

    def forward(
        self,
        memory: Float[Tensor, "b m d"],
        targets: Int[Tensor, "b t"],
        generator: torch.Generator,
        memory_mask: Bool[Tensor, "b m"] | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        return {"loss": self.decoder.loss(memory, memory_mask, targets, generator)}


@dataclass(frozen=True)
class Features:
    """Rendered words as the recognizer's image side sees them.

    Attributes:
        memory: of each word (m, d) float16; without an FMU, m goes by the width of the crop.
    """

    memory: Sequence[Float[Tensor, "m d"]]
    words: list[str]

    def rows(self, first: int, count: int, seed: int) -> list[int]:
        """Samples ``first``.. of all, in a new seeded order each epoch."""
        places = (divmod(index, len(self.words)) for index in range(first, first + count))
        return [int(seeded_order(seed, epoch, len(self.words))[place]) for epoch, place in places]


@dataclass(frozen=True)
class FeatureSets:
    """What is learned, what is rehearsed, and other pictures of both to validate on."""

    domain_training: Features
    language_training: Features
    domain_validation: Features
    language_validation: Features


def adapt(recipe: AdaptRecipe, out: Path, resume: bool = False) -> Path:
    """Train and write ``out/model``: the recognizer with another decoder.

    Validation reads words of the domain in other pictures, and other words, which nothing else shows. Kept is the state
    that reads most of the domain, of those that lose at most ``recipe.max_accuracy_loss`` of the others; step 0
    counts, and so do decoders some of the ``WAYS`` from the one before to that of a step
    (``dptr.training.forgetting``).

    Returns:
        The folder of the best recognizer.

    Raises:
        UserError: no word of the text that the recognizer can write, or no font draw; several processes; see
            ``resolve_adapt``, ``check_out``, ``rendered_words``, ``Trainer``.
    """
    resolved = resolve_adapt(recipe)
    loaded, dual = resolved.parts.recognizer, resolved.parts.dual
    check_out(out, recipe, resume)
    model = loaded.model
    accelerator = make_accelerator(recipe.run)
    if accelerator.num_processes > 1:
        raise UserError(f"dptr adapt takes minutes: run it in one process, not {accelerator.num_processes}")
    model.to(accelerator.device).eval()
    features, notes = prepare(recipe, loaded)
    model.requires_grad_(False)
    model.decoder.requires_grad_(True)
    task = AdaptTask(recipe, out.name, loaded, dual, features, accelerator.device)
    Trainer(out, recipe, recipe.run, recipe.optim, accelerator, task, notes).run()
    return out / "model"


class AdaptTask(Task):
    """A decoder that learns words of a domain behind a frozen image side; see ``dptr.training.task.Task``."""

    unit = "words"
    splittable = True
    validate_first = True

    def __init__(
        self,
        recipe: AdaptRecipe,
        name: str,
        loaded: Loaded,
        dual: dict[str, Any],
        features: FeatureSets,
        device: torch.device,
    ):
        self.recipe, self.loaded, self.dual, self.features, self.device = recipe, loaded, dual, features, device
        self.decoder, self.tokenizer = loaded.model.decoder, loaded.tokenizer
        self.first = {name: tensor.clone() for name, tensor in self.decoder.state_dict().items()}
        self.objective = AdaptObjective(self.decoder.train())
        self.parts = [(self.decoder, 1.0)]
        before = {key: value for key, value in loaded.card.items() if key != "thresholds"}  # not measured on this one
        self.card = {**before, "name": name, "adapted_to": [Path(path).name for path in recipe.text]}

    def batches(self, first: int, last: int, share: Share) -> Generator[list[tuple[Features, list[int]]], None, None]:
        run = self.recipe.run
        new = max(1, round(self.recipe.domain_share * run.batch_size))
        sizes = ((self.features.domain_training, new), (self.features.language_training, run.batch_size - new))
        for step in range(first, last):
            yield [(subset, subset.rows(step * count, count, run.seed)) for subset, count in sizes]

    def tensors(
        self, batch: list[tuple[Features, list[int]]], step: int, generator: torch.Generator, share: Share
    ) -> tuple[dict[str, Tensor], list[str]]:
        words = [subset.words[row] for subset, rows in batch for row in rows]
        memory, mask = pad_memory([subset.memory[row] for subset, rows in batch for row in rows], self.device)
        targets = torch.from_numpy(self.tokenizer.encode(words)).to(self.device)
        return {"memory": memory, "targets": targets, **({} if mask is None else {"memory_mask": mask})}, words

    def term_count(self, tensors: Mapping[str, Tensor]) -> float:
        return self.decoder.term_count(tensors["targets"])

    def validate(self, step: int, baseline: Mapping[str, Scores]) -> Iterator[Validation]:
        sets = {"domain": self.features.domain_validation, "others": self.features.language_validation}
        for way in between(self.decoder, self.first, WAYS if step else WAYS[:1]):
            scores = {name: decoder_accuracy(self.decoder, some, self.tokenizer) for name, some in sets.items()}
            before = baseline.get("", scores)["others"]
            message = (
                f"reads {scores['domain']:.1%} of {len(sets['domain'].words)} words to learn, "
                f"{scores['others']:.1%} of {len(sets['others'].words)} others"
            )
            if way < 1:
                message = f"{way:.0%} of the way: {message}"
            if not self.remembers(scores, before):
                message += f"; not kept: that is more than max_accuracy_loss={self.recipe.max_accuracy_loss:g} "
                message += f"below {before:.1%}"
            yield Validation(scores, message, variant=f"_{way:g}" if way < 1 else "")

    def remembers(self, scores: Scores, before: float) -> bool:
        """Whether other words are read nearly as well as before."""
        return scores["others"] >= before - self.recipe.max_accuracy_loss

    def is_better(self, scores: Scores, best: Scores, baseline: Scores) -> bool:
        return not best or (self.remembers(scores, baseline["others"]) and scores["domain"] > best["domain"])

    def save(self, validation: Validation, step: int, out: Path) -> None:
        about = {
            "domain": ("words to learn, rendered", len(self.features.domain_validation.words)),
            "others": ("other words, rendered", len(self.features.language_validation.words)),
        }
        way = float(validation.variant.removeprefix("_") or 1)
        results: list[dict[str, Any]] = [
            {"data": data, "n": count, "word_accuracy": validation.scores[name], "step": step, "way": way}
            for name, (data, count) in about.items()
        ]
        save_checkpoint(
            out / "model", "recognizer", self.loaded.model, self.loaded.config, self.tokenizer.charset, self.dual,
            {**self.card, "results": results}, temperature=self.loaded.temperature,
        )  # fmt: skip


def prepare(recipe: AdaptRecipe, loaded: Loaded) -> tuple[FeatureSets, list[str]]:
    """All words rendered and seen, and notes for the log.

    Raises:
        UserError: see ``adapt``.
    """
    model, tokenizer, config = loaded.model, loaded.tokenizer, loaded.config
    charset, length, seed = tokenizer.charset, tokenizer.max_length, recipe.run.seed
    others, unseen, notes = rendered_words(
        in_language(recipe.corpus, charset), recipe.render, config.encoder, charset, length, seed, recipe.pack
    )
    sources = tuple(SourceConfig(kind="file", path=path) for path in recipe.text)
    shown = recipe.words
    words = CorpusConfig(
        sources=sources, heldout=shown.heldout, upper=shown.upper, title=shown.title, mixed=shown.mixed,
        punctuation=shown.punctuation,
    )  # fmt: skip
    render, size = recipe.render, config.encoder.crop_size
    fonts = find_fonts(render.fonts)
    held = "heldout" if render.font_split == "train" else render.font_split
    domain, again = (
        RenderedWords(Corpus(words, charset, length, number), Renderer(render, number, FontIndex(fonts, split), size))
        for number, split in ((seed, render.font_split), (seed + 1, held))
    )
    undrawable = [f"words to learn: {count} of the first {LOOKED_AT:,} left out, {reason}"
                  for reason, count in domain.undrawable(LOOKED_AT).items()]  # fmt: skip
    source_counts = (
        (domain, recipe.domain_crops),
        (others, recipe.language_crops),
        (again, RENDERED_VALIDATION),
        (unseen(), RENDERED_VALIDATION),
    )
    total, done = sum(count for _, count in source_counts), 0
    with progress_bars() as bars:

        def progress(more: int) -> None:
            nonlocal done
            done += more
            bars("pictures", done, total)

        features = FeatureSets(*(encode_words(model, source, count, progress) for source, count in source_counts))
    message = (
        f"words to learn: {domain.corpus.describe()}; {recipe.domain_crops:,} pictures of them, "
        f"{recipe.language_crops:,} of others"
    )
    return features, [message, *undrawable, *notes]


def encode_words(model: Recognizer, source: Source, count: int, progress: Progress) -> Features:
    """The memory of the first ``count`` samples; those of one width are seen together, so that none is stretched."""
    memory: list[Tensor] = []
    words: list[str] = []
    for start in range(0, count, _TOGETHER):
        samples = [source.sample(index) for index in range(start, min(start + _TOGETHER, count))]
        for places, crops in group_by_size([crop for crop, _, _ in samples], _TOGETHER):
            memory += _memory(model, crops).unbind()
            words += [samples[place][1] for place in places]
        progress(len(samples))
    return Features(memory, words)


def pad_memory(
    memories: Sequence[Float[Tensor, "m d"]], device: torch.device
) -> tuple[Float[Tensor, "b m d"], Bool[Tensor, "b m"] | None]:
    """Memories as one tensor, float32, and which of its tokens they have; None where that is all."""
    padded = pad_sequence(list(memories), batch_first=True).float().to(device)
    lengths = torch.tensor([len(memory) for memory in memories], device=device)
    mask = torch.arange(padded.shape[1], device=device) < lengths[:, None]
    return padded, None if len({len(memory) for memory in memories}) == 1 else mask


@torch.no_grad()
def _memory(model: Recognizer, crops: Any) -> Float[Tensor, "b m d"]:
    return model.memory(to_pixels(crops, next(model.parameters()).device)).half().cpu()


@torch.no_grad()
def decoder_accuracy(decoder: Decoder, subset: Features, tokenizer: Tokenizer) -> float:
    """Share of words, 0 to 1, that the decoder reads correctly, character by character as they were drawn."""
    device = next(decoder.parameters()).device

    def recognize(memories: Sequence[Tensor]) -> list[Decoded]:
        return tokenizer.decode(to_probabilities(decoder.decode(*pad_memory(memories, device))))

    return share_correct(compare(read_batches(slice_batches(subset.memory, _TOGETHER), recognize), subset.words))
