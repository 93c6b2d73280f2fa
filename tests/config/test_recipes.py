"""Recipes: what a key may be called, how ``--set`` is read, and what is said when either is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError

from dptr.config.load import load_recipe
from dptr.config.model import Config
from dptr.config.train import AlignRecipe, FinetuneRecipe, PretrainRecipe
from dptr.utils.errors import UserError

SCHEMAS = (AlignRecipe, PretrainRecipe, FinetuneRecipe)


def message(schema: type[Config], path: Path | None = None, overrides: Sequence[str] = ()) -> str:
    with pytest.raises(UserError) as caught:
        load_recipe(schema, path, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_defaults_are_valid_and_pass_through_json(schema: type[Config]) -> None:
    defaults = load_recipe(schema)
    assert defaults == schema()
    assert schema.model_validate(defaults.model_dump(mode="json")) == defaults


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("run.steps=7", ("run", "steps"), 7),
        ("run.steps = 7", ("run", "steps"), 7),
        ("run.steps=1_000", ("run", "steps"), 1000),
        ("optim.lr=2e-3", ("optim", "lr"), 2e-3),
        ("optim.ema_decay=0", ("optim", "ema_decay"), 0.0),
        ("model.decoder.autoregressive=false", ("model", "decoder", "autoregressive"), False),
        ("model.charset=36", ("model", "charset"), "36"),
        ("model.charset=en", ("model", "charset"), "en"),
        ('init.decoder="runs/a b"', ("init", "decoder"), "runs/a b"),
        ("init.decoder=runs/x=1/model", ("init", "decoder"), "runs/x=1/model"),
        ("init.decoder=", ("init", "decoder"), ""),
        ('data.train=["a", "b"]', ("data", "train"), ("a", "b")),
        ("data.train=[]", ("data", "train"), ()),
        ("encoder_lr_scale=0.1", ("encoder_lr_scale",), 0.1),
    ],
)
def test_set_reads_toml_values_and_bare_strings(override: str, key: tuple[str, ...], value: object) -> None:
    found: object = load_recipe(FinetuneRecipe, overrides=[override])
    for name in key:
        found = getattr(found, name)
    assert found == value
    assert type(found) is type(value)


def test_set_takes_a_list_of_tables() -> None:
    recipe = load_recipe(PretrainRecipe, overrides=['corpus.sources=[{kind="file", path="words.txt", weight=2}]'])
    (source,) = recipe.corpus.sources
    assert (source.kind, source.path, source.weight) == ("file", "words.txt", 2.0)


def test_file_then_set_then_later_set(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("\ufeff[run]\nsteps = 5\nbatch_size = 6\nseed = 1\n", encoding="utf-8")  # as some editors save it
    run = load_recipe(PretrainRecipe, path, ["run.batch_size=7", "run.seed=2", "run.seed=3"]).run
    assert (run.steps, run.batch_size, run.seed) == (5, 7, 3)
    assert run.log_every == PretrainRecipe().run.log_every


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("run.step=3", "run.steps"),
        ("stps=3", "run.steps"),
        ("steps=3", "run.steps"),
        ("lr=1", "optim.lr"),
        ("run.lr=1", "optim.lr"),
        ("optim.lrate=1", "optim.lr"),
        ("optm.lr=1", "optim"),
        ("optim.weight=1", "optim.weight_decay"),  # not corpus.sources.weight, which has that very name
        ("model.decoder.dimm=1", "model.decoder.dim"),
        ("model.dim=1", "model.decoder.dim"),
        ("encoder_rl=1", "encoder_lr_scale"),
        ("corpus.sources=[{kind='file', pth='x'}]", "corpus.sources.path"),
    ],
)
def test_an_unknown_key_names_the_nearest(override: str, nearest: str) -> None:
    messages = message(FinetuneRecipe, overrides=[override])
    assert f"did you mean '{nearest}'?" in messages
    assert "unknown key" in messages


def test_a_key_like_no_other_names_the_sections() -> None:
    messages = message(PretrainRecipe, overrides=["xyzzy=1"])
    assert "unknown key 'xyzzy'" in messages
    assert all(name in messages for name in PretrainRecipe.model_fields)


def test_every_unknown_key_of_a_file_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("[run]\nstep = 1\n[optim]\nlrr = 1\n")
    messages = message(PretrainRecipe, path)
    assert messages.startswith(f"{path}: unknown key 'run.step'")
    assert messages.endswith("(and 1 more)")


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("run.steps=0", ["run.steps = 0", "greater than 0"]),
        ("run.steps=many", ['run.steps = "many"', "integer"]),
        ("run.steps=2.5", ["run.steps = 2.5", "integer"]),
        ("run.precision=fp8", ['run.precision = "fp8"', "'bf16'"]),
        ("optim.lr=nan", ["optim.lr", "finite"]),
        ("optim.lr=inf", ["optim.lr", "finite"]),
        ("data.augment=1.5", ["data.augment = 1.5", "less than or equal to 1"]),
        ("data.train=crops", ['data.train = "crops"', 'a list, such as ["a", "b"]']),
        ("init.model=true", ["init.model = true", "string"]),
        ("run=3", ["run = 3", "section"]),
        ("run", ["--set run", "section.key=value"]),
        ("=3", ["--set =3", "section.key=value"]),
        ("corpus.sources.0.weight=2", ["'sources' is a value, not a section"]),
    ],
)
def test_an_invalid_value_is_named_with_its_rule(override: str, parts: list[str]) -> None:
    overrides = ["corpus.sources=[]", override] if "sources.0" in override else [override]
    messages = message(FinetuneRecipe, overrides=overrides)
    for part in parts:
        assert part in messages


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    broken, latin = tmp_path / "broken.toml", tmp_path / "latin.toml"
    broken.write_text("[run\n")
    latin.write_bytes("# caf\xe9\n".encode("latin-1"))
    assert "pass an existing TOML file" in message(PretrainRecipe, tmp_path / "missing.toml")
    assert "pass an existing TOML file" in message(PretrainRecipe, tmp_path)
    assert "not valid TOML" in message(PretrainRecipe, broken)
    assert "not valid TOML" in message(PretrainRecipe, latin)


def test_recipes_do_not_change() -> None:
    recipe = load_recipe(PretrainRecipe)
    with pytest.raises(ValidationError):
        recipe.run.steps = 3


def test_the_papers_settings() -> None:
    """The tables in docs/method.md, against the two recipes."""
    folder = Path(__file__).parents[2] / "recipes"
    first = load_recipe(PretrainRecipe, folder / "paper-pretrain.toml")
    second = load_recipe(FinetuneRecipe, folder / "paper-finetune.toml")
    for recipe in (first, second):
        decoder, optim, run = recipe.model.decoder, recipe.optim, recipe.run
        assert (decoder.kind, decoder.depth, decoder.dim, decoder.heads) == ("parseq", 6, 512, 8)
        assert (decoder.permutations, decoder.refinements, decoder.autoregressive) == (6, 1, True)
        assert (decoder.refinement_mask, decoder.initialization, decoder.dropout) == ("cloze", "published", 0.1)
        assert (recipe.model.charset, recipe.model.max_length) == ("94", 25)
        assert (optim.lr, optim.weight_decay, optim.grad_clip, optim.ema_decay) == (1.485e-3, 0.0, 20.0, 0.0)
        assert optim.warmup == pytest.approx(1.5 / 20)
        assert (run.batch_size, run.precision) == (768, "fp16")
    assert (first.dual.kind, first.dual.model) == ("clip", "openai/clip-vit-base-patch16")
    assert (first.dual.prompt, first.dual.tokens) == ("a photo of a '{}'", "paper")
    assert (first.orp.strength, first.orp.positions, first.orp.replacement, first.bucket) == (0.1, "shared", False, 1)
    assert (second.model.encoder.kind, second.model.encoder.height, second.model.encoder.width) == ("vit", 32, 128)
    encoder, fmu = second.model.encoder, second.model.fmu
    assert (encoder.size, encoder.patch, encoder.norm_eps, encoder.initialization) == (
        "dptr",
        (4, 8),
        1e-5,
        "published",
    )
    assert (fmu.queries, fmu.layers, fmu.heads, fmu.count) == (26, 1, 8, False)
    assert (fmu.norms, fmu.dropout, fmu.initialization) == ("feed-forward", 0.1, "published")
