"""Which way labels write numbers around letters that run from right to left: planted by where the numbers are drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from dptr.config.load import load_recipe
from dptr.config.train import FinetuneRecipe, PretrainRecipe
from dptr.data.crops import load_crops
from dptr.models.recognizer import build_recognizer
from dptr.text.charset import Charset, resolve_charset
from dptr.training.finetune_defaults import finetune_defaults
from dptr.training.initialize import initialize
from dptr.training.label_order import fit_direction, is_direction_open, set_direction
from dptr.training.resolve import resolve_finetune, resolve_pretrain
from dptr.training.state import RECIPE, check_out
from dptr.utils.errors import UserError
from dptr.utils.files import write_json

FONT = Path(__file__).resolve().parents[1] / "golden" / "Poppins-Regular.ttf"
NUMBERS = [(f"{17 * index % 89 + 10}", f"{4321 + 997 * index % 5000}") for index in range(12)]


def draw(folder: Path, swapped: bool) -> Path:
    """Crops labeled ``58תל8888`` with one number on each side of two bars, which stand for letters."""
    folder.mkdir()
    font, lines = ImageFont.truetype(str(FONT), 34), []
    for index, (first, second) in enumerate(NUMBERS):
        left, right = (second, first) if swapped else (first, second)
        picture = Image.new("RGB", (230, 48), "white")
        pen = ImageDraw.Draw(picture)
        pen.text((8, 0), left, "black", font)
        pen.rectangle((102, 12, 110, 36), "black")
        pen.rectangle((118, 12, 126, 36), "black")
        pen.text((136, 0), right, "black", font)
        picture.save(folder / f"{index}.png")
        lines.append(f"{index}.png\t{first}תל{second}\n")
    (folder / "labels.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


def fit(folder: Path, *settings: str, start: str = "dptr-latin") -> tuple[FinetuneRecipe, list[str]]:
    recipe, _ = finetune_defaults([f"init.model={start}", f'data.train=["{folder}"]', "data.rendered=0", *settings])
    resolved = resolve_finetune(recipe)
    model = build_recognizer(resolved.recipe.model, len(resolved.charset))
    initialize(model, resolved)
    config = resolved.recipe.model
    crops = load_crops([folder], resolved.charset, config.max_length, config.encoder.crop_size)
    assert len(crops) == len(NUMBERS)
    assert resolved.parts.model is not None
    is_open = is_direction_open(resolved.recipe, resolved.parts.model.charset, resolved.charset)
    recipe = resolved.recipe if resolved.recipe.model.decoder.visual else set_direction(resolved.recipe, "rtl")
    return fit_direction(recipe, crops, model, resolved.charset, is_open)


@pytest.mark.parametrize("swapped", [False, True], ids=["as the eye goes", "from right to left"])
def test_the_order_of_the_numbers_is_found(swapped: bool, tmp_path: Path) -> None:
    recipe, messages = fit(draw(tmp_path / "crops", swapped))
    assert recipe.model.decoder.visual == ("rtl" if swapped else "ltr")
    assert len(messages) == (0 if swapped else 1)
    if messages:
        assert any(f"{first}תל{second}" in messages[0] for first, second in NUMBERS)
        assert messages[0].endswith("model.decoder.direction = 'ltr'")


def test_what_a_recipe_says_stays(tmp_path: Path) -> None:
    recipe, messages = fit(
        draw(tmp_path / "crops", swapped=True), "model.decoder.kind=ctc", "model.decoder.direction=rtl"
    )
    assert (recipe.model.decoder.visual, messages) == ("rtl", [])


def test_a_direction_that_the_crops_contradict_is_told(tmp_path: Path) -> None:
    for line, swapped in (("ltr", True), ("rtl", False)):
        crops = draw(tmp_path / line, swapped)
        recipe, (message,) = fit(crops, "model.decoder.kind=ctc", f"model.decoder.direction={line}")
        assert recipe.model.decoder.visual == line and message.endswith(f"direction={'rtl' if swapped else 'ltr'}")


def test_a_run_whose_labels_were_looked_at_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    given, _ = finetune_defaults(["init.model=dptr-latin", f'data.train=["{draw(tmp_path / "crops", swapped=False)}"]'])
    resolved = resolve_finetune(given).recipe
    fitted, _ = fit(tmp_path / "crops")
    held = resolved.model_copy(update={"model": fitted.model})
    (out / "model").mkdir(parents=True)
    write_json(out / RECIPE, held.model_dump(mode="json"))
    check_out(out, resolved, resume=True)


@pytest.mark.parametrize("swapped", [False, True], ids=["as the eye goes", "from right to left"])
def test_slots_that_meet_their_first_such_letters_write_them_as_they_stand(swapped: bool, tmp_path: Path) -> None:
    recipe, messages = fit(draw(tmp_path / "crops", swapped), start="dptr-en")
    assert recipe.model.decoder.direction == ("rtl" if swapped else "ltr")
    assert len(messages) == (0 if swapped else 1)


def open_from(start: Charset | None, *settings: str, charset: str = "he") -> bool:
    recipe = load_recipe(FinetuneRecipe, None, ["init.model=dptr-en", *settings])
    return is_direction_open(resolve_finetune(recipe).recipe, start, resolve_charset(charset))


def test_what_was_learned_said_or_taught_is_not_open() -> None:
    english, hebrew = resolve_charset("en"), resolve_charset("he")
    rendered = "data.rendered=1"
    assert open_from(english, rendered)
    assert not open_from(english, rendered, charset="de")  # nothing to write
    assert not open_from(hebrew, rendered)  # it writes them already, in the order of reading
    assert not open_from(None, rendered)  # a decoder of stage 1 spells in that order
    assert not open_from(english, rendered, "model.decoder.direction=ltr")
    assert not open_from(english, rendered, "distillation.model=dptr-en")


def test_a_direction_is_refused_in_stage_1() -> None:
    with pytest.raises(UserError, match="text tokens follow each other in the order of reading"):
        resolve_pretrain(load_recipe(PretrainRecipe, None, ["model.decoder.direction=rtl"]))
