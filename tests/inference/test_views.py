"""Test-time augmentation: what each way does to a picture, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dptr.inference import views
from dptr.inference.views import CHANGES, change_image, make_views
from dptr.utils.resize import HUGE, fit
from dptr.utils.sizes import CropSizes

HEIGHT, WIDTH = 48, 160


def lit(rows: slice, columns: slice) -> Image.Image:
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[rows, columns] = 240
    return Image.fromarray(pixels)


def six(image: Image.Image) -> list[np.ndarray]:
    return [np.asarray(view) for view in change_image(image, len(CHANGES), 32, 128)]


def test_the_first_way_is_the_picture_itself_and_fewer_ways_are_the_first_of_more() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
    views = six(image)
    assert next(change_image(image, 1, 32, 128)) is image
    for count in range(1, 7):
        few = list(change_image(image, count, 32, 128))
        assert len(few) == count and all(np.array_equal(a, b) for a, b in zip(few, views, strict=False))


def test_edges_are_padded_with_themselves_and_light_is_inverted() -> None:
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
    pixels = np.asarray(image)
    _, padded, inverted, longer, *_ = six(image)
    assert padded.shape == (HEIGHT + 2 * 5, WIDTH + 2 * 5, 3)  # a tenth of 48
    assert np.array_equal(padded[5:-5, 5:-5], pixels)
    assert (padded[:5, :5] == pixels[0, 0]).all() and (padded[-5:, -5:] == pixels[-1, -1]).all()
    assert (padded[:5, 5:-5] == pixels[0]).all() and (padded[5:-5, -5:] == pixels[:, -1:]).all()
    assert longer.shape == (HEIGHT, WIDTH + 2 * 7, 3)  # 0.15 of 48
    assert np.array_equal(longer[:, 7:-7], pixels) and (longer[:, :7] == pixels[:, :1]).all()
    assert np.array_equal(inverted.astype(int) + pixels, np.full_like(pixels, 255))


def test_a_stroke_is_slanted_by_0_15_around_the_middle() -> None:
    upright = lit(slice(None), slice(76, 84))
    slanted = six(upright)[4][..., 0].astype(float)
    assert slanted.shape == (HEIGHT, WIDTH)
    places = (slanted * np.arange(WIDTH)).sum(1) / slanted.sum(1)
    slope, middle = np.polyfit(np.arange(HEIGHT) - (HEIGHT - 1) / 2, places, 1)
    assert slope == pytest.approx(-0.15, abs=0.01)  # the top goes to the right
    assert middle == pytest.approx(79.5, abs=0.2)
    assert np.abs(places - 79.5 + 0.15 * (np.arange(HEIGHT) - (HEIGHT - 1) / 2)).max() < 0.5


def test_a_point_is_blurred_by_a_48th_of_the_height() -> None:
    image = Image.fromarray(np.zeros((144, 400, 3), np.uint8))
    image.putpixel((200, 72), (255, 255, 255))
    soft = six(image)[5][..., 0].astype(float)
    variance = (soft.sum(0) * (np.arange(400) - 200) ** 2).sum() / soft.sum()
    assert variance == pytest.approx(3.0**2, rel=0.25)  # 144 / 48, of rounded bytes


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (40, 33), (97, 41)])
def test_an_even_picture_stays_even(size: tuple[int, int]) -> None:
    """No way brings in a border of its own, at any size."""
    for number, view in enumerate(six(Image.new("RGB", size, (90, 60, 30)))):
        assert len(np.unique(view.reshape(-1, 3), axis=0)) == 1, number
        assert tuple(view[0, 0]) == ((165, 195, 225) if number == 2 else (90, 60, 30))


def test_large_pictures_are_reduced_before_they_are_change_image() -> None:
    image = Image.fromarray(np.random.default_rng(2).integers(0, 256, (500, 2100, 3), np.uint8))
    views = six(image)
    assert views[0].shape == (500, 2100, 3)
    means = np.asarray(image, float)[:498].reshape(166, 3, 700, 3, 3).mean((1, 3))
    assert np.abs(255 - views[2][:166].astype(float) - means).max() <= 1  # 500 // 128 = 3, 2100 // 512 = 4


@pytest.mark.parametrize("size", [(10, 40_000), (1, 200_000), (200_000, 1), (500, 20_000)])
def test_changes_of_a_long_picture_are_not_much_larger_than_it(size: tuple[int, int]) -> None:
    """Padded by a tenth of its height on all sides, a picture of 10 x 40,000 had 385 million pixels."""
    most = 2 * size[0] * size[1] + 2**22
    assert all(view.width * view.height <= most for view in change_image(Image.new("RGB", size), 6, 32, 128))


def record_sizes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The sizes of the pictures that are resized to crops from here on."""
    sizes: list[tuple[int, int]] = []

    def record(image: Image.Image, size: CropSizes) -> np.ndarray:
        sizes.append(image.size)
        return fit(image, size)

    monkeypatch.setattr(views, "fit", record)
    return sizes


def test_a_huge_picture_is_averaged_once_before_its_views_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    small = np.random.default_rng(2).integers(0, 256, (60, 40, 3), np.uint8)
    image = Image.fromarray(small).resize((3400, 5100), Image.Resampling.BICUBIC)
    size = CropSizes(32, 128)
    whole = [fit(each, size) for each in (image, image.transpose(Image.Transpose.ROTATE_270))]
    sizes = record_sizes(monkeypatch)
    crops = make_views(image, 1, True, size)
    assert sizes == [(1700, 2550), (2550, 1700), (2550, 1700)]
    for crop, expected in zip(crops, whole, strict=False):
        assert np.abs(crop.astype(int) - expected).max() <= 3


@pytest.mark.parametrize("size", [(4096, 4096), (HUGE // 1024, 1025), (1025, HUGE // 1024)])
def test_pictures_that_are_not_huge_on_both_sides_stay_as_they_are(size: tuple[int, int], monkeypatch) -> None:
    sizes = record_sizes(monkeypatch)
    make_views(Image.new("RGB", size), 1, False, CropSizes(32, 128))
    assert sizes == [size]
