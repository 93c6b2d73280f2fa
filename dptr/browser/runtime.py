"""onnxruntime-web, which computes in the browser: one version, from npm's package or a copy of it, by its digest.

It is not part of ``dptr``: the package has 33 MB, and reading in Python needs none of it.
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
"""Of the package, as npm's registry tells it (``dist.integrity``)."""
LARGEST = 256 << 20  # bytes of a package

FILES = {
    "ort.wasm.min.mjs": "ort.wasm.min.js",
    "ort-wasm-simd-threaded.mjs": "ort-wasm-simd-threaded.js",
    "ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
}
"""Of the package's folder ``dist``, and their names here: some web servers do not know ``.mjs`` for a script."""

_PACK = ["npm", "pack", "--silent", f"onnxruntime-web@{VERSION}"]
_REMEDY = f"run '{' '.join(_PACK)}' on another machine, and pass --runtime {PACKAGE}"


def load_runtime(package: Path | None = None) -> dict[str, bytes]:
    """The files of onnxruntime-web, by the names that they have here.

    Args:
        package: npm's package; None = ``npm`` is asked for it, from the registry that it is set up for.

    Raises:
        UserError: npm is missing or fails, there is no such file, or its content is not that of ``VERSION``.
    """
    if package is not None:
        return _unpack(package)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            done = subprocess.run(
                [*_PACK, "--pack-destination", scratch], stdin=subprocess.DEVNULL, capture_output=True, text=True
            )
        except OSError as error:
            raise UserError(f"npm: {error.strerror}; install Node.js, or {_REMEDY}") from error
        if done.returncode:
            reason = " ".join(done.stderr.split())[-200:] or f"code {done.returncode}"
            raise UserError(f"npm cannot load onnxruntime-web {VERSION} ({reason}); {_REMEDY}")
        return _unpack(Path(scratch) / PACKAGE)


def _unpack(package: Path) -> dict[str, bytes]:
    try:
        content = read_file(package, LARGEST)
    except OSError as error:
        raise UserError(f"--runtime {package}: {error.strerror}; pass npm's package {PACKAGE}") from error
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != SHA512:
        raise UserError(f"--runtime {package}: not npm's package {PACKAGE}, or damaged; load it anew")
    with tarfile.open(fileobj=io.BytesIO(content)) as packed:
        members = {name: packed.extractfile(f"package/dist/{name}") for name in FILES}
        return {FILES[name]: member.read() for name, member in members.items() if member is not None}
