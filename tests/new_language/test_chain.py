"""From words to a recognizer."""

from __future__ import annotations

import json
import re
import shutil
import time
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from helpers_export import unchecked
from PIL import Image

from dptr.config.render import CorpusConfig, SourceConfig
from dptr.data.labeled import open_labeled
from dptr.export.graph import to_onnx
from dptr.inference.reader import Reader
from dptr.models.checkpoint import card_of
from dptr.new_language import chain
from dptr.new_language.chain import Settings, describe_reading, describe_settings, new_language, plan_settings
from dptr.new_language.plan import SHARES, plan
from dptr.new_language.survey import Request, survey
from dptr.text.charset import resolve_charset
from dptr.text.languages import LANGUAGES
from dptr.text.ngrams import load_ngrams
from dptr.text.rules import is_heldout
from dptr.utils.errors import UserError
from dptr.weights import model_file

FONTS = (Path(__file__).parents[1] / "fonts",)
GEORGIAN = Request("ka", None, "", FONTS)


@pytest.mark.parametrize("method", SHARES)
@pytest.mark.parametrize("minutes", [1, 60])
def test_plan_spends_nine_tenths_on_training(minutes, method):
    spent = plan(minutes, method)
    assert sum(spent.seconds.values()) == pytest.approx(0.9 * 60 * minutes)
    assert all(f"{stage} " in spent.describe() for stage in spent.seconds)


def test_plan_refuses_too_little():
    with pytest.raises(UserError, match=r"--minutes 0\.5: below 1; training needs some"):
        plan(0.5, "rendered")


def test_what_goes_by_before_training_is_taken_off_it():
    planned = plan(10, "text")
    assert planned.after(10, 20).seconds == planned.seconds
    fitted = planned.after(10, 120)
    assert sum(fitted.seconds.values()) == pytest.approx(600 - 240)
    assert [*fitted.seconds] == [*planned.seconds] and fitted.seconds["align"] == pytest.approx(0.4 * 360)
    assert sum(planned.after(10, 1e6).seconds.values()) == pytest.approx(200), "a third is trained all the same"


def test_letters_of_the_language_are_counted_apart():
    """Of a test with many numbers a fifth can be read without one word of the language."""
    told = describe_reading(["ab", "12", "12", "კარი", "კარი", "ბარი"], ["კარი", "ბარი", "ab"])
    assert told == (
        "reads 50.0% of 6 rendered crops of 4 different words, which training held out: "
        "33.3% of 3 with characters beyond ASCII, 66.7% of the others"
    )
    assert describe_reading(["ab", "cd"], []).endswith("held out") and describe_reading(["ბარი"], []).endswith("out")


def test_few_minutes_are_told():
    assert plan(2, "rendered").describe().endswith("; so few show that it works, 30 and more read better")
    assert plan(60, "rendered").describe().endswith("ONNX file, and report")


def test_workers_do_not_repeat_each_others_work(monkeypatch):
    """With crops of several sizes, as dptr-latin has them, each worker renders all: one is enough."""
    monkeypatch.setattr("dptr.new_language.plan.usable_cores", lambda: 4)
    assert plan_settings(Settings(GEORGIAN, model="dptr-latin")).workers == 1
    assert plan_settings(Settings(GEORGIAN, model="dptr-en")).workers == 3
    assert plan_settings(Settings(GEORGIAN, model="dptr-latin", method="text")).workers == 3
    assert "; 1 more to render" in plan_settings(Settings(GEORGIAN, model="dptr-latin")).describe()
    monkeypatch.setattr("dptr.new_language.plan.usable_cores", lambda: 1)
    assert plan_settings(Settings(GEORGIAN, model="dptr-latin")).workers == 0


def test_settings_are_plain_values():
    asked = describe_settings(Settings(GEORGIAN, Path("grounds"), (Path("a"),)))
    assert json.loads(json.dumps(asked)) == asked
    assert asked["code"] == "ka" and asked["photographs"] == "grounds" and asked["crops"] == ["a"]


