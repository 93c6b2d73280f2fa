"""A recognizer as a distribution of its own: built by the script, installed, found by its name and its languages."""

from __future__ import annotations

import importlib
import json
import os
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from helpers_docs import ROOT
from helpers_export import unchecked
from PIL import Image

from dptr.cli.app import run
from dptr.config.model import DecoderConfig, FMUConfig, ModelConfig, SVTRConfig
from dptr.evaluation.calibration import Calibration
from dptr.inference.confidence import WordConfidence
from dptr.inference.onnx_backend import OnnxModel
from dptr.inference.reader import Reader
from dptr.inference.zoo import find_recognizer, read_languages, recognizer_cards
from dptr.models.checkpoint import open_checkpoint, save_checkpoint
from dptr.models.recognizer import build_recognizer
from dptr.text.charset import resolve_charset
from dptr.text.languages import LANGUAGES, written_languages
from dptr.utils.errors import UserError
from dptr.version import __version__
from dptr.weights.packages import CATALOG, GROUP, find_folder, find_packages, read_catalog

CONFIG = ModelConfig(
    encoder=SVTRConfig(size="nano", height=16, width=32),
    fmu=FMUConfig(queries=9, heads=2),
    decoder=DecoderConfig.of(kind="ctc", dim=16, depth=1, heads=2),
    charset="mk",
    max_length=5,
)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        return importlib.import_module("ship_recognizer")
    finally:
        sys.path.remove(str(ROOT / "scripts"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recognizer of Macedonian with random weights, and six crops beside it as its test."""
    folder, charset = tmp_path_factory.mktemp("source"), resolve_charset("mk")
    with torch.random.fork_rng():
        torch.manual_seed(2)
        built = build_recognizer(CONFIG, len(charset))
        for parameter in built.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
    card = {
        "kind": "recognizer",
        "trained_on": ["rendered words"],
        "recipe": {"render": {"fonts": [str(ROOT / "tests" / "fonts")]}},
    }
    save_checkpoint(folder, "recognizer", built, CONFIG, charset, {}, card)
    labels = ["куќа", "небо", "ѓавол", "Скопје", "42", "џвезда"]
    (folder / "test").mkdir()
    random = np.random.default_rng(0)
    for number in range(len(labels)):
        Image.fromarray(random.integers(0, 256, (16, 32, 3), np.uint8)).save(folder / "test" / f"{number}.png")
    lines = [f"{number}.png\t{label}\n" for number, label in enumerate(labels)]
    (folder / "test" / "labels.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def made(script: ModuleType, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the distribution."""
    with unchecked():
        return script.ship(model, "balkan-test", None, ["a note"], tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def site(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip would install the wheel: a wheel of Python files is installed by unpacking it."""
    from hatchling.build import build_wheel

    wheels, folder, here = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("site"), Path.cwd()
    os.chdir(made)
    try:
        name = build_wheel(str(wheels))
    finally:
        os.chdir(here)
    with zipfile.ZipFile(wheels / name) as wheel:
        wheel.extractall(folder)
    return folder


@pytest.fixture
def nothing_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the project built no recognizers."""
    catalog = tmp_path / "catalog.json"
    catalog.write_text("{}")
    monkeypatch.setattr("dptr.weights.packages.CATALOG", catalog)


@pytest.fixture
def installed(site: Path, nothing_built: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(site)
    return site / "dptr_balkan_test"


def read_all(reader: Reader, model: Path) -> list[tuple[str, float]]:
    pictures = sorted((model / "test").glob("*.png"))
    return [(reading.text, reading.confidence) for reading in reader.read(pictures)]


def test_an_installed_recognizer_reads_by_its_name(installed: Path, model: Path) -> None:
    assert find_packages()["balkan-test"] == installed
    expected, found = read_all(Reader(model), model), read_all(Reader("balkan-test"), model)
    assert [text for text, _ in found] == [text for text, _ in expected] and len({text for text, _ in found}) > 2
    assert [sure for _, sure in found] == pytest.approx([sure for _, sure in expected], abs=2e-3)  # float16


def test_a_file_that_computes_in_8_bits_has_confidences_of_its_own(
    script: ModuleType, model: Path, tmp_path: Path
) -> None:
    crops = tmp_path / "crops"
    crops.mkdir()
    random = np.random.default_rng(1)
    for number in range(120):  # of which a model's confidence can be calibrated
        Image.fromarray(random.integers(0, 256, (16, 32, 3), np.uint8)).save(crops / f"{number}.png")
    files = sorted(crops.glob("*.png"))
    readings = zip(files, Reader(model).read(files), strict=True)
    letters = {file.name: "".join(filter(str.isalpha, reading.text)) for file, reading in readings}
    lines = [f"{name}\t{word or 'а'}\n" for name, word in letters.items()]
    (crops / "labels.tsv").write_text("".join(lines), encoding="utf-8")
    with unchecked():
        folder = script.ship(model, "eight", None, [], tmp_path / "made", static=crops)
    file = OnnxModel(folder / "dptr_eight" / "model.onnx")
    card = json.loads((folder / "dptr_eight" / "card.json").read_text("utf-8"))
    assert file.metadata["numbers"] == "int8 static" and file.card == card
    assert "exponent" in card["confidence"] and card["results"][0]["n"] == 6


def test_a_card_keeps_nothing_of_a_calibration_before(script: ModuleType) -> None:
    """Too few crops fit no confidence; then the file has none, instead of that of float32."""
    card = {"kind": "recognizer", "confidence": {"exponent": 2.0}, "thresholds": {"n": 900, "0.99": [0.7, 0.5]}}
    assert script.recalibrate(card, Calibration(1.0, words=5)) == {"kind": "recognizer"}
    again = script.recalibrate(card, Calibration(1.0, WordConfidence(exponent=3.0), {}, 150))
    assert again["confidence"]["exponent"] == 3 and "thresholds" not in again


def test_it_is_found_by_the_languages_that_it_writes(installed: Path) -> None:
    assert recognizer_cards()[0]["languages"] == ["mk"] and read_languages()["balkan-test"] == ("mk",)
    assert find_recognizer("mk") == "balkan-test"
    assert find_recognizer("en") == "dptr-en"
    with pytest.raises(UserError, match="no recognizer that reads Serbian is installed; make one: dptr new"):
        find_recognizer("sr")


def test_the_commands_find_it_by_language(installed: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = str(next((model / "test").glob("*.png")))
    assert run(["read", "--lang", "mk", picture]) == 0
    by_language = capsys.readouterr().out
    assert run(["read", "--model", "balkan-test", picture]) == 0
    assert by_language == capsys.readouterr().out
    assert run(["ocr", "--lang", "sr", picture]) == 2
    assert "no recognizer that reads Serbian is installed" in capsys.readouterr().err
    assert run(["read", "--lang", "mk", "--model", "dptr-en", picture]) == 2
    assert "--model and --lang: each one chooses the recognizer" in capsys.readouterr().err


def test_without_it_nothing_is_found(nothing_built: None) -> None:
    assert "balkan-test" not in find_packages()
    with pytest.raises(UserError, match="no recognizer that reads Macedonian is installed; make one"):
        find_recognizer("mk")
    with pytest.raises(UserError, match="model 'balkan-test': no such model; there are"):
        Reader("balkan-test")


def test_what_is_not_installed_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    catalog = tmp_path / "recognizers.json"
    catalog.write_text('{"cyrillic-test": {"languages": ["mk", "sr"], "megabytes": 6.9, "word_accuracy": 0.857}}')
    monkeypatch.setattr("dptr.weights.packages.CATALOG", catalog)
    install = r"install it in the folder of DPTR's source: pip install \./recognizers/cyrillic-test$"
    with pytest.raises(UserError, match=f"^language 'sr': no recognizer that reads Serbian is installed; {install}"):
        find_recognizer("sr")
    with pytest.raises(UserError, match=f"^model 'cyrillic-test': dptr-cyrillic-test is not installed; {install}"):
        Reader("cyrillic-test")
    assert run(["models", "cyrillic-test"]) == 2
    assert "pip install ./recognizers/cyrillic-test" in capsys.readouterr().err
    assert run(["models"]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("cyrillic-test")]
    assert row.split() == [
        "cyrillic-test",
        "6.9",
        "85.7",
        "mk",
        "sr",
        "pip",
        "install",
        "./recognizers/cyrillic-test",
    ]


def test_an_unknown_language_is_refused_with_a_guess() -> None:
    for asked, meant in (("korean", "ko"), ("Macedonian", "mk"), ("rus", "ru")):
        with pytest.raises(UserError, match=f"language '{asked}': not one of .* codes .*; did you mean {meant}\\?"):
            find_recognizer(asked)


def test_models_lists_and_describes_it(installed: Path, capsys) -> None:
    assert run(["models"]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("balkan-test")]
    assert row.split()[-2:] == ["mk", "installed"]
    assert run(["models", "balkan-test"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("# balkan-test") and "Macedonian (`mk`)" in page and "- a note" in page
    assert run(["models", "--json"]) == 0
    cards = {card["name"]: card for card in json.loads(capsys.readouterr().out)["models"]}
    assert cards["balkan-test"]["results"][0]["n"] == 6 and 0 < cards["balkan-test"]["megabytes"] < 2


def test_a_folder_with_a_model_counts_before_an_installed_one(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "balkan-test").mkdir()
    assert find_folder("balkan-test") == installed, "a folder of crops is no model"
    (tmp_path / "balkan-test" / "config.json").write_text("{}")
    assert find_folder("balkan-test") == Path("balkan-test")
    assert find_folder("./balkan-test") == Path("balkan-test") and find_folder("runs/balkan-test").parts[0] == "runs"


def test_a_package_that_is_gone_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone-1.dist-info").mkdir()
    (tmp_path / "gone-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: gone\nVersion: 1\n")
    (tmp_path / "gone-1.dist-info" / "entry_points.txt").write_text(f"[{GROUP}]\ngone = dptr_gone.inner\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "gone" in {point.name for point in entry_points(group=GROUP)} and "gone" not in find_packages()


def test_its_weights_are_not_for_torch(installed: Path) -> None:
    with pytest.raises(UserError, match="model 'balkan-test': an exported file alone"):
        open_checkpoint("balkan-test")


def test_the_distribution_holds_what_may_be_released(made: Path, site: Path, model: Path) -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    release = importlib.import_module("release")
    sys.path.remove(str(ROOT / "scripts"))
    names = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    inner = {name.partition("/")[2] for name in names}
    assert inner >= {"model.onnx", "card.json", "README.md", "sheet.png", "entry_points.txt"}
    assert [name for name in inner if not release.matches(name, release.RECOGNIZER)] == []
    project = tomllib.loads((made / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__ and "dependencies" not in project
    held = OnnxModel(made / "dptr_balkan_test" / "model.onnx").metadata
    for text in (json.dumps(held), (made / "dptr_balkan_test" / "card.json").read_text()):
        assert str(model) not in text and str(ROOT) not in text
    assert np.asarray(Image.open(made / "dptr_balkan_test" / "sheet.png").convert("RGB")).std() > 10


@pytest.mark.parametrize("name", ["Cyrillic", "dptr-en", "weights", "a_b", "../x", ""])
def test_a_name_that_may_not_be_is_refused(script: ModuleType, model: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"name '{name}': pass lower-case letters"):
        script.ship(model, name, None, [], tmp_path)


def test_an_extra_is_added_once(script: ModuleType) -> None:
    once = script.add_extra((ROOT / "pyproject.toml").read_text(encoding="utf-8"), "balkan-test")
    assert script.add_extra(once, "balkan-test") == once
    extras = tomllib.loads(once)["project"]["optional-dependencies"]
    assert extras["balkan-test"] == [f"dptr-balkan-test>={__version__}"]
    (every,) = extras["languages"]
    assert every == f"dptr[{','.join(sorted((*read_catalog(), 'balkan-test')))}]"


def test_catalog_extras_and_packages_agree() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    folders = {path.parent.name for path in (ROOT / "recognizers").glob("*/pyproject.toml")}
    assert folders == read_catalog().keys() and CATALOG.is_file()
    for name, package in read_catalog().items():
        project = tomllib.loads((ROOT / "recognizers" / name / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert extras[name] == [f"dptr-{name}>={project['version']}"] and name in extras["languages"][0]
        assert {*package.languages} <= {*LANGUAGES} and package.megabytes < 10


def test_languages_of_a_charset() -> None:
    """Counted by hand: Serbian's letters are not Macedonian's; a union holds its parts; ASCII serves its languages."""
    assert written_languages(LANGUAGES["mk"].charset) == ("mk",)
    assert {"ru", "uk", "mk", "cyrillic"} <= {*written_languages(LANGUAGES["cyrillic"].charset)}
    assert not {"en", "el"} & {*written_languages(LANGUAGES["cyrillic"].charset)}
    assert "en" in written_languages(LANGUAGES["en"].charset) and "de" not in written_languages(LANGUAGES["en"].charset)
    assert {"de", "pl"} <= {*written_languages(LANGUAGES["latin"].charset)}
