from __future__ import annotations

import json
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_train import RUN, VALIDATION, WORDS, Parts, contents, initialized, records, resolved_recipe, write_crops
from PIL import Image

from dptr.config.load import load_recipe
from dptr.config.model import GlyphDualConfig, PPOCRConfig
from dptr.config.render import RenderConfig, plain_render
from dptr.config.size import CropSize
from dptr.config.train import FinetuneRecipe, SynthRecipe
from dptr.data.crops import LabeledCrops, load_crops
from dptr.data.held_out import RULE
from dptr.data.report import DropReport
from dptr.data.sources import LabeledSource, Mixture
from dptr.dual.glyph.model import load_glyph
from dptr.evaluation.calibration import Calibration, calibrate, fit_temperature
from dptr.evaluation.metrics import validation_protocol
from dptr.inference.confidence import apply_temperature
from dptr.inference.reader import Reader
from dptr.inference.torch_backend import crop_probabilities
from dptr.models.checkpoint import load_recognizer, open_checkpoint, save_checkpoint
from dptr.models.encoders.ppocr_weights import Head, find_file, read_weights
from dptr.models.recognizer import Recognizer, build_recognizer
from dptr.synth import Renderer
from dptr.synth.pack import Pack, write_pack
from dptr.synth.source import RenderedWords
from dptr.text.charset import resolve_charset
from dptr.text.tokenizer import Tokenizer
from dptr.training.distillation import Teacher
from dptr.training.finetune import FinetuneObjective, finetune
from dptr.training.initialize import initialize
from dptr.training.resolve import resolve_finetune
from dptr.training.sources import load_finetune_crops, split
from dptr.training.state import check_out
from dptr.training.trainer import Trainer
from dptr.utils.errors import UserError
from dptr.utils.files import read_json, write_json


def fresh(recipe: FinetuneRecipe, seed: int = 0) -> Recognizer:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_recognizer(recipe.model, len(resolve_charset(recipe.model.charset)))


def data(parts: Parts, *more: str) -> tuple[Any, Any, list[str]]:
    """What is trained on, what is validated on, notes."""
    recipe = parts.recipe("finetune", *more)
    return load_finetune_crops(recipe, resolve_charset(recipe.model.charset))[:3]


# --- learning ---------------------------------------------------------------------------------------------------------


def test_sixteen_crops_are_learned_by_heart(parts: Parts, tmp_path: Path) -> None:
    renderer = Renderer(plain_render(RenderConfig(fonts=(str(parts.fonts),))), seed=3)
    crops = tmp_path / "crops"
    crops.mkdir()
    for index, word in enumerate(WORDS[:16]):
        Image.fromarray(renderer.render(word, index)).save(crops / f"{index}.png")
    (crops / "labels.tsv").write_text("".join(f"{index}.png\t{word}\n" for index, word in enumerate(WORDS[:16])))
    recipe = parts.recipe(
        "finetune", f'data.train=["{crops}"]', f'data.validation=["{crops}"]', "data.rendered=0", "data.augment=0",
        "run.steps=100", "run.batch_size=16", "run.validate_every=50", "run.save_every=1000", "optim.lr=1e-2",
        "optim.ema_decay=0", "encoder_lr_scale=1", "model.decoder.dropout=0",
        "init.glyph=", "init.decoder=", "model.encoder.width=64",
        "model.decoder.dim=32",
    )  # fmt: skip
    model = finetune(recipe, tmp_path / "run")
    log = records(tmp_path / "run")
    accuracies = [line["validation_word_accuracy"] for line in log if "validation_word_accuracy" in line]
    assert accuracies[0] == 0 and accuracies[-1] == 1.0
    read = Reader(model).read([crops / f"{index}.png" for index in range(16)])
    assert [prediction.text for prediction in read] == WORDS[:16]
    card = read_json(model / "card.json", "card")
    assert card["trained_on"] == [f"labeled crops: {tmp_path.name}/crops"]
    (result,) = card["results"]
    assert (result["protocol"], result["n"], result["word_accuracy"]) == ("36", 16, 1.0)