@pytest.fixture
def small(monkeypatch) -> None:
    """Few test crops, and seconds of training instead of minutes; one trace for both runs of a test."""
    monkeypatch.setattr(chain, "TEST", 16)
    monkeypatch.setattr(chain, "SHOWN", 8)
    monkeypatch.setattr(chain, "RESIDUALS", 100)
    monkeypatch.setattr("dptr.training.sources.RENDERED_VALIDATION", 16)
    monkeypatch.setattr("dptr.training.align.RENDERED_VALIDATION", 16)
    monkeypatch.setattr("dptr.new_language.plan.REST", 0.97)
    monkeypatch.setattr("dptr.new_language.plan.usable_cores", lambda: 1)
    traced: list[onnx.ModelProto] = []  # the second run exports the same weights

    def trace(*arguments: Any) -> onnx.ModelProto:
        if not traced:
            with unchecked():
                traced.append(to_onnx(*arguments))
        graph = onnx.ModelProto()
        graph.CopyFrom(traced[0])
        return graph

    monkeypatch.setattr("dptr.export.to_onnx", trace)


def check_run(out: Path, file: Path) -> None:
    assert file == out / "model.onnx" and "Georgian" not in card_of(out / "finetune" / "model")["name"]
    crops = open_labeled(out / "test")
    labels = [crops.label(row) for row in range(len(crops))]
    assert len(labels) == 16 and all(is_heldout(label, 0.1) or len(label) < 2 for label in labels)
    assert Image.open(out / "sheet.png").size[0] > 200
    report = unescape((out / "report.html").read_text(encoding="utf-8"))
    (result,) = re.findall(
        r"<p>This recognizer reads [\d.]+% of 16 rendered crops of (.*)\. The test is rendered", report
    )
    step = card_of(out / "finetune" / "model")["results"][0]["step"]
    assert (chain.UNTRAINED in result) == (step == 0)
    pictures = [crops.image(row) for row in range(len(crops))]
    readings = [
        [word.text for word in Reader(model, rescore=False).read(pictures)]
        for model in (file, out / "finetune" / "model")
    ]
    assert readings[0] == readings[1]


def test_a_recognizer_with_ctc_gets_the_spelling_of_its_words(tmp_path):
    words = [("საქართველო", 0.75), ("თბილისი", 0.25)]
    path = tmp_path / "words.txt"
    path.write_text("".join(f"{word}\n" * round(8 * share) for word, share in words), encoding="utf-8")
    corpus = CorpusConfig(sources=(SourceConfig(kind="file", path=str(path)),), heldout=0)
    found = SimpleNamespace(corpus=corpus, charset=resolve_charset("ka"))
    run = SimpleNamespace(found=found, longest=25, settings=SimpleNamespace(seed=0), out=tmp_path)
    for model, expected in (("dptr-en", False), ("dptr-latin", True)):
        chain.Chain.write_ngrams(run, model)
        assert (tmp_path / "ngrams.npz").is_file() == expected
    ngrams = load_ngrams(tmp_path / "ngrams.npz")
    for word, _ in words:
        spelled, reversed_ = ngrams.log_probabilities([word, word[::-1]])
        assert spelled > reversed_ + 2


def test_rendered_words_make_a_recognizer(tmp_path, small, capsys):
    settings = Settings(GEORGIAN, minutes=1)
    out = tmp_path / "ka"
    check_run(out, new_language(settings, out))
    told = capsys.readouterr().err
    for line in (
        "fonts: 1 family draws Georgian",
        "so few show that it works",
        "fresh characters: აბგ",
        "of 16 rendered crops of ",
    ):
        assert line in told
    with pytest.raises(UserError, match="holds a run already; pass --resume to continue it, or another --out"):
        new_language(settings, out)
    with pytest.raises(UserError, match="begun with another minutes, seed; pass the same, or another --out"):
        new_language(Settings(GEORGIAN, minutes=2, seed=1), out, resume=True)
    planned = json.loads((out / "plan.json").read_text(encoding="utf-8"))
    assert 20 <= planned["finetune"] <= 54 or planned["finetune"] == pytest.approx(0.03 * 60)
    before = {path: path.read_bytes() for path in (out / "finetune" / "model").iterdir()}
    check_run(out, new_language(settings, out, resume=True))
    assert before == {path: path.read_bytes() for path in (out / "finetune" / "model").iterdir()}, (
        "nothing was left to do"
    )


