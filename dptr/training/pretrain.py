"""``dptr pretrain``: stage 1, training of a decoder to spell words from text tokens (DPTR section 3.2).

The frozen dual encoder turns words into tokens, ORP perturbs these with features from a bank (of photographs, or
residuals of rendered crops), and the decoder learns to spell the words. Validation spells held-out words and random
strings from their unperturbed tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dptr.config.render import CorpusConfig, SourceConfig
from dptr.config.train import ORPConfig, PretrainRecipe
from dptr.data.loader import text_batch
from dptr.dual.base import DualEncoder, distinguishes
from dptr.dual.orp.bank import Bank, load_bank
from dptr.dual.orp.perturb import perturb
from dptr.dual.orp.residuals import perturb_by_symbol, tabulate_residuals
from dptr.dual.standardize import measure
from dptr.dual.text_cache import cache_of
from dptr.evaluation.accuracy import compare, read_batches, share_correct, slice_batches
from dptr.inference.torch_backend import to_probabilities
from dptr.models.checkpoint import save_checkpoint
from dptr.models.decoders import Decoder
from dptr.models.recognizer import build_decoder
from dptr.text.charset import Charset
from dptr.text.corpus import Corpus
from dptr.text.rules import Limit, Split
from dptr.text.tokenizer import Decoded, Tokenizer
from dptr.training.device import make_accelerator
from dptr.training.epochs import count_steps
from dptr.training.prompt_limit import prompt_limit
from dptr.training.resolve import resolve_pretrain
from dptr.training.shared_rows import SharedRows, compose_rows, decoder_tables, share_rows
from dptr.training.state import check_out
from dptr.training.task import Scores, Share, Task, Validation
from dptr.training.trainer import Trainer
from dptr.utils.errors import UserError
from dptr.weights import model_file

VALIDATION = 1000  # words of each kind
STANDARDIZE_SAMPLE = 256  # words whose text tokens are measured if ``standardize`` is on
Encode = Callable[[list[str]], tuple[Float[Tensor, "b l d"], Bool[Tensor, "b l"]]]
# (memory, mask, words, generator, batch size over all processes, this process's samples in it) -> perturbed memory
Perturbation = Callable[[Tensor, Tensor, list[str], torch.Generator, int, slice], Tensor]


class PretrainObjective(nn.Module):
    def __init__(self, decoder: Decoder, shared_rows: SharedRows | None = None):
        super().__init__()
        self.decoder = decoder
        self.shared_rows = shared_rows

    def forward(
        self,
        memory: Float[Tensor, "b m d"],
        mask: Bool[Tensor, "b m"],
        targets: Int[Tensor, "b t"],
        generator: torch.Generator,
    ) -> dict[str, Float[Tensor, ""]]:
        return {"loss": self.decoder.loss(memory, mask, targets, generator)}


def pretrain(recipe: PretrainRecipe, out: Path, resume: bool = False, dual: DualEncoder | None = None) -> Path:
    """Train, and write ``out/model``, a decoder checkpoint for ``dptr finetune --set init.decoder=...``.

    Args:
        dual: a loaded dual encoder; None = load the one that the recipe names.

    Returns:
        The folder of the best decoder.

    Raises:
        UserError: a character that the dual encoder cannot encode; a loss that is not finite; see
            ``resolve_pretrain``, ``check_out``, ``Corpus``.
    """
    resolved = resolve_pretrain(recipe, dual)
    recipe, charset, dual = resolved.recipe, resolved.charset, resolved.parts.dual
    cached = cache_of(dual, recipe.dual)
    dual = cached or dual
    check_out(out, recipe, resume)
    accelerator = make_accelerator(recipe.run)
    dual.to(accelerator.device)
    bank = open_bank(recipe.orp, dual)
    if bank is not None:
        bank = bank.to(accelerator.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.run.seed)
        decoder = build_decoder(recipe.model, len(charset))
    compose_rows(decoder_tables(decoder), charset, charset.characters, recipe.decomposition, recipe.run.seed)
    limit = prompt_limit(resolved.parts.dual)
    corpus = Corpus(recipe.corpus, charset, recipe.model.max_length, recipe.run.seed, limit=limit)
    run, step_notes = count_steps(recipe.run, corpus.epoch, out)
    recipe = recipe.model_copy(update={"run": run})
    encode: Encode = dual.encode_text
    if recipe.standardize:
        encode, bank = standardize_tokens(dual, bank, [corpus.word(index) for index in range(STANDARDIZE_SAMPLE)])
    perturb_memory = make_perturbation(recipe.orp, bank, recipe.run.batch_size)
    check_characters(dual, charset, recipe.model.max_length)
    notes = [corpus.describe(), *step_notes]
    if cached is not None:
        notes.append(cached.describe())
    noise = "no ORP" if bank is None else f"ORP {recipe.orp.strength} from a bank of {len(bank.tokens)} images"
    notes += [f"dual encoder '{dual.name}', {noise}", *ambiguities(dual, charset)]
    validation = validation_words(recipe, charset, limit)
    task = PretrainTask(
        recipe, out.name, charset, decoder, dual, encode, perturb_memory, corpus, validation, accelerator.device
    )
    Trainer(out, recipe, recipe.run, recipe.optim, accelerator, task, notes).run()
    return out / "model"


class PretrainTask(Task):
    """Training of a decoder on a frozen dual encoder's text tokens; see ``dptr.training.task.Task``."""

    unit = "words"
    splittable = True

    def __init__(
        self,
        recipe: PretrainRecipe,
        name: str,
        charset: Charset,
        decoder: Decoder,
        dual: DualEncoder,
        encode: Encode,
        perturb: Perturbation,
        corpus: Corpus,
        validation: dict[str, list[str]],
        device: torch.device,
    ):
        self.recipe, self.charset, self.decoder, self.device = recipe, charset, decoder, device
        self.encode, self.perturb, self.corpus = encode, perturb, corpus
        self.tokenizer = Tokenizer(charset, recipe.model.max_length)
        self.validation = validation
        shared_rows = share_rows(decoder_tables(decoder), charset, recipe.decomposition)
        self.objective = PretrainObjective(decoder, shared_rows)
        self.parts = [(decoder, 1.0)]
        self.origins = {"charset": charset.digest, "dual encoder": dual.fingerprint}
        self.origin = {"kind": recipe.dual.kind, "name": dual.name, "fingerprint": dual.fingerprint}
        orp = recipe.orp
        noise = [f"ORP {orp.strength:g} from the bank {Path(orp.bank).name}"] if orp.strength else []
        self.card = {
            "name": name,
            "kind": "stage 1 decoder",
            "trained_on": ["text tokens of words", f"dual encoder {dual.name}", *noise],
            "recipe": recipe.model_dump(mode="json"),
        }

    def batches(self, first: int, last: int, share: Share) -> Generator[list[str], None, None]:
        run, pool = self.recipe.run, self.recipe.bucket
        end = run.steps if run.epochs else 0
        return (text_batch(self.corpus, run.batch_size, step, pool, end) for step in range(first, last))

    def tensors(
        self, batch: list[str], step: int, generator: torch.Generator, share: Share
    ) -> tuple[dict[str, Tensor], list[str]]:
        mine = slice(share.rank, None, share.processes)
        words = batch[mine]
        memory, mask = self.encode(words)
        memory = self.perturb(memory, mask, words, generator, len(batch), mine)
        targets = torch.from_numpy(self.tokenizer.encode(batch)[mine]).to(self.device)
        return {"memory": memory, "mask": mask, "targets": targets}, words

    def term_count(self, tensors: Mapping[str, Tensor]) -> float:
        return self.decoder.term_count(tensors["targets"])

    def validate(self, step: int, baseline: Mapping[str, Scores]) -> Iterator[Validation]:
        sets = self.validation.items()
        scores = {name: spelling_accuracy(self.decoder, self.encode, self.tokenizer, words) for name, words in sets}
        shown = ", ".join(f"{score:.1%} of {name.replace('_', ' ')}" for name, score in scores.items())
        yield Validation(scores, f"spells {shown}")

    def is_better(self, scores: Scores, best: Scores, baseline: Scores) -> bool:
        return sum(scores.values()) >= sum(best.values())  # of equal states the later one

    def save(self, validation: Validation, step: int, out: Path) -> None:
        scores = validation.scores.items()
        results = [{"data": name, "step": step, "word_accuracy": score} for name, score in scores]
        card = {**self.card, "results": results}
        save_checkpoint(out / "model", "decoder", self.decoder, self.recipe.model, self.charset, self.origin, card)


