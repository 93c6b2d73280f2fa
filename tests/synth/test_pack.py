"""Packs: the crops that rendering gives, whatever writes them and however often it is interrupted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dptr.config.effects import PRESETS, RENAMED_EFFECTS
from dptr.config.render import CorpusConfig, RenderConfig, SourceConfig
from dptr.config.size import CropSize
from dptr.config.train import SynthRecipe
from dptr.data.labeled import open_labeled
from dptr.data.loader import batches
from dptr.synth import pack
from dptr.synth.pack import open_pack, write_pack
from dptr.synth.worker import make_source
from dptr.text.charset import Charset, resolve_charset
from dptr.text.corpus import Corpus
from dptr.utils.errors import UserError

SIZE = CropSize(height=16, width=32)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(pack, "SHARD", 10)
    pack._open_shard.cache_clear()


@pytest.fixture
def recipe(font_folder) -> SynthRecipe:
    random = CorpusConfig(sources=(SourceConfig(kind="pattern", patterns=("random",)),), heldout=0)
    render = RenderConfig(fonts=(str(font_folder),))
    return SynthRecipe(charset="36", max_length=6, corpus=random, render=render, size=SIZE)


def write(recipe, count, folder, **settings):
    done: list[int] = []
    write_pack(recipe, count, folder, progress=done.append, **settings)
    return done


def opened(folder, charset="36", length=6, height=16, width=32, seed=0):
    return open_pack(folder, resolve_charset(charset), length, CropSize(height=height, width=width), seed)


def test_a_pack_holds_what_rendering_gives(recipe, tmp_path):
    assert write(recipe, 25, tmp_path / "pack") == [0, 10, 20, 25]
    packed, notes = opened(tmp_path / "pack")
    assert notes == [f"pack {tmp_path / 'pack'}: 25 rendered crops"]
    source = make_source(recipe)
    fresh = {index: source.sample(index) for index in range(25)}
    for epoch in range(2):
        left = dict(fresh)
        for place in range(25):
            crop, word, stops = packed.sample(25 * epoch + place)
            assert packed.word(25 * epoch + place) == word
            index = next(index for index, sample in left.items() if np.array_equal(sample[0], crop))
            _, expected, places = left.pop(index)
            assert word == expected
            np.testing.assert_allclose(stops, places, atol=2e-3)  # float16
        assert not left  # each crop once an epoch
    orders = [[packed.sample(25 * epoch + place)[1] for place in range(25)] for epoch in range(2)]
    assert orders[0] != orders[1] and orders[0] != [
        opened(tmp_path / "pack", seed=1)[0].sample(i)[1] for i in range(25)
    ]


def test_an_interrupted_pack_goes_on_and_can_grow(recipe, tmp_path):
    write(recipe, 40, tmp_path / "whole")
    write(recipe, 20, tmp_path / "pack")
    (tmp_path / "pack" / "crops-000001.safetensors").unlink()  # never finished
    (tmp_path / "pack" / ".partial-01234567-crops-000001.safetensors").write_bytes(b"half")
    assert write(recipe, 35, tmp_path / "pack", resume=True) == [10, 20, 30, 35]
    assert write(recipe, 40, tmp_path / "pack", resume=True) == [30, 40]  # a last shard that is too small is redone
    files = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "pack").iterdir())
    for name in files:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "pack" / name).read_bytes()
    assert write(recipe, 5, tmp_path / "pack", resume=True) == [40]  # nothing is taken away
    assert json.loads((tmp_path / "pack" / "pack.json").read_text())["count"] == 40


def test_packs_are_not_written_over_or_mixed(recipe, tmp_path):
    write(recipe, 10, tmp_path / "pack")
    with pytest.raises(UserError, match="already holds a pack; pass --resume"):
        write(recipe, 10, tmp_path / "pack")
    with pytest.raises(UserError, match="another recipe"):
        write(recipe.model_copy(update={"seed": 1}), 10, tmp_path / "pack", resume=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"not empty \(thesis\.txt\) and no pack that dptr made"):
        write(recipe, 10, tmp_path / "other")


@pytest.mark.parametrize("style", pack.STYLES)
def test_a_pack_of_other_texts_does_not_go_on(style, recipe, tmp_path, monkeypatch):
    """As an earlier version draws them, or another word list under the same name: both were mixed without a word."""
    with monkeypatch.context() as earlier:
        earlier.setattr(Corpus, "word", lambda self, index: "abc" if index % 10 == 7 else f"w{index}")
        write(recipe, 10, tmp_path / "pack", style=style)
        assert write(recipe, 20, tmp_path / "pack", style=style, resume=True)[-1] == 20
    monkeypatch.setattr(Corpus, "word", lambda self, index: f"w{index}")
    with pytest.raises(
        UserError, match=rf"crops-000000\.{style}: crop 7 shows 'abc', and 'w7' would be drawn now: begun by"
    ):
        write(recipe, 30, tmp_path / "pack", style=style, resume=True)
    assert len([*(tmp_path / "pack").glob("crops-*")]) == 2


def test_words_that_a_charset_cannot_write_are_counted(recipe, tmp_path):
    write(recipe, 20, tmp_path / "pack")
    source = make_source(recipe)
    words = [source.word(index) for index in range(20)]
    letters = Charset("few", tuple(sorted(set("".join(words[:8])))))
    packed, notes = open_pack(tmp_path / "pack", letters, 5, SIZE, 0)
    usable = [word for word in words if letters.covers(word) and len(word) <= 5]
    assert 0 < len(usable) < 20
    assert sorted(packed.sample(index)[1] for index in range(len(usable))) == sorted(usable)
    assert f"{len(usable)} rendered crops; left out: " in notes[0]
    with pytest.raises(UserError, match="none of its 20 words"):
        open_pack(tmp_path / "pack", Charset("none", ("ß",)), 5, SIZE, 0)


def test_workers_write_the_same_bytes(recipe, tmp_path):
    for workers in (1, 2):
        write(recipe, 27, tmp_path / str(workers), workers=workers)
    files = list((tmp_path / "1").glob("crops-*"))
    assert len(files) == 3
    for file in files:
        assert file.read_bytes() == (tmp_path / "2" / file.name).read_bytes()


def test_packs_that_cannot_be_used_are_named(recipe, tmp_path):
    with pytest.raises(UserError, match=r"no pack\.json in it; make one with 'dptr synth"):
        opened(tmp_path)
    write(recipe, 20, tmp_path / "pack")
    with pytest.raises(UserError, match=r"16x32 pixels where the encoder takes 32x128"):
        opened(tmp_path / "pack", height=32, width=128)
    shard = tmp_path / "pack" / "crops-000001.safetensors"
    whole = shard.read_bytes()
    for damage in (whole[:-100], b"", None):
        pack._open_shard.cache_clear()
        shard.write_bytes(damage) if damage is not None else shard.unlink()
        with pytest.raises(UserError, match=r"crops-000001.* not a whole shard .*--resume"):
            opened(tmp_path / "pack")


def old_manifest(recipe: SynthRecipe) -> dict:
    """As packs were described when all probabilities and the size lay in ``render``."""
    old = {new: old for old, new in RENAMED_EFFECTS.items()}
    dumped = recipe.model_dump(mode="json")
    size, render = dumped.pop("size"), dumped["render"]
    effects = {old.get(name, name): value for name, value in recipe.render.probabilities().model_dump().items()}
    places = {name: render[name] for name in ("fonts", "font_split", "backgrounds")}
    dumped["render"] = {"height": size["height"], "width": size["width"], "widest": size["max_width"]}
    dumped["render"] |= {**places, **effects}
    return {"recipe": dumped, "shard": pack.SHARD}


def test_a_pack_is_as_wide_as_the_encoder_reads_pictures(recipe, tmp_path):
    plain, stretched = (CropSize(height=16, width=32, max_width=96, stretch=stretch) for stretch in (1, 2))
    charset = resolve_charset("36")
    for name, size, other, message in (
        ("plain", plain, stretched, "drawn 1 times as wide, and the encoder reads pictures 2 times as wide"),
        ("stretched", stretched, plain, "drawn 2 times .* reads pictures 1 times as wide; .* --set size.stretch=1$"),
    ):
        write(recipe.model_copy(update={"size": size}), 5, tmp_path / name)
        assert len(open_pack(tmp_path / name, charset, 6, size, 0)[0]) == 5
        with pytest.raises(UserError, match=message):
            open_pack(tmp_path / name, charset, 6, other, 0)
    one = CropSize(height=16, width=32, stretch=2)  # of one size, to which each picture is squeezed
    write(recipe, 5, tmp_path / "one")
    assert len(open_pack(tmp_path / "one", charset, 6, one, 0)[0]) == 5
    with pytest.raises(UserError, match=r"size\.stretch = 2: .* stretched twice"):
        write(recipe.model_copy(update={"size": stretched}), 5, tmp_path / "shards", style="parquet")


def test_packs_of_before_presets_open_and_go_on(recipe, tmp_path):
    write(recipe, 10, tmp_path / "pack")
    path = tmp_path / "pack" / pack.RECIPE
    path.write_text(json.dumps({**old_manifest(recipe), "count": 10}))
    assert len(opened(tmp_path / "pack")[0].rows) == 10
    hard = recipe.model_copy(update={"render": recipe.render.model_copy(update={"preset": "hard"})})
    for other in (hard, recipe.model_copy(update={"size": CropSize(height=16, width=64)})):
        with pytest.raises(UserError, match="a pack of another recipe"):
            write(other, 20, tmp_path / "pack", resume=True)
    assert write(recipe, 20, tmp_path / "pack", resume=True) == [10, 20]
    assert len(opened(tmp_path / "pack")[0].rows) == 20
    assert "effects" in json.loads(path.read_text())


def test_a_preset_and_its_probabilities_are_the_same_recipe(recipe, tmp_path):
    write(recipe, 10, tmp_path / "pack")
    effects = PRESETS["default"].model_dump(exclude={"photograph"})
    spelled = recipe.model_copy(update={"render": recipe.render.model_copy(update={"effects": effects})})
    assert write(spelled, 20, tmp_path / "pack", resume=True) == [10, 20]


def test_pictures_without_text_are_kept(recipe, tmp_path):
    for share in (0.4, 1.0):
        render = recipe.render.model_copy(update={"effects": {"empty": share}})
        part = recipe.model_copy(update={"render": render})
        write(part, 20, tmp_path / str(share))
        packed, notes = opened(tmp_path / str(share))
        assert notes == [f"pack {tmp_path / str(share)}: 20 rendered crops"]
        samples = [packed.sample(place) for place in range(20)]
        assert 0 < sum(word == "" for _, word, _ in samples) <= 20 and all(
            stops.shape == (len(word), 2) for _, word, stops in samples
        )
        crops, words, stops = next(batches(packed, 20, 0, 1, 0))
        assert crops.shape == (20, 16, 32, 3) and stops.shape[1] == max(1, *map(len, words))
        assert np.isnan(stops[[word == "" for word in words]]).all()
    assert all(word == "" for _, word, _ in samples)


def test_what_came_later_was_off(recipe, tmp_path):
    write(recipe, 10, tmp_path / "pack")
    path = tmp_path / "pack" / "pack.json"
    held = json.loads(path.read_text())
    for name in ("empty", "arc", "cut"):
        del held["effects"][name]
    del held["recipe"]["corpus"]["phrases"]
    path.write_text(json.dumps(held))
    assert write(recipe, 20, tmp_path / "pack", resume=True) == [10, 20]
    render = recipe.render.model_copy(update={"effects": {"empty": 0.1}})
    with pytest.raises(UserError, match="another recipe"):
        write(recipe.model_copy(update={"render": render}), 20, tmp_path / "pack", resume=True)


def test_a_pack_of_shards_holds_the_same_crops(recipe, tmp_path):
    assert write(recipe, 25, tmp_path / "shards", style="parquet") == [0, 10, 20, 25]
    packed, notes = opened(tmp_path / "shards")
    assert notes == [f"pack {tmp_path / 'shards'}: 25 rendered crops, streamed"]
    source = make_source(recipe)
    left = {source.sample(index)[0].tobytes(): index for index in range(25)}
    for place in range(25):
        crop, word, stops = packed.sample(place)
        _, expected, places = source.sample(left.pop(crop.tobytes()))
        assert word == expected == packed.word(place)
        np.testing.assert_array_equal(stops, places.astype(np.float32))
    assert not left  # each crop once, as it was rendered


def test_an_interrupted_pack_of_shards_goes_on(recipe, tmp_path):
    write(recipe, 40, tmp_path / "whole", style="parquet")
    write(recipe, 20, tmp_path / "pack", style="parquet")
    (tmp_path / "pack" / "crops-000001.parquet").unlink()
    assert write(recipe, 35, tmp_path / "pack", style="parquet", resume=True) == [10, 20, 30, 35]
    for part in ((0, 2), (1, 2)):
        write(recipe, 40, tmp_path / "pack", style="parquet", part=part)
    files = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "pack").iterdir())
    for name in files:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "pack" / name).read_bytes()
    with pytest.raises(UserError, match="another recipe"):
        write(recipe, 40, tmp_path / "pack", resume=True)


def test_shards_of_a_pack_are_labeled_crops_and_words(recipe, tmp_path):
    write(recipe, 25, tmp_path / "shards", style="parquet")
    source = make_source(recipe)
    labeled = open_labeled(tmp_path / "shards")
    assert [labeled.label(index) for index in range(25)] == [source.word(index) for index in range(25)]
    np.testing.assert_array_equal(np.array(labeled.image(7)), source.sample(7)[0])
    words = CorpusConfig(sources=(SourceConfig(kind="shards", path=str(tmp_path / "shards")),), heldout=0)
    corpus = Corpus(words, resolve_charset("36"), 6, 0)
    assert sorted(corpus.word(index) for index in range(25)) == sorted(source.word(index) for index in range(25))
    letters = Charset("few", tuple(sorted(set("".join(source.word(index) for index in range(8))))))
    packed, notes = open_pack(tmp_path / "shards", letters, 5, SIZE, 0)
    usable = [word for word in map(source.word, range(25)) if letters.covers(word) and len(word) <= 5]
    assert 0 < len(packed) == len(usable) < 25
    assert sum(int(line.split()[1]) for line in notes[1:]) == 25 - len(usable)
