"""A page that reads without a server: a folder that any web server can serve, with the model in it.

The page's own files are in ``page``; those that it shares with the page of ``dptr serve`` are in ``dptr/serve/page``.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import onnxruntime

from dptr.browser.runtime import load_runtime
from dptr.inference.locate import check_model
from dptr.inference.onnx_backend import SUFFIX, OnnxModel
from dptr.photo.detect import EMBEDDED
from dptr.photo.spaces import FILE as SPACES
from dptr.serve.pages import FOLDER as SHARED_FOLDER
from dptr.utils.errors import UserError
from dptr.utils.files import atomic_folder, list_files, restore_folder, write_json
from dptr.utils.outputs import check_folder
from dptr.version import __version__
from dptr.weights import model_file

FOLDER = Path(__file__).with_name("page")
SHARED = "style.css", "icon.svg", "desk.js", "page.js", "parts.js", "sample.js", "view.js"
MANIFEST = "page.json"
KEYS = "dptr", "model", "photographs", "files"


def export_page(
    out: str | Path, model: str | Path, photographs: bool = True, runtime: Path | None = None
) -> dict[str, int]:
    """Write the page into a folder, whole or not at all.

    Args:
        out: the folder: new, empty, or an earlier page.
        model: a shipped name, or a file that ``dptr export`` wrote, or a folder that holds one as ``model.onnx``.
        photographs: whether it finds text in photographs too; off = it reads crops of one word each.
        runtime: see ``dptr.browser.runtime.load_runtime``.

    Returns:
        The bytes of each file, by its path in the folder.

    Raises:
        UserError: the folder holds something else, the model is none or was not exported, or what ``load_runtime``
            raises.
    """
    restore_folder(out)
    earlier = check_folder(out, "page", MANIFEST, KEYS)
    models = {"recognizer": _exported(model)}
    name = str(OnnxModel(models["recognizer"]).metadata.get("name") or model)
    if photographs:
        models |= {"detector": EMBEDDED, "spaces": SPACES}
    files = dict(_page_files())
    files |= {f"runtime/{file}": content for file, content in load_runtime(runtime).items()}
    files |= {f"models/{part}{SUFFIX}": path.read_bytes() for part, path in models.items()}
    files |= {f"licenses/{part}.txt": text for part, text in _licenses(photographs)}
    sizes = {path: len(files[path]) for path in sorted(files)}
    with atomic_folder(out, goes=list_files(out) if earlier else ()) as aside:
        for path, content in files.items():
            (aside / path).parent.mkdir(parents=True, exist_ok=True)
            (aside / path).write_bytes(content)
        facts = {"dptr": __version__, "model": name, "photographs": photographs, "files": sizes}
        write_json(aside / MANIFEST, facts)
    return sizes | {MANIFEST: (Path(out) / MANIFEST).stat().st_size}


def _exported(model: str | Path) -> Path:
    check_model(model)
    file = Path(model) if Path(model).suffix == SUFFIX else model_file(model, f"model{SUFFIX}")
    if not file.is_file():
        raise UserError(
            f"model '{model}': not exported; type: dptr export --model {model} -o FILE{SUFFIX}, and pass it"
        )
    return file


def _page_files() -> Iterator[tuple[str, bytes]]:
    for path in sorted(FOLDER.iterdir()):
        if path.suffix in (".html", ".css", ".js"):
            yield path.name if path.suffix == ".html" else f"static/{path.name}", path.read_bytes()
    for name in SHARED:
        yield f"static/{name}", (SHARED_FOLDER / name).read_bytes()


def _licenses(photographs: bool) -> Iterator[tuple[str, bytes]]:
    """Of what the page holds."""
    yield "DPTR", _license_files("dptr")
    own = Path(onnxruntime.__file__).parent  # also of onnxruntime-gpu and others, which are the same source
    yield "onnxruntime", (own / "LICENSE").read_bytes()
    yield "onnxruntime-parts", (own / "ThirdPartyNotices.txt").read_bytes()
    if photographs:
        yield "detector", EMBEDDED.with_suffix(".txt").read_bytes()


def _license_files(package: str) -> bytes:
    found = distribution(package)
    files = [file for file in found.files or () if "license" in file.name.lower() and "dist-info" in file.parts[0]]
    return b"\n\n".join(Path(str(found.locate_file(file))).read_bytes() for file in files)