def ambiguities(dual: DualEncoder, charset: Charset) -> list[str]:
    """Warnings for the log about characters of the charset that have equal text tokens: case, punctuation."""
    warnings, characters = [], set(charset.characters)
    if {"A", "a"} <= characters and not distinguishes(dual, "A", "a"):
        warnings.append(
            "warning: this dual encoder's text side does not tell 'A' from 'a', the charset does: the decoder will "
            "guess; set dual.prompt to one that keeps case (dptr.dual.clip.prompts), or model.charset=36"
        )
    if {".", ","} <= characters and not distinguishes(dual, ".", ","):
        warnings.append(
            "warning: this dual encoder's text side does not tell '.' from ',', the charset does: the decoder will "
            "guess punctuation; set model.charset=36, or 62 with dual.prompt=spelled"
        )
    return warnings


def check_characters(dual: DualEncoder, charset: Charset, max_length: int) -> None:
    """Encode each character, at the start of a word and within one, so that an unknown one does not end a run midway.

    Raises:
        UserError: the dual encoder cannot encode one of them.
    """
    words = [(character * 2)[:max_length] for character in charset.characters]
    for start in range(0, len(words), 250):
        dual.encode_text(words[start : start + 250])


def standardize_tokens(dual: DualEncoder, bank: Bank | None, words: list[str]) -> tuple[Encode, Bank | None]:
    """An encoder of standardized text tokens, measured on ``words``, and a bank standardized by its own tokens.

    See ``dptr.dual.standardize``.
    """
    memory, mask = dual.encode_text(words)
    scale = measure(memory[mask])

    def encode(words: list[str]) -> tuple[Float[Tensor, "b l d"], Bool[Tensor, "b l"]]:
        memory, mask = dual.encode_text(words)
        return scale.apply(memory), mask

    if bank is not None:
        tokens = bank.tokens.float()
        bank = Bank(measure(tokens.flatten(0, 1)).apply(tokens).half(), bank.provenance)
    return encode, bank


