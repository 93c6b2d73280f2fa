"""Exports a static web page that reads in the browser: a folder with the model, which any web server can serve.

The files that only this page uses are in ``page``. The files that it shares with the page of ``dptr serve`` are in
``dptr/serve/page``.
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
    """Write the page into a folder, completely or not at all.

    Args:
        out: the folder: it does not exist, is empty, or holds an earlier page, which is replaced.
        model: a shipped name, a file that ``dptr export`` wrote, or a folder with such a file as ``model.onnx``.
        photographs: whether the page also finds text in photographs; False = it reads only crops of one word each.
        runtime: npm's package of onnxruntime-web; None = download it with npm.

    Returns:
        The size of each file in bytes, by its path in the folder.

    Raises:
        UserError: the folder holds something else, there is no such model, the model was not exported, or
            ``load_runtime`` fails.
    """
    restore_folder(out)
    earlier = check_folder(out, "page", MANIFEST, KEYS)
    models = {"recognizer": _find_exported(model)}
    name = str(OnnxModel(models["recognizer"]).metadata.get("name") or model)
    if photographs:
        models |= {"detector": EMBEDDED, "spaces": SPACES}
    files = dict(_page_files())
    files |= {f"runtime/{file}": content for file, content in load_runtime(runtime).items()}
    files |= {f"models/{part}{SUFFIX}": path.read_bytes() for part, path in models.items()}
    files |= {f"licenses/{part}.txt": text for part, text in _licenses(photographs)}
    sizes = {path: len(files[path]) for path in sorted(files)}
    with atomic_folder(out, goes=list_files(out) if earlier else ()) as temporary:
        for path, content in files.items():
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            (temporary / path).write_bytes(content)
        manifest = {"dptr": __version__, "model": name, "photographs": photographs, "files": sizes}
        write_json(temporary / MANIFEST, manifest)
    return sizes | {MANIFEST: (Path(out) / MANIFEST).stat().st_size}


def _find_exported(model: str | Path) -> Path:
    """The ONNX file of a model.

    Raises:
        UserError: there is no such model, or it was not exported.
    """
    check_model(model)
    file = Path(model) if Path(model).suffix == SUFFIX else model_file(model, f"model{SUFFIX}")
    if not file.is_file():
        raise UserError(
            f"model '{model}': not exported; type: dptr export --model {model} -o FILE{SUFFIX}, and pass it"
        )
    return file


def _page_files() -> Iterator[tuple[str, bytes]]:
    """The path in the page's folder, and the content, of each file of the page."""
    for path in sorted(FOLDER.iterdir()):
        if path.suffix in (".html", ".css", ".js"):
            yield path.name if path.suffix == ".html" else f"static/{path.name}", path.read_bytes()
    for name in SHARED:
        yield f"static/{name}", (SHARED_FOLDER / name).read_bytes()


def _licenses(photographs: bool) -> Iterator[tuple[str, bytes]]:
    """The name and the license text of each component of the page."""
    yield "DPTR", _license_files("dptr")
    package = Path(onnxruntime.__file__).parent  # variants such as onnxruntime-gpu have the same source and license
    yield "onnxruntime", (package / "LICENSE").read_bytes()
    yield "onnxruntime-parts", (package / "ThirdPartyNotices.txt").read_bytes()
    if photographs:
        yield "detector", EMBEDDED.with_suffix(".txt").read_bytes()


def _license_files(package: str) -> bytes:
    """The license files of an installed package, joined by blank lines."""
    installed = distribution(package)
    files = [file for file in installed.files or () if "license" in file.name.lower() and "dist-info" in file.parts[0]]
    return b"\n\n".join(Path(str(installed.locate_file(file))).read_bytes() for file in files)