def test_the_card_names_what_the_initial_weights_learned_from(parts: Parts, tmp_path: Path) -> None:
    """All sources of a trained state; those of the start alone where its weights are kept."""
    crops = write_crops(tmp_path / "crops", parts.fonts, WORDS[:4])
    settings = [
        f'data.train=["{crops}"]', f'data.validation=["{crops}"]', "data.rendered=0.5", "data.augment=0",
        "run.validate_every=40", "optim.ema_decay=0", "encoder_lr_scale=1", "init.glyph=", "init.decoder=",
    ]  # fmt: skip
    recipe = parts.recipe("finetune", *settings)
    model = build_recognizer(recipe.model, 36)
    start = tmp_path / "start"
    before = ["letters from the Moon", "rendered words"]
    save_checkpoint(start, "recognizer", model, recipe.model, resolve_charset("36"), {}, {"trained_on": before})
    after = [f"labeled crops: {tmp_path.name}/crops", "rendered words", "letters from the Moon"]
    for steps, rate, expected in ((1, "1e-12", before), (40, "1e-2", after)):
        run = (f"run.steps={steps}", f"optim.lr={rate}", f"init.model={start}")
        trained = finetune(parts.recipe("finetune", *settings, *run), tmp_path / rate)
        card = read_json(trained / "card.json", "card")
        assert card["results"][0]["step"] == (steps if steps > 1 else 0)
        assert card["trained_on"] == expected


def test_training_ends_when_nothing_gets_better(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best state of a planted series is the one that is kept; a resumed run remembers how long it has waited."""
    planted = [0.2, 0.5, 0.4, 0.6, 0.6, 0.5, 0.9, 0.9]  # step 0, 1, ...

    monkeypatch.setattr("dptr.training.finetune.calibrate", lambda *_: Calibration(1.0))
    monkeypatch.setattr(
        "dptr.training.finetune.score_crops", lambda *rest: {"word_accuracy": planted[next(steps)], "n": 0.0}
    )
    recipe = parts.recipe("finetune", "patience=2", "run.steps=7", "run.validate_every=1", "run.save_every=100")
    steps = iter(range(9))
    finetune(recipe, tmp_path / "run")
    seen = [line for line in records(tmp_path / "run") if "validation_word_accuracy" in line]
    assert [line["validation_word_accuracy"] for line in seen] == planted[:6]
    assert read_json(tmp_path / "run/model/card.json", "card")["results"][0]["step"] == 3
    finetune(recipe, tmp_path / "run", resume=True)  # has ended: nothing is read again
    assert next(steps) == 6


# --- where it starts --------------------------------------------------------------------------------------------------


def test_frozen_parts_stay_as_they_are(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit, counters and averages of batch norms among them, while every other part moves."""
    names, better = ("encoder", "fmu", "decoder"), count()
    monkeypatch.setattr(
        "dptr.training.finetune.score_crops", lambda *_: {"word_accuracy": next(better)}
    )  # the last one is kept
    for frozen in (("encoder",), ("decoder",), ("encoder", "fmu")):
        recipe = parts.recipe(
            "finetune", *(f"{name}_lr_scale=0" for name in frozen), "run.steps=3", "run.validate_every=1"
        )
        before = fresh(recipe)
        initialized(before, recipe, resolve_charset(recipe.model.charset))
        out = tmp_path / "-".join(frozen)
        finetune(recipe, out)
        after = load_recognizer(out / "model").model.state_dict()
        moved = {name.split(".")[0] for name, tensor in before.state_dict().items() if not tensor.equal(after[name])}
        assert moved == set(names) - set(frozen)
    with pytest.raises(UserError, match="encoder_lr_scale, decoder_lr_scale, fmu_lr_scale are all 0"):
        finetune(parts.recipe("finetune", *(f"{name}_lr_scale=0" for name in names)), tmp_path / "all")


def test_the_encoder_of_a_published_recognizer(parts: Parts, tmp_path: Path) -> None:
    keys = [
        "init.glyph=",
        "init.decoder=",
        "init.encoder=rapidocr",
        "encoder_lr_scale=0",
        'model.encoder={kind="ppocr", max_width=96}',
    ]
    finetune(parts.recipe("finetune", *keys, "run.steps=1"), tmp_path / "run")
    trained = load_recognizer(tmp_path / "run" / "model")
    assert trained.config.encoder == PPOCRConfig(max_width=96)
    published, _ = read_weights(find_file("rapidocr"))
    state = trained.model.encoder.state_dict()
    assert state.keys() == published.keys()
    for name, tensor in published.items():
        assert torch.equal(state[name], tensor), name
    card = json.loads((tmp_path / "run" / "model" / "card.json").read_text())
    assert any(line.startswith("image encoder of PP-OCRv6_rec_small") for line in card["trained_on"])
    with pytest.raises(UserError, match=r"init.encoder = 'rapidocr' together with init.model or init.glyph"):
        finetune(parts.recipe("finetune", "init.encoder=rapidocr"), tmp_path / "two")
    with pytest.raises(UserError, match=r"not of model.encoder.kind = 'vit'"):
        finetune(parts.recipe("finetune", *keys[:4], "model.encoder={kind='vit'}"), tmp_path / "vit")


def test_ctc_over_image_tokens_begins_with_the_published_head(parts: Parts, tmp_path: Path) -> None:
    keys = ["init.glyph=", "init.decoder=", "init.encoder=rapidocr", "encoder_lr_scale=0", "decoder_lr_scale=1e-9"]
    own = ['model.encoder={kind="ppocr", max_width=96}', 'model.decoder={kind="ctc", path="tokens", dim=120}']
    recipe = parts.recipe("finetune", *keys, *own, "model.fmu.queries=0", "run.steps=1")
    finetune(recipe, tmp_path / "run")
    trained = load_recognizer(tmp_path / "run" / "model")
    _, head = read_weights(find_file("rapidocr"))
    rows = [0, *(head.characters.index(character) + 1 for character in trained.tokenizer.charset.characters)]
    torch.testing.assert_close(trained.model.decoder.head.weight, head.weight[rows], atol=1e-4, rtol=0)
    torch.testing.assert_close(trained.model.decoder.head.bias, head.bias[rows], atol=1e-4, rtol=0)
    assert any(line.startswith("encoder and head of PP-OCRv6_rec_small") for line in trained.card["trained_on"])
    with pytest.raises(UserError, match=r"decoder.path = 'tokens' with fmu.queries = \d+.*set model.fmu.queries=0"):
        finetune(parts.recipe("finetune", *keys, *own), tmp_path / "fmu")


def test_encoder_and_fmu_from_glyph_and_the_decoder_from_stage_1(parts: Parts) -> None:
    recipe = parts.recipe("finetune")
    model = fresh(recipe, seed=5)
    messages = initialized(model, recipe, resolve_charset("36"))
    tower, decoder = parts.folder / "glyph", parts.folder / "decoder"
    assert messages == [f"encoder and FMU from {tower}", f"decoder from {decoder}"]
    glyph = load_glyph(GlyphDualConfig(model=str(tower))).model
    expected = {f"encoder.{name}": tensor for name, tensor in glyph.encoder.state_dict().items()}
    expected |= {f"fmu.{name}": tensor for name, tensor in glyph.slots.state_dict().items()}
    expected |= open_checkpoint(decoder).tensors
    state = model.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in state.items())
    before = fresh(recipe, seed=5).state_dict()
    assert all(
        not torch.equal(state[name], before[name])
        for name in ("encoder.positions", "fmu.counter.weight", "decoder.positions")
    )