def open_bank(config: ORPConfig, dual: DualEncoder) -> Bank | None:
    """The bank that the recipe names, a file or a name beside the dual encoder; None if ``config.strength`` is 0.

    Raises:
        UserError: there is no such bank, or it is of another dual encoder.
    """
    if config.strength == 0:
        return None
    path = Path(config.bank)
    if not path.is_file():
        path = model_file(dual.name, f"{config.bank}.safetensors")
    if not path.is_file():
        raise UserError(
            f"orp.bank = '{config.bank}': neither a file nor {path}, and orp.strength is {config.strength}; make one "
            f"with 'dptr bank --images PHOTOGRAPHS --dual {dual.kind} --model {dual.name} -o FILE' and pass "
            "--set orp.bank=FILE, or switch ORP off with --set orp.strength=0"
        )
    return load_bank(path, dual)


def make_perturbation(config: ORPConfig, bank: Bank | None, batch_size: int) -> Perturbation:
    """ORP with the recipe's settings; without a bank, no perturbation.

    Raises:
        UserError: ``orp.replacement`` is off, and the bank has fewer images than ``batch_size``; see
            ``tabulate_residuals``.
    """
    if bank is None:
        return lambda memory, mask, words, generator, samples, own: memory
    strength, positions, replacement = config.strength, config.positions, config.replacement
    if not replacement and len(bank.tokens) < batch_size:
        raise UserError(
            f"orp.replacement = false: the bank {config.bank} holds {len(bank.tokens)} images, fewer than "
            f"run.batch_size = {batch_size}; make a larger bank, or set orp.replacement=true"
        )
    if positions == "symbols":
        table = tabulate_residuals(bank)
        return lambda memory, mask, words, generator, samples, own: perturb_by_symbol(
            memory, words, table, strength, generator, samples, own
        )
    return lambda memory, mask, words, generator, samples, own: perturb(
        memory, mask, bank, strength, generator, positions, samples, own, replacement
    )


def validation_words(recipe: PretrainRecipe, charset: Charset, limit: Limit | None = None) -> dict[str, list[str]]:
    """Distinct validation words by kind, the same for all seeds of a run.

    The kinds are ``held_out_words``, which the corpus keeps out of training, ``validation_words`` of
    ``recipe.validation``, and ``random_strings``.

    Raises:
        UserError: see ``Corpus``.
    """
    random = CorpusConfig(sources=(SourceConfig(kind="pattern", patterns=("random",)),), heldout=0.5)
    kinds: dict[str, tuple[CorpusConfig, Split]] = {}
    if recipe.corpus.heldout:
        kinds["held_out_words"] = (recipe.corpus, "heldout")
    if recipe.validation:
        kinds["validation_words"] = (CorpusConfig(sources=recipe.validation, heldout=0), "all")
    kinds["random_strings"] = (random, "heldout")
    words = {}
    for name, (config, split) in kinds.items():
        corpus = Corpus(config, charset, recipe.model.max_length, 1, split, limit)
        words[name] = list(dict.fromkeys(map(corpus.word, range(VALIDATION))))
    return words


def spelling_accuracy(decoder: Decoder, encode: Encode, tokenizer: Tokenizer, words: list[str]) -> float:
    """Share of words, 0 to 1, that the decoder spells correctly from their text tokens."""

    def spell(batch: Sequence[str]) -> list[Decoded]:
        return tokenizer.decode(to_probabilities(decoder.decode(*encode(list(batch)))))

    return share_correct(compare(read_batches(slice_batches(words, 250), spell), words))
