"""``dptr adapt``: fine-tune a recognizer's decoder on words of a domain, behind the frozen encoder and FMU.

The words are rendered and encoded once before training, so a training step costs only the decoder. With ``method =
"slots"`` they are not rendered: their memories are composed of slots of other words (``dptr.training.slots``). The rest
of each batch is rendered words of the recognizer's language, so that the decoder does not forget them. Both methods are
ours.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
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
from dptr.models.checkpoint import Loaded, digest_tensors, save_checkpoint
from dptr.models.decoders import Decoder
from dptr.models.recognizer import Recognizer
from dptr.synth import FontIndex, Renderer, find_fonts
from dptr.synth.source import UNDRAWABLE_SAMPLE, RenderedWords
from dptr.text.charset import show
from dptr.text.corpus import Corpus, in_language
from dptr.text.tokenizer import Decoded, Tokenizer
from dptr.training.device import make_accelerator
from dptr.training.forgetting import FRACTIONS, sweep_interpolations
from dptr.training.resolve import resolve_adapt
from dptr.training.slots import SlotBank
from dptr.training.sources import RENDERED_VALIDATION, rendered_words
from dptr.training.state import check_out
from dptr.training.task import Scores, Share, Task, Validation
from dptr.training.trainer import Trainer
from dptr.utils.errors import UserError
from dptr.utils.permutations import seeded_order
from dptr.utils.sizes import group_by_size
from dptr.utils.terminal import progress_bars

ReportProgress = Callable[[int], None]  # gets the number of crops encoded since the last call
_BATCH = 128  # crops, or memories, that go through the network at once


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
    """Words, and what the recognizer's image side makes of a picture of each, or what stands in for it.

    Attributes:
        memory: (m, d) float16 for each word; without an FMU, m depends on the crop's width.
    """

    memory: Sequence[Float[Tensor, "m d"]]
    words: list[str]

    def shuffled_rows(self, first: int, count: int, seed: int) -> list[int]:
        """Rows of samples ``first`` to ``first + count - 1`` of a stream with a new seeded order each epoch."""
        positions = (divmod(index, len(self.words)) for index in range(first, first + count))
        return [int(seeded_order(seed, epoch, len(self.words))[position]) for epoch, position in positions]


@dataclass(frozen=True)
class FeatureSets:
    """Words of the domain and of the language; those for validation are rendered, or composed, anew."""

    domain_training: Features
    language_training: Features
    domain_validation: Features
    language_validation: Features


def adapt(recipe: AdaptRecipe, out: Path, resume: bool = False) -> Path:
    """Train, and write ``out/model``: the recognizer with its decoder adapted.

    Validation reads new renderings of domain words, and words of the language that training does not show. The state
    that reads the most domain words is kept, among those whose accuracy on the language words fell by at most
    ``recipe.max_accuracy_loss``. Candidates are the state at step 0, the decoder of each validation, and interpolations
    between the two (``dptr.training.forgetting``).

    Returns:
        The folder of the best recognizer.

    Raises:
        UserError: the recognizer can write, the fonts can draw, or slots can compose none of the words; several
            processes; see ``resolve_adapt``, ``check_out``, ``rendered_words``, ``Trainer``.
    """
    resolved = resolve_adapt(recipe)
    loaded, dual = resolved.parts.recognizer, resolved.parts.dual
    check_out(out, recipe, resume)
    model = loaded.model
    accelerator = make_accelerator(recipe.run)
    if accelerator.num_processes > 1:
        raise UserError(f"dptr adapt takes minutes: run it in one process, not {accelerator.num_processes}")
    model.to(accelerator.device).eval()
    features, notes = prepare_features(recipe, loaded)
    model.requires_grad_(False)
    model.decoder.requires_grad_(True)
    task = AdaptTask(recipe, out.name, loaded, dual, features, accelerator.device)
    Trainer(out, recipe, recipe.run, recipe.optim, accelerator, task, notes).run()
    return out / "model"


class AdaptTask(Task):
    """Fine-tuning of a decoder on encoded words; see ``dptr.training.task.Task``."""

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
        self.initial_weights = {name: tensor.clone() for name, tensor in self.decoder.state_dict().items()}
        weights = digest_tensors(loaded.model.state_dict())
        self.origins = {"charset": self.tokenizer.charset.digest, "recognizer (init.model)": weights}
        self.objective = AdaptObjective(self.decoder.train())
        self.parts = [(self.decoder, 1.0)]
        card = {key: value for key, value in loaded.card.items() if key != "thresholds"}  # not measured for this model
        self.card = {**card, "name": name, "adapted_to": [Path(path).name for path in recipe.text]}

    def batches(self, first: int, last: int, share: Share) -> Generator[list[tuple[Features, list[int]]], None, None]:
        run = self.recipe.run
        domain = max(1, round(self.recipe.domain_share * run.batch_size))
        sizes = ((self.features.domain_training, domain), (self.features.language_training, run.batch_size - domain))
        for step in range(first, last):
            yield [(subset, subset.shuffled_rows(step * count, count, run.seed)) for subset, count in sizes]

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
        fractions = FRACTIONS if step else FRACTIONS[:1]
        for fraction in sweep_interpolations(self.decoder, self.initial_weights, fractions):
            scores = {name: decoder_accuracy(self.decoder, subset, self.tokenizer) for name, subset in sets.items()}
            initial_accuracy = baseline.get("", scores)["others"]
            message = (
                f"reads {scores['domain']:.1%} of {len(sets['domain'].words)} words to learn, "
                f"{scores['others']:.1%} of {len(sets['others'].words)} others"
            )
            if fraction < 1:
                message = f"{fraction:.0%} of the way: {message}"
            if not self.is_within_limit(scores, initial_accuracy):
                message += f"; not kept: that is more than max_accuracy_loss={self.recipe.max_accuracy_loss:g} "
                message += f"below {initial_accuracy:.1%}"
            yield Validation(scores, message, variant=f"_{fraction:g}" if fraction < 1 else "")

    def is_within_limit(self, scores: Scores, initial_accuracy: float) -> bool:
        """Whether the accuracy on language words fell by at most ``recipe.max_accuracy_loss``."""
        return scores["others"] >= initial_accuracy - self.recipe.max_accuracy_loss

    def is_better(self, scores: Scores, best: Scores, baseline: Scores) -> bool:
        return not best or (self.is_within_limit(scores, baseline["others"]) and scores["domain"] > best["domain"])

    def save(self, validation: Validation, step: int, out: Path) -> None:
        how = {"rendered": "rendered", "slots": "composed of slots"}[self.recipe.method]
        sets = {
            "domain": (f"words to learn, {how}", len(self.features.domain_validation.words)),
            "others": ("other words, rendered", len(self.features.language_validation.words)),
        }
        fraction = float(validation.variant.removeprefix("_") or 1)
        results: list[dict[str, Any]] = [
            {"data": data, "n": count, "word_accuracy": validation.scores[name], "step": step, "way": fraction}
            for name, (data, count) in sets.items()
        ]
        save_checkpoint(
            out / "model", "recognizer", self.loaded.model, self.loaded.config, self.tokenizer.charset, self.dual,
            {**self.card, "results": results}, temperature=self.loaded.temperature,
        )  # fmt: skip


def prepare_features(recipe: AdaptRecipe, loaded: Loaded) -> tuple[FeatureSets, list[str]]:
    """Render and encode all words, or compose those of the domain; also return notes for the log.

    Raises:
        UserError: see ``adapt``.
    """
    model, tokenizer, config = loaded.model, loaded.tokenizer, loaded.config
    charset, length, seed = tokenizer.charset, tokenizer.max_length, recipe.run.seed
    language, make_validation, notes = rendered_words(
        in_language(recipe.corpus, charset), recipe.render, config.encoder, charset, length, seed, recipe.pack
    )
    language_counts = [(language, recipe.language_crops), (make_validation(), RENDERED_VALIDATION)]
    if recipe.method == "slots":
        language_training, language_validation = encode_all(model, language_counts)
        domain_training, domain_validation, domain_notes = compose_domain(recipe, tokenizer, language_training)
        features = FeatureSets(domain_training, language_training, domain_validation, language_validation)
        return features, [*domain_notes, *notes]
    domain, domain_validation_words = render_domain(recipe, loaded)
    undrawable = [f"words to learn: {count} of the first {UNDRAWABLE_SAMPLE:,} left out, {reason}"
                  for reason, count in domain.undrawable(UNDRAWABLE_SAMPLE).items()]  # fmt: skip
    domain_counts = [(domain, recipe.domain_crops), (domain_validation_words, RENDERED_VALIDATION)]
    domain_training, domain_validation, language_training, language_validation = encode_all(
        model, [*domain_counts, *language_counts]
    )
    message = (
        f"words to learn: {domain.corpus.describe()}; {recipe.domain_crops:,} pictures of them, "
        f"{recipe.language_crops:,} of others"
    )
    features = FeatureSets(domain_training, language_training, domain_validation, language_validation)
    return features, [message, *undrawable, *notes]


def encode_all(model: Recognizer, source_counts: Sequence[tuple[Source, int]]) -> list[Features]:
    """Encode the first samples of each source, with a progress bar over all of them."""
    total, done = sum(count for _, count in source_counts), 0
    with progress_bars() as bars:

        def progress(more: int) -> None:
            nonlocal done
            done += more
            bars("pictures", done, total)

        progress(0)
        return [encode_words(model, source, count, progress) for source, count in source_counts]


def compose_domain(recipe: AdaptRecipe, tokenizer: Tokenizer, others: Features) -> tuple[Features, Features, list[str]]:
    """Words of ``recipe.text`` to train and to validate on, composed of slots of ``others``, and notes for the log.

    Raises:
        UserError: none of the words can be composed.
    """
    bank = SlotBank(others.memory, [tokenizer.write(word) for word in others.words])
    seed, count = recipe.run.seed, recipe.domain_crops
    corpora = [domain_corpus(recipe, tokenizer, number) for number in (seed, seed + 1)]
    words = [corpora[0].word(index) for index in range(count)]
    words += [corpora[1].word(index) for index in range(RENDERED_VALIDATION)]
    gaps = {word: gap for word in dict.fromkeys(words) if (gap := bank.find_gap(tokenizer.write(word)))}
    training = [word for word in words[:count] if word not in gaps]
    validation = [word for word in words[count:] if word not in gaps]
    example, gap = next(iter(gaps.items()), ("", ""))
    if not training or not validation:
        raise UserError(
            f"words to learn: none of them can be composed of slots; {show(example)}: {gap}; set language_crops "
            "higher, or method=rendered"
        )
    rng = np.random.default_rng(seed)
    memory: list[Tensor] = []
    with progress_bars() as bars:
        for word in (*training, *validation):
            bars("words", len(memory), len(training) + len(validation))
            memory.append(bank.compose(tokenizer.write(word), rng))
    message = (
        f"words to learn: {corpora[0].describe()}; composed {len(training):,} times of slots of "
        f"{len(others.words):,} pictures of other words"
    )
    left_out = f"words to learn: {len(gaps):,} left out, such as {show(example)}: {gap}; set language_crops higher"
    first = len(training)
    sets = Features(memory[:first], training), Features(memory[first:], validation)
    return *sets, [message, *([left_out] if gaps else [])]


def domain_corpus(recipe: AdaptRecipe, tokenizer: Tokenizer, seed: int) -> Corpus:
    """The words of ``recipe.text``; its lines, if the recognizer writes spaces."""
    kind: Literal["lines", "file"] = "lines" if tokenizer.charset.spaced else "file"
    sources, words = tuple(SourceConfig(kind=kind, path=path) for path in recipe.text), recipe.words
    config = CorpusConfig(
        sources=sources, heldout=words.heldout, upper=words.upper, title=words.title, mixed=words.mixed,
        punctuation=words.punctuation,
    )  # fmt: skip
    return Corpus(config, tokenizer.charset, tokenizer.max_length, seed)


def render_domain(recipe: AdaptRecipe, loaded: Loaded) -> tuple[RenderedWords, RenderedWords]:
    """Rendered words of ``recipe.text`` to train on, and other renderings of them to validate on."""
    render, size, seed = recipe.render, loaded.config.encoder.crop_size, recipe.run.seed
    fonts = find_fonts(render.fonts)
    validation_split = "heldout" if render.font_split == "train" else render.font_split
    training, validation = (
        RenderedWords(domain_corpus(recipe, loaded.tokenizer, number),
                      Renderer(render, number, FontIndex(fonts, split), size))
        for number, split in ((seed, render.font_split), (seed + 1, validation_split))
    )  # fmt: skip
    return training, validation


def encode_words(model: Recognizer, source: Source, count: int, progress: ReportProgress) -> Features:
    """Encode the first ``count`` samples; crops of equal width form a batch, so that none is padded."""
    memory: list[Tensor] = []
    words: list[str] = []
    for start in range(0, count, _BATCH):
        samples = [source.sample(index) for index in range(start, min(start + _BATCH, count))]
        for places, crops in group_by_size([crop for crop, _, _ in samples], _BATCH):
            memory += _encode(model, crops).unbind()
            words += [samples[place][1] for place in places]
        progress(len(samples))
    return Features(memory, words)


def pad_memory(
    memories: Sequence[Float[Tensor, "m d"]], device: torch.device
) -> tuple[Float[Tensor, "b m d"], Bool[Tensor, "b m"] | None]:
    """Memories padded to one float32 tensor, and the mask of their tokens; None instead of an all-True mask."""
    padded = pad_sequence(list(memories), batch_first=True).float().to(device)
    lengths = torch.tensor([len(memory) for memory in memories], device=device)
    mask = torch.arange(padded.shape[1], device=device) < lengths[:, None]
    return padded, None if len({len(memory) for memory in memories}) == 1 else mask


@torch.no_grad()
def _encode(model: Recognizer, crops: np.ndarray) -> Float[Tensor, "b m d"]:
    return model.memory(to_pixels(crops, next(model.parameters()).device)).half().cpu()


@torch.no_grad()
def decoder_accuracy(decoder: Decoder, subset: Features, tokenizer: Tokenizer) -> float:
    """Share of words, 0 to 1, that the decoder reads exactly as they were rendered, case and punctuation included."""
    device = next(decoder.parameters()).device

    def recognize(memories: Sequence[Tensor]) -> list[Decoded]:
        return tokenizer.decode(to_probabilities(decoder.decode(*pad_memory(memories, device))))

    return share_correct(compare(read_batches(slice_batches(subset.memory, _BATCH), recognize), subset.words))