@pytest.mark.slow
def test_text_makes_a_recognizer(tmp_path, small, capsys):
    out = tmp_path / "ka"
    check_run(out, new_language(Settings(GEORGIAN, minutes=4, method="text"), out))
    assert (out / "align" / "model" / "residuals.safetensors").is_file()
    told = capsys.readouterr().err
    assert "decoder from " in told and "stage 1: a decoder learns to spell from text tokens" in told


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="thesis"):
        new_language(Settings(GEORGIAN), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_crops_that_are_missing_are_told_at_once(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        new_language(Settings(GEORGIAN, crops=(tmp_path / "nowhere",)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_characters_of_labeled_crops_are_learned(tmp_path, monkeypatch):
    crops = tmp_path / "crops"
    crops.mkdir()
    (crops / "labels.tsv").write_text("a.png\tЖук\nb.png\tЖж\n", encoding="utf-8")
    begun: list[chain.Chain] = []

    def begin(self: chain.Chain) -> Path:
        begun.append(self)
        return self.out

    monkeypatch.setattr(chain.Chain, "run", begin)
    new_language(Settings(GEORGIAN, crops=(crops,)), tmp_path / "run")
    recipe = begun[0].finetune_recipe({"model": "dptr-en"})
    assert resolve_charset(recipe.model.charset).characters == (*LANGUAGES["ka"].charset, "Ж")


def test_held_out_words_are_not_trained_on(tmp_path):
    spent = plan(1, "rendered")
    (tmp_path / "run").mkdir()
    made = chain.Chain(Settings(GEORGIAN), survey(GEORGIAN), spent, tmp_path / "run", time.monotonic())
    assert made.found.corpus.heldout == 0.1, "of two thousand words a tenth is held out"
    assert made.finetune_recipe({"model": "dptr-en"}).corpus.heldout == 0.1


def test_a_second_round_begins_at_a_lower_rate(tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("\n".join(first + second + third for first in "abcdefg" for second in "hijkl" for third in "mnop"))
    names = ["", "dptr-en", "dptr-latin"]
    for name in names[1:]:
        folder = tmp_path / name
        folder.mkdir()
        for file in ("config.json", "model.safetensors"):
            shutil.copy(model_file(name, file), folder)
        names.append(str(folder))
    rates = []
    for request in (GEORGIAN, Request("", words, "", FONTS)):
        made = chain.Chain(Settings(request), survey(request), plan(1, "rendered"), tmp_path, time.monotonic())
        rates.append([made.choose_rate(model) for model in names])
    assert rates[0] == [8e-4, 8e-4, 5e-4, 8e-4, 5e-4], "letters of Georgian are new to both"
    assert rates[1] == pytest.approx([8e-4, 8e-4, 5e-4, 0.3 * 8e-4, 0.3 * 5e-4]), "folders of a run before, not names"


def test_a_run_of_a_charset_of_its_own_goes_on(tmp_path):
    """The file of its characters, which no recipe can do without, is written at each start."""
    words = tmp_path / "words.txt"
    words.write_text("\n".join(first + second + third for first in "abcdefg" for second in "hijkl" for third in "mnop"))
    request = Request("", words, "", FONTS)
    (tmp_path / "run").mkdir()
    for _ in range(2):
        made = chain.Chain(Settings(request), survey(request), plan(1, "rendered"), tmp_path / "run", time.monotonic())
        assert Path(made.charset) == tmp_path / "run" / "characters.txt"
        assert set("abcdefghijklmnop") <= set(Path(made.charset).read_text(encoding="utf-8"))