@pytest.mark.parametrize(
    ("settings", "kept", "line"),
    [
        (["init.glyph="], ("encoder.", "fmu."), "fresh: encoder.*, fmu.*"),
        (["init.decoder="], ("decoder.",), "fresh: decoder.*"),
        (["init.decoder=", "init.glyph="], ("",), "fresh: encoder.*, fmu.*, decoder.*"),
    ],
)
def test_what_is_not_named_stays_fresh_and_is_told(
    settings: list[str], kept: tuple[str, ...], line: str, parts: Parts
) -> None:
    recipe = parts.recipe("finetune", "decomposition=", *settings)
    model = fresh(recipe, seed=5)
    messages = initialized(model, recipe, resolve_charset("36"))
    count = sum(name.startswith(kept) for name in model.state_dict())
    assert [told_line for told_line in messages if told_line.startswith("fresh")] == [f"{line} ({count} tensors)"]
    before = fresh(recipe, seed=5).state_dict()
    for name, tensor in model.state_dict().items():
        if name.startswith(kept):
            assert torch.equal(tensor, before[name]), name


def test_a_whole_model_goes_on(parts: Parts, tmp_path: Path) -> None:
    recipe = parts.recipe("finetune", f"init.model={tmp_path / 'model'}", "init.glyph=", "init.decoder=")
    source = fresh(recipe, seed=9)
    save_checkpoint(tmp_path / "model", "recognizer", source, recipe.model, resolve_charset("36"), {}, {})
    model = fresh(recipe, seed=5)
    messages = initialized(model, recipe, resolve_charset("36"))
    assert messages == [f"encoder and FMU from {tmp_path / 'model'}", f"decoder from {tmp_path / 'model'}"]
    expected = source.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


