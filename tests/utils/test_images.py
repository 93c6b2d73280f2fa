import inspect
import io
import os
import struct
import subprocess
import sys
import tempfile
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from dptr.utils.errors import UserError
from dptr.utils.images import FORMATS, SUFFIXES, find_frames, open_header, open_image

HEIGHT, WIDTH = 12, 20


def colors(seed: int = 0) -> np.ndarray:
    """A smooth colorful picture, so that lossy formats stay close; every corner differs."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    channels = [40 + 9 * x, 60 + 12 * y, 220 - 3 * x - 8 * y]
    return np.stack(channels, -1).astype(np.uint8) + np.uint8(seed)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(source) -> np.ndarray:
    image = open_image(source)
    assert image.mode == "RGB"
    return np.asarray(image)


def refused(source, *parts: str) -> None:
    with pytest.raises(UserError) as error:
        open_image(source)
    text = str(error.value)
    assert "\n" not in text
    for part in parts:
        assert part in text, text


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, color_type: int, rows: bytes, *chunks: bytes) -> bytes:
    """A PNG made by hand from the specification (W3C PNG, section 11)."""
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# Modes and formats


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "QOI", "DIB"])
def test_lossless_color_is_exact(kind):
    assert np.array_equal(pixels(encoded(Image.fromarray(colors()), kind)), colors())


@pytest.mark.parametrize(("kind", "worst"), [("JPEG", 12), ("WEBP", 12), ("AVIF", 12), ("JPEG2000", 4)])
def test_lossy_color_is_close(kind, worst):
    picture = pixels(encoded(Image.fromarray(colors()), kind, quality=95))
    assert np.abs(picture.astype(int) - colors()).max() <= worst


def test_every_format_is_one_that_pillow_has_and_names_a_suffix():
    Image.init()
    assert set(FORMATS) <= set(Image.OPEN)
    assert {Image.EXTENSION[suffix] for suffix in SUFFIXES} <= set(FORMATS)


def test_gray_and_bilevel():
    gray = colors()[:, :, 0]
    assert np.array_equal(pixels(encoded(Image.fromarray(gray))), np.repeat(gray[:, :, None], 3, 2))
    black = gray > 128
    assert np.array_equal(pixels(encoded(Image.fromarray(black))), np.repeat(black[:, :, None] * np.uint8(255), 3, 2))


def test_alpha_is_laid_over_white():
    alpha = np.linspace(0, 255, HEIGHT * WIDTH).astype(np.uint8).reshape(HEIGHT, WIDTH)
    share = alpha[:, :, None] / 255
    rgba = np.dstack([colors(), alpha])
    expected = colors() * share + 255 * (1 - share)
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        assert np.abs(pixels(encoded(Image.fromarray(rgba), kind, **options)) - expected).max() <= 1
    la = np.dstack([colors()[:, :, 0], alpha])
    expected = (colors()[:, :, :1] * share + 255 * (1 - share)).repeat(3, 2)
    assert np.abs(pixels(encoded(Image.fromarray(la))) - expected).max() <= 1


@pytest.mark.parametrize("mode", ["RGBa", "La", "PA"])
def test_alpha_modes_that_only_exist_in_memory(mode):
    color = Image.new("RGB", (2, 1), (200, 100, 50))
    expected = color if mode == "RGBa" else color.convert("L").convert("RGB")
    image = color.convert("RGBA" if mode == "RGBa" else "LA").convert(mode)
    assert image.mode == mode
    assert np.abs(pixels(image).astype(int) - np.asarray(expected)).max() <= 1


def test_palette_with_and_without_transparency():
    palette = bytes([250, 0, 0, 0, 240, 0, 0, 0, 230])
    rows = b"\x00\x00\x01\x02"  # filter byte, then indices 0 1 2
    plain = png(3, 1, 8, 3, rows, chunk(b"PLTE", palette))
    assert pixels(plain).tolist() == [[[250, 0, 0], [0, 240, 0], [0, 0, 230]]]
    see_through = png(3, 1, 8, 3, rows, chunk(b"PLTE", palette), chunk(b"tRNS", bytes([0, 255, 255])))
    assert pixels(see_through).tolist() == [[[255, 255, 255], [0, 240, 0], [0, 0, 230]]]
    gif = Image.new("P", (2, 1))
    gif.putpalette([9, 9, 9, 200, 10, 20])
    gif.putdata([0, 1])
    assert pixels(encoded(gif, "GIF", transparency=0)).tolist() == [[[255, 255, 255], [200, 10, 20]]]


def test_transparent_color_of_rgb_and_16_bit_gray():
    rgb = png(2, 1, 8, 2, b"\x00" + bytes([1, 2, 3, 4, 5, 6]), chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3)))
    assert pixels(rgb).tolist() == [[[255, 255, 255], [4, 5, 6]]]
    gray = png(3, 1, 16, 0, b"\x00" + struct.pack(">HHH", 257, 514, 65535), chunk(b"tRNS", struct.pack(">H", 257)))
    assert pixels(gray)[:, :, 0].tolist() == [[255, 2, 255]]


def test_16_bit_is_scaled_not_clipped():
    values = np.array([[0, 128, 129, 257, 1000, 32768, 65406, 65407, 65535]], np.uint16)
    expected = [[0, 0, 1, 1, 4, 128, 254, 255, 255]]  # round(value / 257)
    by_hand = png(9, 1, 16, 0, b"\x00" + values.astype(">u2").tobytes())
    tiff = encoded(Image.fromarray(values), "TIFF")
    pgm = b"P5 9 1 65535\n" + values.astype(">u2").tobytes()
    for source in (by_hand, tiff, pgm, values, values.astype(">u2"), Image.fromarray(values)):
        assert pixels(source)[:, :, 0].tolist() == expected
    rgb = png(1, 1, 16, 2, b"\x00" + struct.pack(">HHH", 65535, 32896, 0))
    assert pixels(rgb).tolist() == [[[255, 128, 0]]]


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_deep_pictures_are_scaled_from_their_own_number_of_bits(bits):
    """Cameras store 10, 12 or 14 bits in 16; taken for 16 they would be up to 64 times darker, and read wrongly."""
    top = 2**bits - 1
    values = np.array([[0, top // 3, top // 2, top]], np.uint16)
    by_hand = png(4, 1, 16, 0, b"\x00" + values.astype(">u2").tobytes())
    tiff = encoded(Image.fromarray(values), "TIFF")
    for source in (values, values.astype(">u2"), np.repeat(values[:, :, None], 3, 2), Image.fromarray(values)):
        assert pixels(source)[:, :, 0].tolist() == [[0, 85, 127, 255]]
    for source in (by_hand, tiff, Image.fromarray(values.astype(np.int32))):
        assert pixels(source)[:, :, 0].tolist() == [[0, 85, 127, 255]]


@pytest.mark.parametrize("kind", ["int8", "uint16", ">u2", "int16", "int32", "uint32", "int64", "uint64"])
def test_integers_of_any_type_in_0_to_255_are_8_bit(kind):
    """numpy and OpenCV widen 8-bit pictures; scaled from 65535 they would be black."""
    values = colors() // 2 if kind == "int8" else colors()
    assert np.array_equal(pixels(values.astype(kind)), values)
    gray = values[:, :, 0]
    assert np.array_equal(pixels(gray.astype(kind))[:, :, 1], gray)


def test_8_bit_values_in_16_and_32_bit_pictures():
    gray = colors()[:, :, 0]
    for image in (Image.fromarray(gray.astype(np.uint16)), Image.fromarray(gray.astype(np.int32))):
        assert image.mode in ("I;16", "I")
        assert np.array_equal(pixels(image)[:, :, 2], gray)


def test_integers_outside_every_range_are_refused():
    refused(Image.fromarray(np.array([[0, 70_000]], np.int32)), "0..70000", "8 or 16 bits")
    refused(Image.fromarray(np.array([[-1, 5]], np.int32)), "-1..5")
    for kind in ("int16", "int32", "int64", "uint32"):
        refused(np.array([[0, 256]], kind), "0..256 outside 0..255", "uint16", kind)
    refused(np.array([[-1, 255]], np.int64), "-1..255 outside 0..255")
    refused(np.array([[-1, 100]], np.int8), "-1..100 outside 0..255")


def test_float_pictures():
    values = np.array([[0, 0.25, 1.0]], np.float32)
    for source in (values, values.astype(np.float64), values.astype(np.float16), Image.fromarray(values)):
        assert pixels(source)[:, :, 0].tolist() == [[0, 64, 255]]
    assert pixels(encoded(Image.fromarray(values), "TIFF"))[:, :, 0].tolist() == [[0, 64, 255]]
    rgba = np.array([[[1.0, 0, 0, 0.5]]])
    assert pixels(rgba).tolist() == [[[255, 127, 127]]]  # alpha 128 of 255


def test_floats_in_0_to_255_are_8_bit():
    for kind in (np.float16, np.float32, np.float64):
        assert np.array_equal(pixels(colors().astype(kind)), colors())
    assert pixels(np.array([[0, 16.6, 99.4]])).tolist() == [[[0] * 3, [17] * 3, [99] * 3]]


def test_floats_whose_range_is_unclear_are_refused():
    unit = np.array([[0, 0.25, 1.0]])
    for values, part in ((unit * 1.1, "0..1.1"), (unit * 16, "0..16")):
        refused(values, part, "could be of 0..1 or of 0..255")
    for values, part in ((unit * 256, "0..256"), (unit - 1, "-1..0")):
        refused(values, part, "neither 0..1 nor 0..255")
    refused(unit * 2 - 1, "-1..1")
    refused(np.full((2, 2), np.nan), "nan")
    refused(np.array([[0, np.inf]]), "inf")


def test_what_rounding_leaves_beyond_a_range_is_clipped():
    assert pixels(np.array([[-0.0009, 0.5, 1.0009]]))[:, :, 0].tolist() == [[0, 128, 255]]
    assert pixels(np.array([[-0.2, 100, 255.2]]))[:, :, 0].tolist() == [[0, 100, 255]]
    refused(np.array([[-0.002, 1]]), "-0.002..1")


def test_cmyk_jpeg_looks_like_its_rgb():
    image = Image.fromarray(colors()).convert("CMYK")
    picture = pixels(encoded(image, "JPEG", quality=100, subsampling=0))
    assert np.abs(picture.astype(int) - colors()).max() <= 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_pixels_an_inch_are_those_of_the_upright_picture(kind, shared, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    options = {"tiffinfo": exif} if kind == "TIFF" else {"exif": exif}
    data = encoded(Image.fromarray(colors()), kind, dpi=(204, 98), **options)
    picture = open_image(Image.open(io.BytesIO(data)) if shared else data)
    assert picture.info["dpi"] == pytest.approx((98, 204) if orientation > 4 else (204, 98), abs=0.1)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "LA", "RGBA", "I;16"])
def test_pixels_an_inch_are_known_of_every_mode(mode):
    picture = open_image(encoded(Image.fromarray(colors()).convert("L").convert(mode), dpi=(300, 300)))
    assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind, orientation):
    """What is stored is the upright picture turned the other way round, as the table of the EXIF standard says."""
    stored = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a.transpose(1, 0, 2), 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation](colors())
    exif = Image.Exif()
    exif[274] = orientation
    options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(kind, {})
    picture = pixels(encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options))
    assert picture.shape == colors().shape
    assert np.abs(picture.astype(int) - colors()).max() <= (16 if kind == "JPEG" else 0)


def test_a_file_that_claims_more_frames_than_it_has_bytes() -> None:
    """A list of 50 million numbers took gigabytes; found by fuzzing."""
    frames = [Image.fromarray(colors(seed)) for seed in (0, 5)]
    content = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])
    place = content.index(b"acTL")
    claimed = (50_000_000).to_bytes(4, "big")
    control = content[place : place + 4] + claimed + content[place + 8 : place + 12]
    content = content[:place] + control + zlib.crc32(control).to_bytes(4, "big") + content[place + 16 :]
    with open_header(io.BytesIO(content), "a.png") as image:
        assert image.n_frames == 50_000_000
        with pytest.raises(UserError, match=rf"a\.png.*50,000,000 frames in {len(content):,} bytes"):
            find_frames(image, "a.png")
    assert np.array_equal(pixels(content), colors())


def test_first_frame_of_an_animation():
    frames = [Image.fromarray(colors(seed)) for seed in (0, 5)]
    assert np.array_equal(pixels(encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])), colors())


# Sources


def test_the_same_picture_from_every_kind_of_source(tmp_path):
    image = Image.fromarray(colors())
    path = tmp_path / "crop.with dots and ünïcode.png"
    image.save(path)
    lazy, data = Image.open(path), path.read_bytes()
    for source in (path, str(path), data, image, lazy, colors(), np.asfortranarray(colors())):
        assert np.array_equal(pixels(source), colors())

    class Named:
        def __fspath__(self) -> str:
            return str(path)

    with path.open("rb") as file, tempfile.SpooledTemporaryFile() as spooled:
        spooled.write(data)
        spooled.seek(0)
        for source in (Named(), bytearray(data), memoryview(data), io.BytesIO(data), file, spooled):
            assert np.array_equal(pixels(source), colors())
        assert not file.closed


def test_an_open_file_is_read_from_where_it_stands():
    file = io.BytesIO(b"header" + encoded(Image.fromarray(colors())))
    refused(file, "BytesIO", "not a picture")
    file.seek(len("header"))
    assert np.array_equal(pixels(file), colors())
    refused(file, "BytesIO", "zero bytes")


def test_files_that_give_no_bytes(tmp_path):
    path = tmp_path / "crop.png"
    Image.fromarray(colors()).save(path)
    with path.open(encoding="latin-1") as file:
        refused(file, str(path), "str, not bytes", "'rb'")
    with path.open(encoding="ascii") as file:
        refused(file, str(path), "'rb'")
    refused(file, str(path), "closed", "'rb'")


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 1), (3, 5, 2), (3, 5, 3), (3, 5, 4), (1, 1), (1, 1, 4)])
def test_array_shapes(shape):
    assert pixels(np.full(shape, 255, np.uint8)).shape == (*shape[:2], 3)
    assert pixels(np.ones(shape, bool)).tolist() == np.full((*shape[:2], 3), 255).tolist()


@pytest.mark.parametrize(
    ("array", "part"),
    [
        (np.zeros((3, 8, 8), np.uint8), "channels last"),
        (np.zeros((2, 8, 8, 3), np.uint8), "(2, 8, 8, 3)"),
        (np.zeros(5, np.uint8), "(5,)"),
        (np.zeros((0, 5, 3), np.uint8), "no pixels"),
        (np.zeros((4, 4), object), "object"),
        (np.zeros((4, 4), complex), "complex"),
        (np.array([["a"]]), "<U1"),
    ],
)
def test_arrays_that_are_no_pictures(array, part):
    refused(array, part)


def test_other_types_are_named():
    for value, name in ((None, "NoneType"), (torch.zeros(3, 4, 4), "Tensor")):
        with pytest.raises(UserError, match=name):
            inspect.unwrap(open_image)(value)  # behind the type checks that only the tests have


def test_the_source_is_left_alone():
    image = Image.fromarray(colors())
    opened = open_image(image)
    opened.putpixel((0, 0), (1, 2, 3))
    assert np.array_equal(np.asarray(image), colors())
    array = colors()
    opened = open_image(array)
    array[:] = 0
    assert np.array_equal(np.asarray(opened), colors())


# Bad files


def test_bad_files_are_one_line_each(tmp_path):
    whole = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)), "JPEG")
    text = tmp_path / "text.png"
    text.write_text("path\tlabel\n")
    refused(text, str(text), "not a picture", "PNG")
    empty = tmp_path / "empty.jpg"
    empty.touch()
    refused(empty, str(empty), "zero bytes")
    truncated = tmp_path / "truncated.jpg"
    truncated.write_bytes(whole[: len(whole) // 2])
    refused(truncated, str(truncated), "truncated", "again")
    refused(tmp_path / "missing.png", "missing.png", "No such file", "check the path")
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere")
    refused(tmp_path / "link.png", "link.png", "No such file")
    refused(tmp_path, str(tmp_path), "folder")
    refused("nul\0.png", "null")
    refused(b"", "0 bytes", "zero bytes")
    refused(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture")
    refused(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "HEIC, as phones write it", "save it as JPEG")
    refused(b"\0\0\0\x18ftypqt  \0\0\0\0qt  " + bytes(99), "not a picture")


def test_truncated_at_every_length_is_refused_or_whole():
    for kind, options in (("PNG", {}), ("JPEG", {"quality": 90}), ("GIF", {}), ("BMP", {})):
        data = encoded(Image.fromarray(colors()), kind, **options)
        for length in range(len(data) // 8, len(data), 7):
            try:
                assert open_image(data[:length]).size == (WIDTH, HEIGHT)
            except UserError:
                continue


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000", "QOI"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF|Truncated|Tag data|Metadata|Unknown:UserWarning")
def test_changed_bytes_never_raise_anything_else(kind, capfd):
    rng = np.random.default_rng(7)
    data = encoded(Image.fromarray(colors()), kind)
    good = 0
    for _ in range(150):
        damaged = bytearray(data)
        for position in rng.integers(0, min(len(data), 300), rng.integers(1, 6)):
            damaged[position] = rng.integers(256)
        try:
            good += open_image(bytes(damaged)).mode == "RGB"
        except UserError as error:
            assert "\n" not in str(error)
    assert good < 150


@pytest.mark.parametrize("side", [9_600, 20_000, 2_000_000_000])
@pytest.mark.filterwarnings("error")
def test_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(side, side, 8, 2, b""))
    refused(path, str(path), "MAX_IMAGE_PIXELS", "shrink")


def test_threads_keep_the_guard_and_the_warning_filters():
    bomb = png(9_600, 9_600, 8, 2, b"")
    good = encoded(Image.fromarray(colors()))

    def attempt(index: int) -> bool:
        try:
            return np.array_equal(pixels(good if index % 2 else bomb), colors())
        except UserError:
            return False

    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(attempt, range(400))) == [bool(index % 2) for index in range(400)]
    assert warnings.filters == before


def test_memory_of_a_picture_is_bounded(tmp_path):
    """8 bytes a pixel and the file, also where a conversion takes 20 bytes a pixel."""
    Image.new("RGBA", (2000, 3000)).save(tmp_path / "clear.png", compress_level=1)
    Image.new("F", (2000, 3000), 1).save(tmp_path / "deep.tif", compression="tiff_deflate")
    code = (
        "import resource, sys; from dptr.utils.images import open_image\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert open_image(sys.argv[1]).mode == 'RGB'\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    for path in sorted(tmp_path.iterdir()):
        taken = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=True, timeout=60)
        assert int(taken.stdout) * 1024 < 8 * 6e6 + path.stat().st_size + (16 << 20), path.name


def test_whatever_a_decoder_raises_is_the_error_of_that_picture(monkeypatch):
    """As two damaged TIFFs did: OverflowError."""
    whole = encoded(Image.fromarray(colors()))

    def fail(*arguments, **options):
        raise OverflowError("in the middle\nof a decoder")

    for owner, name in ((PngImagePlugin.PngImageFile, "load"), (Image, "open")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            refused(whole, "image of", "in the middle of a decoder", "copy")


def test_a_side_of_millions_of_pixels_is_refused_before_it_is_decoded():
    refused(png(1, 2_000_000, 8, 0, b""), "1x2000000", "1,000,000", "cut it")


def test_devices_and_pipes_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to("/dev/zero")
    refused(tmp_path / "pipe.png", "pipe.png", "not a file")
    refused(tmp_path / "link.png", "link.png", "not a file")


def test_reading_pictures_needs_no_torch():
    code = "import sys, dptr.utils.images; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
