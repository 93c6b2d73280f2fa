"""Resizing: Pillow's filter, whatever the shape of a picture, in bounded memory."""

import numpy as np
import pytest
import torch
from PIL import Image

from dptr.utils.images import open_image
from dptr.utils.resize import shorten, to_array


def test_resize_is_antialiased_bicubic():
    """PyTorch's own antialiased bicubic filter (a = -0.5 too), rounded between its two passes, agrees to one level.

    Which pass comes first is Pillow's choice, by shape and version.
    """

    def stretch(tensor: torch.Tensor, height: int, width: int) -> torch.Tensor:
        resized = torch.nn.functional.interpolate(tensor, (height, width), mode="bicubic", antialias=True)
        return resized.round().clamp(0, 255)

    rng = np.random.default_rng(3)
    for height, width in ((50, 200), (17, 31), (300, 40), (32, 128)):
        picture = rng.integers(0, 256, (height, width, 3), np.uint8)
        ours = to_array(open_image(picture), 32, 128)
        assert ours.shape == (32, 128, 3)
        assert ours.dtype == np.uint8
        tensor = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
        references = stretch(stretch(tensor, height, 128), 32, 128), stretch(stretch(tensor, 32, width), 32, 128)
        assert min(np.abs(ours - each[0].permute(1, 2, 0).numpy()).max() for each in references) <= 1


@pytest.mark.parametrize("size", [(1, 1), (20_000, 10), (10, 20_000), (1, 20_000)])
def test_extreme_sizes(size, tmp_path):
    Image.new("RGB", size, (10, 200, 30)).save(tmp_path / "crop.png")
    array = to_array(open_image(tmp_path / "crop.png"), 32, 128)
    assert array.shape == (32, 128, 3)
    assert (array == (10, 200, 30)).all()


@pytest.mark.parametrize("side", [(1, 900_000), (900_000, 1)])
def test_a_line_of_pixels_takes_no_more_memory_than_it_has_pixels(side):
    """Stretched to a crop's width before it is averaged, it would be 128 times as large."""
    image = Image.new("RGB", side, (10, 200, 30))
    shorter = shorten(image, 32, 128)
    assert shorter.width * 32 <= 4 << 20 and shorter.height * 128 <= 4 << 20
    assert (to_array(image, 32, 128) == (10, 200, 30)).all()


@pytest.mark.parametrize("size", [(8191, 600), (65_535, 91), (1, 16_383)])
def test_pictures_that_are_no_lines_are_resized_in_one_step(size):
    image = Image.new("RGB", size)
    assert shorten(image, 32, 128) is image


def test_resized_array_can_be_written_to():
    array = to_array(Image.new("RGB", (20, 12)), 8, 8)
    array[:] = 0
    assert array.sum() == 0