def test_a_larger_charset_keeps_the_rows_of_its_characters(parts: Parts) -> None:
    recipe = parts.recipe("finetune", 'model.charset="62"')
    model = fresh(recipe, seed=5)
    messages = initialized(model, recipe, resolve_charset("62"))
    assert messages[1].endswith("; fresh characters: ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    old = open_checkpoint(parts.folder / "decoder").tensors
    new, before = model.decoder.state_dict(), fresh(recipe, seed=5).decoder.state_dict()
    small, large = resolve_charset("36").characters, resolve_charset("62").characters
    for name in ("embedding.weight", "head.weight", "head.bias"):
        assert torch.equal(new[name][0], old[f"decoder.{name}"][0])  # EOS
        for row, character in enumerate(large, start=1):
            expected = old[f"decoder.{name}"][small.index(character) + 1] if character in small else before[name][row]
            assert torch.equal(new[name][row], expected), (name, character)
    assert torch.equal(new["embedding.weight"][-2:], old["decoder.embedding.weight"][-2:])  # BOS and PAD
    assert torch.equal(new["positions"], old["decoder.positions"])


@pytest.mark.parametrize("longest", [9, 3])
@pytest.mark.parametrize("whole", [True, False], ids=["model", "parts"])
def test_words_of_another_length(longest: int, whole: bool, parts: Parts, tmp_path: Path) -> None:
    """Rows of places are kept, continued or cut, and the log is told; a query k still gathers the k-th character."""
    start = [f"model.max_length={longest}", f"model.fmu.queries={longest + 1}"]
    if whole:
        recipe = parts.recipe("finetune")
        source = fresh(recipe, seed=9)
        save_checkpoint(tmp_path / "model", "recognizer", source, recipe.model, resolve_charset("36"), {}, {})
        start += [f"init.model={tmp_path / 'model'}", "init.glyph=", "init.decoder="]
        queries, positions = source.fmu.queries, source.decoder.positions
    else:
        queries = load_glyph(GlyphDualConfig(model=str(parts.folder / "glyph"))).model.slots.queries
        positions = open_checkpoint(parts.folder / "decoder").tensors["decoder.positions"]
    recipe = parts.recipe("finetune", *start)
    model = fresh(recipe, seed=5)
    messages = initialized(model, recipe, resolve_charset("36"))
    shared = min(longest, 5) + 1
    added = ", the others made like them" if longest > 5 else ""
    for name in ("fmu.queries", "decoder.positions"):
        assert f"{name}: 6 to {longest + 1} rows, the first {shared} kept{added}" in messages
    assert len(messages) == 4
    assert torch.equal(model.fmu.queries[:, :shared], queries[:, :shared])
    assert torch.equal(model.decoder.positions[:, :shared], positions[:, :shared])
    assert model.fmu.queries.shape == model.decoder.positions.shape == (1, longest + 1, 16)


def test_a_recognizer_of_short_words_learns_long_ones(parts: Parts, tmp_path: Path) -> None:
    """By the command's own way: settings, rows, the log, the folder, the reader; and words of both lengths."""
    recipe = parts.recipe("finetune", f"init.model={tmp_path / 'short'}", "init.glyph=", "init.decoder=")
    source = fresh(recipe, seed=9)
    save_checkpoint(tmp_path / "short", "recognizer", source, recipe.model, resolve_charset("36"), {}, {})
    words = [WORDS[2 * index] + WORDS[2 * index + 1] for index in range(4)] + WORDS[:4]
    crops = write_crops(tmp_path / "crops", parts.fonts, words)
    recipe = load_recipe(FinetuneRecipe, None, [
        *RUN, f"init.model={tmp_path / 'short'}", "model.max_length=10", f'data.train=["{crops}"]',
        f'data.validation=["{crops}"]', "data.augment=0", "run.steps=2", "run.batch_size=4",
    ])  # fmt: skip
    model = finetune(recipe, tmp_path / "run")
    loaded = load_recognizer(model)
    assert (loaded.config.max_length, loaded.config.fmu.queries) == (10, 11)
    assert loaded.model.decoder.positions.shape == (1, 11, 16)
    assert len(Reader(model).read([crops / f"{index}.png" for index in range(8)])) == 8


def test_starts_that_contradict_or_do_not_fit(parts: Parts, tmp_path: Path) -> None:
    def refused(match: str, *settings: str) -> None:
        recipe = parts.recipe("finetune", *settings)
        with pytest.raises(UserError, match=match):
            finetune(recipe, tmp_path / "run")
        assert not (tmp_path / "run").exists()

    decoder = parts.folder / "decoder"
    refused(f"^init.model = '{decoder}' together with init.decoder or init.glyph", f"init.model={decoder}")
    refused("a stage 1 decoder; pass it as init.decoder$", f"init.model={decoder}", "init.decoder=", "init.glyph=")
    refused(f"^{decoder}: .* is needed", "model.decoder.depth=1", "model.decoder.dim=32", "init.glyph=")
    refused(f"^encoder of {parts.folder / 'glyph'}: ", "model.encoder.size=micro", "init.decoder=")
    refused("^model 'nowhere': neither a shipped name", "init.decoder=nowhere")


# --- crops ------------------------------------------------------------------------------------------------------------


def test_validation_is_a_fixed_part_that_is_not_trained_on(parts: Parts) -> None:
    trained, validated = [], []
    for seed in (0, 7):
        source, validation, notes = data(parts, f"run.seed={seed}", "data.rendered=0")
        assert isinstance(source, LabeledSource)
        trained.append(source.crops.keys)
        validated.append(validation.keys)
        assert "14 crops for training, 4 for validation, 0% of each batch rendered" in notes
        for crops in (source.crops, validation):  # pictures and labels stay together
            for key, label, array in zip(crops.keys, crops.labels, crops.arrays, strict=True):
                assert label == WORDS[int(key.split(".")[0])]
                whole = load_crops([parts.folder / "crops"], resolve_charset("36"), 5, CropSize(height=16, width=32))
                assert (array == whole.arrays[whole.keys.index(key)]).all()
    assert trained[0] == trained[1] and validated[0] == validated[1]
    assert sorted(trained[0] + validated[0]) == sorted(f"{index}.png" for index in range(18))
    assert validated[0] != [f"{index}.png" for index in range(4)]


def test_a_run_from_before_keeps_its_validation_crops_or_says_so(parts: Parts, tmp_path: Path) -> None:
    """Recipes of old did not say how crops are chosen: it was by a permutation."""
    out, split_by_order = tmp_path / "run", "data.validation_split=order"
    model = finetune(parts.recipe("finetune", split_by_order, "run.steps=1"), out)
    card = read_json(model / "card.json", "card")
    assert card["validation"] == {"rule": "permutation", "share": 0.3}
    described = read_json(out / "recipe.json", "recipe")
    del described["data"]["validation_split"]
    write_json(out / "recipe.json", described)
    with pytest.raises(
        UserError, match=r'data\.validation_split was "order" and is now "picture"; a resumed run keeps'
    ):
        check_out(out, resolved_recipe(parts.recipe("finetune", "run.steps=1"))[0], resume=True)
    check_out(out, resolved_recipe(parts.recipe("finetune", split_by_order, "run.steps=1"))[0], resume=True)


def test_cards_say_which_crops_validated(parts: Parts, tmp_path: Path) -> None:
    crops = parts.folder / "crops"
    for name, settings, expected in (
        ("share", [], {"rule": RULE, "share": 0.3}),
        ("sets", [f'data.validation=["{crops}"]'], {"sets": [f"{parts.folder.name}/crops"]}),
        ("rendered", ["data.train=[]", "data.rendered=1"], {"rule": "rendered words that the corpus holds out"}),
    ):
        model = finetune(parts.recipe("finetune", *settings, "run.steps=1"), tmp_path / name)
        assert read_json(model / "card.json", "card")["validation"] == expected


@pytest.mark.parametrize("share", [0.0, 0.01, 0.99])
def test_a_share_that_leaves_a_side_empty(share: float, parts: Parts) -> None:
    crops = load_crops([parts.folder / "crops"], resolve_charset("36"), 5, CropSize(height=16, width=32))
    with pytest.raises(UserError, match=rf"^data\.validation_share = {share} of 18 crops leaves none"):
        split(crops, share)


def test_a_limit_takes_the_first_of_a_seeded_order(parts: Parts) -> None:
    def taken(limit: int, seed: int = 0) -> tuple[list[str], list[str]]:
        source, validation, _ = data(parts, "data.rendered=0", f"data.max_crops={limit}", f"run.seed={seed}")
        return source.crops.keys, validation.keys

    everything, held = taken(0)
    assert len(taken(6)[0]) == 6 and set(taken(6)[0]) < set(everything)
    assert taken(3)[0] == taken(6)[0][:3]
    assert taken(6)[0] != taken(6, seed=1)[0]
    assert taken(6)[1] == taken(6, seed=1)[1] == held
    assert sorted(taken(100)[0]) == sorted(everything)


def write_set(folder: Path, words: list[str], color: int) -> Path:
    """Crops of one color, so that what is drawn tells where it came from."""
    folder.mkdir()
    for index in range(len(words)):
        Image.new("RGB", (40, 20), (color, 10 * index, 0)).save(folder / f"{index}.png")
    (folder / "labels.tsv").write_text("".join(f"{index}.png\t{word}\n" for index, word in enumerate(words)))
    return folder


def test_sets_are_mixed_by_weight(parts: Parts, tmp_path: Path) -> None:
    """By brute force over 12 rounds: 4 crops in 10 of one set, 6 of the other, each used up before it is begun anew."""
    sets = [write_set(tmp_path / "few", WORDS[:4], 200), write_set(tmp_path / "many", WORDS[4:13], 100)]
    named = (f'data.train=["{sets[0]}", "{sets[1]}"]', f'data.validation=["{sets[0]}"]', "data.rendered=0")
    source, _, notes = data(parts, *named, "data.augment=0", "data.weights=[1, 1.5]")
    assert f"40.0% of labeled crops from {sets[0]} (4)" in notes
    drawn = [source.sample(index) for index in range(120)]
    reds = [int(crop[0, 0, 0]) for crop, *_ in drawn]
    for start in range(0, 120, 5):
        assert reds[start : start + 5].count(200) == 2
    for red, words in ((200, WORDS[:4]), (100, WORDS[4:13])):
        of_set = [word for (_, word, _), own in zip(drawn, reds, strict=True) if own == red]
        for start in range(0, len(of_set), len(words)):
            assert sorted(of_set[start : start + len(words)]) == sorted(words)
    unweighted, _, _ = data(parts, *named, "data.augment=0")
    assert sorted(unweighted.sample(index)[1] for index in range(13)) == WORDS[:13]  # by their sizes
    other, _, _ = data(parts, *named, "data.augment=0", "data.weights=[1, 1.5]", "run.seed=1")
    assert [other.sample(index)[1] for index in range(120)] != [word for _, word, _ in drawn]


def test_weights_that_do_not_fit(parts: Parts, tmp_path: Path) -> None:
    sets = [write_set(tmp_path / "a", WORDS[:6], 0), write_set(tmp_path / "b", WORDS[6:8], 1)]
    named = (f'data.train=["{sets[0]}", "{sets[1]}"]', "data.rendered=0")
    for weights in ("[1]", "[1, 2, 3]"):
        with pytest.raises(UserError, match=r"^data\.weights: [13] for 2 data sets in data\.train; give each set one"):
            resolve_finetune(parts.recipe("finetune", *named, f"data.weights={weights}"))
    with pytest.raises(UserError, match=r"^data\.weights: 1 for 0 data sets"):
        resolve_finetune(parts.recipe("finetune", "data.train=[]", "data.rendered=1", "data.weights=[1]"))
    for weights in ("[1, -1]", "[1, 0]", "[1, nan]", "[1, inf]"):
        with pytest.raises(UserError, match=r"^--set: data\.weights\.1 = "):
            data(parts, *named, f"data.weights={weights}")
    with pytest.raises(UserError, match=rf"^{sets[1]}: no crop left to train on; raise data\.max_crops"):
        data(parts, *named, f'data.validation=["{sets[0]}"]', "data.weights=[1, 1]", "data.max_crops=1")


def test_a_cache_changes_no_byte_of_a_run(parts: Parts, tmp_path: Path) -> None:
    """Weighted, bucketed, mixed with rendered crops; resumed with and without the cache, by other workers."""
    more = write_set(tmp_path / "more", WORDS[:7], 90)
    settings = (
        f'data.train=["{parts.folder / "crops"}", "{more}"]', "data.weights=[1, 2]", "data.bucket=2", "run.steps=6",
        "run.save_every=2",
    )  # fmt: skip
    cached = f"data.cache={tmp_path / 'cache'}"
    finetune(parts.recipe("finetune", *settings), tmp_path / "plain")
    finetune(parts.recipe("finetune", *settings, cached, "run.workers=2"), tmp_path / "cached")
    assert records(tmp_path / "cached") == records(tmp_path / "plain")
    (tmp_path / "half").mkdir()

    class Crash(Exception):
        pass

    def crash(run: Trainer) -> bool:
        if run.progress.step == 3:
            raise Crash
        return end(run)

    end = Trainer.end_step
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Crash):
        patch.setattr(Trainer, "end_step", crash)
        finetune(parts.recipe("finetune", *settings, cached), tmp_path / "half")
    finetune(parts.recipe("finetune", *settings), tmp_path / "half", resume=True)
    assert records(tmp_path / "half") == records(tmp_path / "plain")
    weights = "model/model.safetensors"
    assert len({(tmp_path / out / weights).read_bytes() for out in ("plain", "cached", "half")}) == 1
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2


