"""What mutation begins with: small inputs of every kind, drawn and written here."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

PARTS = b"\n=====\n"
"""Stands between the parts of a case that is several files."""

CROPS = "crop.png", "page.gif"
"""Pictures that lie beside labels.tsv."""

ROOT = Path(__file__).resolve().parent.parent


def draw(mode: str = "RGB", width: int = 40, height: int = 16) -> Image.Image:
    """A picture of a word."""
    image = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(image).text((3, 2), "Abc 12", fill=(150, 20, 40))
    if mode in ("I;16", "I", "F"):
        gray = image.convert("L").convert("I")
        return gray.convert("F") if mode == "F" else gray.point(lambda value: value * 257).convert(mode)
    return image.convert(mode)


def encode(image: Image.Image, style: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, style, **options)
    return file.getvalue()


def pictures() -> list[bytes]:
    """Every format that is read, in its modes and compressions."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    frames = {"save_all": True, "append_images": [draw(width=24), draw(height=30)]}
    made = [encode(draw(mode), "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")]
    made += [encode(draw(mode), "JPEG", quality=60) for mode in ("L", "RGB", "CMYK")]
    made += [encode(draw(), "JPEG", progressive=True, exif=exif), encode(draw(), "PNG", exif=exif)]
    made += [encode(draw(), "PNG", **frames), encode(draw("P"), "GIF"), encode(draw(), "GIF", **frames)]
    made += [encode(draw(mode), "TIFF") for mode in ("1", "L", "RGB", "RGBA", "CMYK", "I;16", "I", "F")]
    made += [
        encode(draw("L"), "TIFF", compression=each) for each in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    ]
    made += [encode(draw("1"), "TIFF", compression="group4"), encode(draw(), "TIFF", **frames)]
    made += [encode(draw(mode), "BMP") for mode in ("1", "L", "RGB", "RGBA")] + [encode(draw(), "DIB")]
    made += [encode(draw(mode), "PPM") for mode in ("1", "L", "RGB")] + [b"P2 3 1 255 0 128 255\n"]
    made += [encode(draw(), style) for style in ("WEBP", "AVIF", "JPEG2000")]
    made += [
        encode(draw("RGBA"), "WEBP", lossless=True),
        encode(draw(), "WEBP", save_all=True, append_images=[draw("L")]),
    ]
    made.append(
        b"qoif" + (4).to_bytes(4, "big") + (2).to_bytes(4, "big") + b"\3\0" + b"\xfe\1\2\3\xc6" + bytes(7) + b"\1"
    )
    return made


def labels() -> list[bytes]:
    """labels.tsv."""
    return [
        b"crop.png\tAbc\npage.gif\t12 34\n",
        "\ufeffcrop.png\tÄß\r\n\r\npage.gif\t\n".encode(),
        "crop.png\tשלום\t0.9\nmissing.png\tx\n./crop.png\té\n".encode(),
        b"../crop.png\tx\n/dev/zero\ty\n",
    ]


def lmdbs() -> list[bytes]:
    """Keys and values, one behind the other."""
    picture, label = b"image-000000001", b"label-000000001"
    crop = encode(draw(), "PNG")
    return [
        PARTS.join([b"num-samples", b"1", picture, crop, label, b"Abc"]),
        PARTS.join(
            [b"num-samples", b"2", picture, crop, label, "é".encode(), b"image-000000002", b"", b"label-000000002"]
        ),
        PARTS.join([b"num-samples", b"0"]),
    ]


def pages() -> list[bytes]:
    """Files of LMDBs: of one page, of a tree, and with a value that has pages of its own."""
    import tempfile

    from dptr.data.lmdb import write_lmdb

    crop, made = encode(draw(), "PNG"), []
    sets = [(crop, "Abc")], [(crop, str(number)) for number in range(30)], [(encode(draw(), "BMP") + bytes(3000), "a")]
    for samples in sets:
        with tempfile.TemporaryDirectory() as folder:
            write_lmdb(Path(folder) / "set", samples)
            made.append((Path(folder) / "set" / "data.mdb").read_bytes())
    return made


def recipes() -> list[bytes]:
    """TOML, as it is written for training."""
    return [path.read_bytes() for path in sorted((ROOT / "recipes").glob("*.toml"))]


def charsets() -> list[bytes]:
    """Files of characters."""
    return [b"abc 123\n", "äöü\nß".encode(), "\ufeffабв".encode(), "اَب".encode(), "a\u0301e\u0301".encode()]


def patterns() -> list[bytes]:
    """Regular expressions of words."""
    texts = [
        "date",
        "[A-Z]{2}[0-9]{4,6}",
        "(ab|cd)*e?",
        r"\d+(\.\d{2})?",
        "[^a-z]+",
        "(?i:abc)",
        "a{2,}|b{,3}",
        r"\w\s.",
    ]
    return [text.encode() for text in texts]


