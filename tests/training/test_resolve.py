"""Parts bring their settings; the recipe's own keys win."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers_train import Parts, resolved_recipe

from dptr.config.data import InitConfig
from dptr.config.load import load_recipe
from dptr.config.model import Config, FMUConfig, GlyphConfig, GlyphDualConfig, ModelConfig, PARSeqConfig, SVTRConfig
from dptr.config.render import CorpusConfig
from dptr.config.train import AlignRecipe, FinetuneRecipe, PretrainRecipe, SynthRecipe
from dptr.dual.glyph.model import build_glyph, load_glyph, save_glyph
from dptr.models.checkpoint import save_checkpoint
from dptr.models.recognizer import build_recognizer
from dptr.text.charset import Charset, resolve_charset
from dptr.text.corpus import in_language
from dptr.training.resolve import resolve_align, resolve_pretrain, resolve_synth
from dptr.utils.errors import UserError

ENCODER = SVTRConfig(size="nano", height=16, width=64)
MODEL = ModelConfig(
    encoder=ENCODER, fmu=FMUConfig(queries=9, heads=2), decoder=PARSeqConfig(dim=32, depth=1, heads=2), max_length=8
)
CHARSET = Charset("three", tuple("abc"))


@pytest.fixture
def recognizer(tmp_path):
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "whole", "recognizer", build_recognizer(MODEL, 3), MODEL, CHARSET, {}, {})
    return str(tmp_path / "whole")


@pytest.fixture
def decoder(tmp_path):
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "stage1", "decoder", build_recognizer(MODEL, 3).decoder, MODEL, CHARSET, {}, {})
    return str(tmp_path / "stage1")


def test_a_whole_recognizer_brings_everything(recognizer):
    recipe, charset = resolved_recipe(FinetuneRecipe(init=InitConfig(model=recognizer)))
    assert recipe.model == MODEL
    assert charset == CHARSET


def test_keys_of_the_recipe_stand_above(recognizer):
    overrides = [f'init.model="{recognizer}"', "model.decoder.dropout=0.3", 'model.charset="36"']
    recipe, charset = resolved_recipe(load_recipe(FinetuneRecipe, None, overrides))
    assert recipe.model.decoder == MODEL.decoder.model_copy(update={"dropout": 0.3})
    assert recipe.model.encoder == ENCODER
    assert charset.name == "36"


def test_a_decoder_and_a_glyph_encoder_meet(tmp_path, decoder):
    config = GlyphConfig(dim=32, encoder=ENCODER, heads=2, layers=2, max_length=8)
    model, charset = build_glyph(config)
    save_glyph(tmp_path / "glyph", model, charset, config, {})
    init = InitConfig(decoder=decoder, glyph=str(tmp_path / "glyph"))
    recipe, charset = resolved_recipe(FinetuneRecipe(init=init))
    assert recipe.model.encoder == ENCODER
    assert recipe.model.fmu == FMUConfig(queries=9, heads=2, layers=2)
    assert recipe.model.decoder == MODEL.decoder
    assert recipe.model.max_length == 8
    assert charset == CHARSET


def test_queries_follow_the_longest_word(tmp_path, recognizer, decoder):
    """One a character and one for the end, as the part that brought them had; unless the recipe names their number."""
    config = GlyphConfig(dim=32, encoder=ENCODER, heads=2, max_length=8)
    save_glyph(tmp_path / "glyph", *build_glyph(config), config, {})

    def sizes(*overrides: str) -> tuple[int, int]:
        model = resolved_recipe(load_recipe(FinetuneRecipe, None, list(overrides)))[0].model
        return model.max_length, model.fmu.queries

    glyph = f"init.glyph={tmp_path / 'glyph'}"
    bare = ("model.fmu.queries=0", "model.decoder.dim=128")
    starts = [[f"init.model={recognizer}"], [glyph], [glyph, f"init.decoder={decoder}"], []]
    for start in starts:
        assert sizes(*start, "model.max_length=40") == (40, 41)
        assert sizes(*start, "model.max_length=5") == (5, 6)
        assert sizes(*start, "model.max_length=40", "model.fmu.queries=30") == (40, 30)
        assert sizes(*start, "model.max_length=40", *bare) == (40, 0)
        assert sizes(*start, "model.fmu.queries=30")[1] == 30
    assert sizes(f"init.decoder={decoder}", "model.max_length=40") == (40, 26)  # of a default FMU, made for 25


def test_the_charset_grows_by_the_labels_to_train_on(recognizer, tmp_path):
    (tmp_path / "labels.tsv").write_text("1.png\tabé\n2.png\té\n3.png\tß\n", encoding="utf-8")
    messages = [f"init.model={recognizer}", f'data.train=["{tmp_path}"]']
    for least, characters in ((0, "abc"), (1, "abcßé"), (2, "abcé")):
        _, charset = resolved_recipe(load_recipe(FinetuneRecipe, None, [*messages, f"data.extend_charset={least}"]))
        assert charset == Charset("three", tuple(characters))


def test_a_grown_charset_is_of_its_language_still():
    german = resolve_charset("de")
    longer = Charset("de", (*german.characters, "ő"))
    for charset, sources in ((longer, True), (Charset("de", longer.characters[1:]), False)):
        found = in_language(CorpusConfig(), charset).sources
        assert (found == in_language(CorpusConfig(), german).sources) == sources


def test_without_parts_the_defaults_stand():
    recipe, charset = resolved_recipe(FinetuneRecipe())
    assert recipe.model == ModelConfig()
    assert charset.name == "94"


def test_stage_1_takes_the_width_of_the_tokens():
    class Dual:
        name, dim = "wide", 48

    assert resolve_pretrain(PretrainRecipe(), Dual()).recipe.model.decoder.dim == 48
    own = load_recipe(PretrainRecipe, None, ["model.decoder.dim=64"])
    with pytest.raises(UserError, match=r"decoder width 64, .* 'wide' 48: .* set model\.decoder\.dim=48"):
        resolve_pretrain(own, Dual())


@pytest.mark.parametrize("schema", [SynthRecipe, AlignRecipe, FinetuneRecipe])
def test_words_are_of_the_charsets_language_unless_sources_are_named(schema: type[Config], tmp_path: Path) -> None:
    key = {SynthRecipe: "charset", AlignRecipe: "glyph.charset", FinetuneRecipe: "model.charset"}[schema]
    resolve = {
        SynthRecipe: resolve_synth,
        AlignRecipe: lambda recipe: resolve_align(recipe).recipe,
        FinetuneRecipe: lambda recipe: resolved_recipe(recipe)[0],
    }

    def words(*overrides: str) -> list[str]:
        recipe = resolve[schema](load_recipe(schema, None, list(overrides)))
        return [source.language for source in recipe.corpus.sources if source.kind == "wordfreq"]

    assert words(f"{key}=de", "corpus.upper=0.5") == ["de"]
    assert words(f"{key}=94") == words(f"{key}=en") == ["en"]
    assert words(f"{key}=de", 'corpus.sources=[{kind="wordfreq", language="fr"}]') == ["fr"]
    own = tmp_path / "de.txt"  # a file of that name is no language
    own.write_text("abc")
    assert words(f"{key}={own}") == ["en"]


def test_stage_1_spells_words_of_the_language(parts: Parts) -> None:
    dual = load_glyph(GlyphDualConfig(model=str(parts.folder / "glyph")))
    recipe = resolve_pretrain(load_recipe(PretrainRecipe, None, ["model.charset=ru"]), dual).recipe
    assert [source.language for source in recipe.corpus.sources][:1] == ["ru"]
