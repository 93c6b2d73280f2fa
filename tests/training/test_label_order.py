"""Which way labels write numbers around letters that run from right to left: planted by where the numbers are drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from dptr.config.train import FinetuneRecipe
from dptr.data.crops import load_crops
from dptr.models.recognizer import build_recognizer
from dptr.training.finetune_defaults import finetune_defaults
from dptr.training.initialize import initialize
from dptr.training.label_order import fit_direction
from dptr.training.resolve import resolve_finetune
from dptr.training.state import RECIPE, check_out
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


def fit(folder: Path, *settings: str) -> tuple[FinetuneRecipe, list[str]]:
    recipe, _ = finetune_defaults(["init.model=dptr-latin", f'data.train=["{folder}"]', "data.rendered=0", *settings])
    resolved = resolve_finetune(recipe)
    model = build_recognizer(resolved.recipe.model, len(resolved.charset))
    initialize(model, resolved)
    config = resolved.recipe.model
    crops = load_crops([folder], resolved.charset, config.max_length, config.encoder.crop_size)
    assert len(crops) == len(NUMBERS)
    return fit_direction(resolved.recipe, crops, model, resolved.charset)


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