def test_drops_are_reported_by_reason(parts: Parts, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "crops"
    folder.mkdir()
    for name in ("a", "b", "c", "d", "e"):
        Image.new("RGB", (20, 10)).save(folder / f"{name}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG")
    rows = [
        "a.png\tapple",
        "b.png\tbread",
        "c.png\tcandle",
        "d.png\tp@ss",
        "e.png\t",
        "broken.png\tword",
        "a.png\tempty",
    ]
    (folder / "labels.tsv").write_text("\n".join(rows) + "\n")
    sets = f'data.train=["{folder}"]', f'data.validation=["{parts.folder / "crops"}"]'
    finetune(parts.recipe("finetune", *sets, "run.steps=1"), tmp_path / "run")
    said = capsys.readouterr().err.splitlines()
    dropped = [line for line in said if line.startswith("dropped ")]
    assert sorted(line.split("(")[1].split(")")[0] for line in dropped) == [
        "empty label", "outside charset", "too long", "unreadable image",
    ]  # fmt: skip
    assert all(line.startswith("dropped 1 (") for line in dropped)
    assert f"labeled crops: 3 of {folder}" in said
    for key in ("c.png", "d.png", "e.png", "broken.png"):
        assert any(key in line for line in dropped)


def test_rendered_and_labeled_crops_mix(parts: Parts) -> None:
    source, _, _ = data(parts, "data.rendered=0.25", "data.augment=0")
    assert isinstance(source, Mixture)
    rendered = {source.rendered.sample(index)[1] for index in range(10)}
    words = [source.sample(index)[1] for index in range(40)]
    assert words[3::4] == [source.rendered.sample(index)[1] for index in range(10)]
    assert len(rendered) > 1
    assert sorted([word for index, word in enumerate(words) if index % 4 != 3][:14]) == sorted(
        source.labeled.crops.labels
    )


def test_rendered_words_alone(parts: Parts, tmp_path: Path) -> None:
    alone = ("data.rendered=1", "data.train=[]")
    source, validation, _ = data(parts, *alone)
    assert isinstance(source, RenderedWords)
    assert len(validation) == VALIDATION
    trained = {source.sample(index)[1].lower() for index in range(200)}
    assert not trained & {word.lower() for word in validation.labels}
    _, given, _ = data(parts, *alone, f'data.validation=["{parts.folder / "crops"}"]')
    assert given.labels == WORDS
    model = finetune(parts.recipe("finetune", *alone, "run.steps=2", "init.decoder="), tmp_path / "run")
    card = read_json(model / "card.json", "card")
    assert card["trained_on"] == (["rendered words"] if card["results"][0]["step"] else [])


def test_a_pack_and_labeled_crops_need_no_fonts(parts: Parts, tmp_path: Path) -> None:
    recipe = parts.recipe("finetune")
    synth = SynthRecipe(
        charset=recipe.model.charset, max_length=5, corpus=recipe.corpus,
        render=recipe.render, size=CropSize(height=16, width=32),
    )  # fmt: skip
    write_pack(synth, 20, tmp_path / "pack")
    (tmp_path / "none").mkdir()
    without = (f'render.fonts=["{tmp_path / "none"}"]', "render.font_split=train")
    source, validation, _ = data(parts, "data.rendered=0.5", f"data.pack={tmp_path / 'pack'}", *without)
    assert isinstance(source, Mixture) and isinstance(source.rendered, Pack) and len(validation)
    with pytest.raises(UserError, match=r"no usable font in"):
        data(parts, "data.rendered=1", "data.train=[]", f"data.pack={tmp_path / 'pack'}", *without)


def test_no_crops_at_all(parts: Parts, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^no labeled crops; pass --data DIR, or set data\.rendered=1"):
        finetune(parts.recipe("finetune", "data.train=[]"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- other scripts ----------------------------------------------------------------------------------------------------


def test_the_protocol_is_native_beyond_ascii(tmp_path: Path) -> None:
    (tmp_path / "signs.txt").write_text("abc日本語")
    assert [validation_protocol(resolve_charset(name)) for name in ("36", "62", "94", str(tmp_path / "signs.txt"))] == [
        "36", "36", "36", "native",
    ]  # fmt: skip


def chinese(folder: Path, labels: list[str]) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index, label in enumerate(labels):
        Image.fromarray(rng.integers(0, 256, (16, 32, 3), dtype=np.uint8)).save(folder / f"{index}.png")
        with open(folder / "labels.tsv", "a", encoding="utf-8") as file:
            file.write(f"{index}.png\t{label}\n")
    return folder


def test_another_script_trains_and_validates(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "signs.txt").write_text("日本語中文")
    crops = chinese(tmp_path / "crops", ["日本", "本語", "中文", "文", "日語", "語文"])
    recipe = parts.recipe(
        "finetune", f'data.train=["{crops}"]', "data.rendered=0", f"model.charset={tmp_path / 'signs.txt'}",
        "init.decoder=", "run.steps=2", f'data.validation=["{crops}"]',
    )  # fmt: skip
    model = finetune(recipe, tmp_path / "run")
    assert read_json(model / "card.json", "card")["results"][0]["protocol"] == "native"


def test_labels_without_a_letter_cannot_validate(parts: Parts, tmp_path: Path) -> None:
    crops = chinese(tmp_path / "crops", ["!!", "??", "-", "...", "::"])
    recipe = parts.recipe(
        "finetune", f'data.train=["{crops}"]', "data.rendered=0", 'model.charset="94"', "init.decoder=", "run.steps=2",
        f'data.validation=["{crops}"]',
    )  # fmt: skip
    with pytest.raises(UserError, match=r"^none of 5 validation labels has a letter or digit \(protocol 36\)"):
        finetune(recipe, tmp_path / "run")
    assert contents(tmp_path / "run").keys() == {"recipe.json"}


def test_weights_before_training_do_not_depend_on_the_outside(parts: Parts, tmp_path: Path) -> None:
    recipe = parts.recipe("finetune", "init.glyph=", "init.decoder=", "run.steps=1", "optim.ema_decay=0")
    torch.manual_seed(1)
    finetune(recipe, tmp_path / "a")
    torch.manual_seed(2)
    finetune(recipe, tmp_path / "b")
    assert records(tmp_path / "a") == records(tmp_path / "b")


class Planted(torch.nn.Module):
    """Reads the crop whose every byte is i as the i-th of planted logits."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.logits[((pixels[:, 0, 0, 0] + 1) * 127.5).round().long()]


def test_the_temperature_is_that_of_words_being_right() -> None:
    """Of 240 words of one character, shown at 0.9, half are right: the temperature brings 0.9 down to a half."""
    charset = resolve_charset("36")
    tokenizer = Tokenizer(charset, 3)
    logits = torch.full((240, 2, len(charset) + 1), -30.0)
    logits[:, 0, 1], logits[:, 0, 2], logits[:, 1, 0] = 2.2, 0.0, 30.0  # "0" against "1", then the end
    arrays = np.repeat(np.arange(240, dtype=np.uint8), 4 * 4 * 3).reshape(240, 4, 4, 3)
    labels = ["0" if index % 2 else "z" for index in range(240)]
    crops = LabeledCrops(arrays, labels, labels, [0] * 240, DropReport())
    model: Any = Planted(logits)
    recognize = partial(crop_probabilities, model, device=torch.device("cpu"))
    found = calibrate(crops, tokenizer, recognize, "36").temperature
    assert found == pytest.approx(fit_temperature(list(logits.softmax(-1).numpy()), [label == "0" for label in labels]))
    assert apply_temperature(logits.softmax(-1).numpy(), found).max(-1).prod(-1).mean() < 0.6


@pytest.mark.parametrize("teacher", [False, True])
def test_counting_adds_what_the_columns_count_wrong(teacher: bool, parts: Parts) -> None:
    """Beside the decoder's own loss, or that of distillation, with the same draws."""
    recipe = parts.recipe("finetune")
    charset = resolve_charset(recipe.model.charset)
    tokenizer = Tokenizer(charset, 5)
    model, other = (build_recognizer(recipe.model, len(charset)).eval() for _ in range(2))
    known = Teacher(other, 0.5, 2.0) if teacher else None
    pixels = torch.rand((3, 3, 16, 32), generator=torch.Generator().manual_seed(1)) * 2 - 1
    targets = torch.from_numpy(tokenizer.encode(["apple", "b", ""]))

    def losses(counting: float) -> dict[str, torch.Tensor]:
        objective = FinetuneObjective(model, tokenizer, known, counting=counting).eval()
        return objective(pixels, targets, torch.Generator().manual_seed(2))

    tokens, grid = model.encoder.with_grid(pixels)
    counts = model.fmu.density(tokens, grid).sum(1)
    wrong = sum(abs(count - length) for count, length in zip(counts, (5, 1, 0), strict=True)) / (6 + 2 + 1)
    plain, with_counting = losses(0), losses(0.5)
    assert set(plain) == {"loss"}
    torch.testing.assert_close(with_counting["counting"], wrong.detach())
    torch.testing.assert_close(with_counting["loss"], plain["loss"] + 0.5 * wrong)


@pytest.mark.parametrize("installed", [True, False])
def test_characters_that_ctc_lacks_come_from_the_installed_head(
    installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "labels.tsv").write_text("1.png\ta中ж\n", encoding="utf-8")
    head = Head(("中", "a"), torch.randn(3, 120), torch.randn(3))
    monkeypatch.setattr("dptr.training.resolve.find_installed_head", lambda: head if installed else None)
    settings = ["init.model=dptr-latin", f'data.train=["{tmp_path}"]', "data.extend_charset=1"]
    resolved = resolve_finetune(load_recipe(FinetuneRecipe, None, settings))
    model = build_recognizer(resolved.recipe.model, len(resolved.charset))
    line = initialize(model, resolved)[1]
    assert ("; characters from the head of PP-OCRv6: 中; fresh characters: ж" in line) == installed
    assert line.endswith("fresh characters: ж" if installed else "fresh characters: ж中")
    held = open_checkpoint("dptr-latin")
    own, bias = (held.tensors[f"decoder.head.{name}"].float() for name in ("weight", "bias"))
    layer = model.decoder.head
    assert torch.equal(layer.weight[: len(own)], own) and torch.equal(layer.bias[: len(own)], bias)
    place = {character: row for row, character in enumerate(resolved.charset.characters, 1)}
    rows = torch.cat([own[1:], head.weight[1:2]]) if installed else own[1:]
    assert torch.allclose(layer.weight[place["ж"]], rows.mean(0), atol=1e-6)
    assert torch.equal(layer.weight[place["中"]], head.weight[1]) == installed
