"""Our recognizer as a worker: ``dptr_reader.py '{"crops": FILE, "model": NAME, "threads": 0}'`` (0 = the default).

``"tta": 1`` as ``dptr.Reader`` takes it.
"""

from __future__ import annotations

import json
import sys

from reading import crops_of, serve_reading

from dptr import Reader
from dptr.inference.onnx_backend import SUFFIX, OnnxModel
from dptr.utils.errors import UserError
from dptr.weights import model_file


def main() -> None:
    options = json.loads(sys.argv[1])
    reader = Reader(options["model"], tta=options["tta"])
    if not isinstance(reader.backend, OnnxModel):
        raise UserError(f"{options['model']}: holds no model{SUFFIX}; write it with 'dptr export'")
    if options["threads"]:
        model = options["model"]
        file = model if model.endswith(SUFFIX) else model_file(model, f"model{SUFFIX}")
        reader.backend = OnnxModel(file, threads=options["threads"])
    serve_reading(lambda crops: [word.text for word in reader.read(list(crops))], crops_of(options["crops"]))


if __name__ == "__main__":
    main()