def checkpoints() -> list[bytes]:
    """config.json, card.json, and the header of model.safetensors, of a small recognizer."""
    config, card, header, _ = small_checkpoint()
    return [PARTS.join([config, card, header])]


@cache
def small_checkpoint() -> tuple[bytes, bytes, bytes, bytes]:
    """As ``checkpoints``, and last the numbers behind that header."""
    import tempfile

    import torch

    from dptr.config.model import ModelConfig
    from dptr.models.checkpoint import save_checkpoint
    from dptr.models.recognizer import build_recognizer
    from dptr.text.charset import Charset

    settings = {
        "charset": "10", "max_length": 3, "decoder": {"dim": 8, "depth": 1, "heads": 2},
        "encoder": {"kind": "svtr", "size": "nano", "height": 16, "width": 32}, "fmu": {"queries": 4, "heads": 2},
    }  # fmt: skip
    config = ModelConfig.model_validate(settings)
    charset = Charset("10", tuple("0123456789"))
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        model = build_recognizer(config, len(charset))
        save_checkpoint(folder, "recognizer", model, config, charset, {}, {"name": "small"})
        texts = [(Path(folder) / name).read_bytes() for name in ("config.json", "card.json")]
        tensors = (Path(folder) / "model.safetensors").read_bytes()
    end = 8 + int.from_bytes(tensors[:8], "little")
    return texts[0], texts[1], tensors[8:end], tensors[end:]


def metadata() -> list[bytes]:
    """The JSON in an exported model."""
    from dptr.inference.onnx_backend import dump_metadata
    from dptr.text.charset import Charset
    from dptr.text.tokenizer import Tokenizer
    from dptr.utils.sizes import CropSizes

    tokenizer = Tokenizer(Charset("10", tuple("0123456789")), 3)
    card = {"name": "small", "trained_on": ["words"], "thresholds": {"n": 100, "0.9": [0.5, 0.8]}}
    sizes = CropSizes(32, 128, 0, ()), CropSizes(32, 128, 0, ((64, 64),))
    written = [dump_metadata("small", tokenizer, size, card, "0123456789abcdef", "float32", 1.5) for size in sizes]
    return [text.encode() for text in written]


def pdfs() -> list[bytes]:
    """With text, with a picture, and with both turned and cropped."""
    content = b"BT /F 12 Tf 10 20 Td (Abc 12) Tj ET 0.5 g 5 5 30 9 re f"
    bodies = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 90 60]/Rotate 90/CropBox[2 2 80 50]/Contents 4 0 R"
        b"/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
    ]
    text = b"%PDF-1.4\n"
    places = []
    for number, body in enumerate(bodies, 1):
        places.append(len(text))
        text += b"%d 0 obj%s endobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    text += b"xref\n0 5\n0000000000 65535 f \n%strailer<</Size 5/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (
        table,
        len(text),
    )
    return [text, encode(draw(), "PDF"), encode(draw("1"), "PDF", save_all=True, append_images=[draw("L")])]


def requests() -> list[bytes]:
    """HTTP, with the paths of the API."""
    import base64

    crop = base64.b64encode(encode(draw(), "PNG")).decode()
    kind = "content-type: application/json"
    styles = "text", "tsv", "alto", "page", "pdf"
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/v1/read", {"files": [crop]}),
        ("/v1/read", {"files": [{"name": "a.png", "data": f"data:image/png;base64,{crop}"}], "charset": "10"}),
        ("/v1/read", {"files": [crop], "pattern": "[A-Z][a-z]+", "lexicon": ["Abc", "12"], "min_confidence": 0.5}),
        ("/v1/ocr", {"files": [crop], "format": "hocr", "pages": "1-", "dpi": 72}),
        ("/v1/ocr", {"files": [base64.b64encode(pdfs()[0]).decode()], "format": "json", "pictures": True}),
    ]
    bodies += [("/v1/ocr", {"files": [crop], "format": style}) for style in styles]
    made = [f"POST {path}\n{kind}\n\n{json.dumps(body)}".encode() for path, body in bodies]
    form = (
        b"POST /v1/read\ncontent-type: multipart/form-data; boundary=xx\n\n--xx\r\nContent-Disposition: form-data; "
        b'name="files"; filename="a.png"\r\n\r\n%s\r\n--xx\r\nContent-Disposition: form-data; name="charset"\r\n\r\n36'
        b"\r\n--xx--\r\n"
    )
    return [*made, form % encode(draw("1"), "PNG"), b"GET /v1/models\nhost: localhost\n\n", b"GET /metrics\n\n"]


SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "picture": pictures,
    "labels": labels,
    "lmdb": lmdbs,
    "pages": pages,
    "recipe": recipes,
    "charset": charsets,
    "pattern": patterns,
    "checkpoint": checkpoints,
    "metadata": metadata,
    "pdf": pdfs,
    "request": requests,
}
