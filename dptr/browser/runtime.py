"""Gets onnxruntime-web, which runs the models in the browser: one pinned version from npm, checked by its digest.

It is not part of ``dptr``, because the package has 33 MB and reading in Python does not need it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import subprocess
import tarfile
import tempfile
from pathlib import Path

from dptr.utils.errors import UserError
from dptr.utils.reading import read_file

VERSION = "1.30.0"
PACKAGE = f"onnxruntime-web-{VERSION}.tgz"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""The digest of the package in base64, as in npm's registry (``dist.integrity``)."""
LARGEST = 256 << 20  # bytes of a package, at most

FILES = {
    "ort.wasm.min.mjs": "ort.wasm.min.js",
    "ort-wasm-simd-threaded.mjs": "ort-wasm-simd-threaded.js",
    "ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
}
"""The files needed from the package's folder ``dist``, and their names in the page.

The names end in ``.js``, because some web servers do not send ``.mjs`` with the media type of a script.
"""

_PACK = ["npm", "pack", "--silent", f"onnxruntime-web@{VERSION}"]
_REMEDY = f"run '{' '.join(_PACK)}' on another machine, and pass --runtime {PACKAGE}"


def load_runtime(package: Path | None = None) -> dict[str, bytes]:
    """The files of onnxruntime-web, by their names in the page.

    Args:
        package: the path of npm's package; None = download it with ``npm``, from the registry that npm is configured
            for.

    Raises:
        UserError: npm is missing or fails, the file cannot be read, or its digest differs from ``SHA512``.
    """
    if package is not None:
        return _unpack(package)
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = subprocess.run(
                [*_PACK, "--pack-destination", folder], stdin=subprocess.DEVNULL, capture_output=True, text=True
            )
        except OSError as error:
            raise UserError(f"npm: {error.strerror}; install Node.js, or {_REMEDY}") from error
        if result.returncode:
            reason = " ".join(result.stderr.split())[-200:] or f"code {result.returncode}"
            raise UserError(f"npm cannot load onnxruntime-web {VERSION} ({reason}); {_REMEDY}")
        return _unpack(Path(folder) / PACKAGE)


def _unpack(package: Path) -> dict[str, bytes]:
    """The files in a package, by their names in the page.

    Raises:
        UserError: the package cannot be read, or its digest differs.
    """
    try:
        content = read_file(package, LARGEST)
    except OSError as error:
        raise UserError(f"--runtime {package}: {error.strerror}; pass npm's package {PACKAGE}") from error
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != SHA512:
        raise UserError(f"--runtime {package}: not npm's package {PACKAGE}, or damaged; load it anew")
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = {name: archive.extractfile(f"package/dist/{name}") for name in FILES}
        return {FILES[name]: member.read() for name, member in members.items() if member is not None}
