"""Weights of PP-OCRv6's small recognizer, encoder and head, from the ONNX file that ``rapidocr`` installs.

The file names tensors by number, so they are identified by the order in which the graph uses them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from dptr.models.encoders.ppocr import DIM, PPOCR
from dptr.models.loading import load_strictly
from dptr.text.charset import Charset
from dptr.utils.errors import UserError
from dptr.utils.extras import missing_package

if TYPE_CHECKING:
    import onnx

INSTALLED = "rapidocr"  # means FILE in the installed package
FILE = Path("models", "PP-OCRv6_rec_small.onnx")
BATCH_NORM_EPS = 1e-5
ALIKE = dict(
    zip("АВЕКМНОРСТУХІЈЅЗҮӨГПЛФаеорсухіјѕүөвкмнтзпф", "ABEKMHOPCTYXIJS3YOΓΠΛΦaeopcyxijsyoBkMHT3πφ", strict=True)
)
"""Cyrillic letters, which the head lacks, -> similar looking Latin and Greek ones and digits, which it has."""


def find_file(weights: str) -> Path:
    """The path of the ONNX file: ``weights`` itself, or that of the installed package for ``rapidocr``.

    Raises:
        UserError: there is no such file.
    """
    if weights == INSTALLED:
        package = find_spec(INSTALLED)
        if package is None or package.origin is None:
            raise UserError("init.encoder = 'rapidocr': not installed; type: pip install 'rapidocr>=3.10'")
        path = Path(package.origin).parent / FILE
    else:
        path = Path(weights)
    if not path.is_file():
        raise UserError(f"init.encoder = '{weights}': no file {path}; pass {FILE.name} of rapidocr 3.10")
    return path


@dataclass(frozen=True)
class Head:
    """The linear layer from image tokens to classes.

    Attributes:
        characters: of classes 1 to n; class 0 is the blank of CTC.
        weight, bias: one row per class.
    """

    characters: tuple[str, ...]
    weight: Float[Tensor, "classes dim"]
    bias: Float[Tensor, " classes"]

    def with_more(self, other: Head) -> Head:
        """This head, extended by the characters of ``other`` that it lacks."""
        known = set(self.characters)
        rows = [row for row, character in enumerate(other.characters, 1) if character not in known]
        return Head(
            (*self.characters, *(other.characters[row - 1] for row in rows)),
            torch.cat([self.weight, other.weight[rows]]),
            torch.cat([self.bias, other.bias[rows]]),
        )


def find_installed_head() -> Head | None:
    """The head of the network in ``rapidocr``; None if that package or ``onnx`` is not installed."""
    if find_spec(INSTALLED) is None or find_spec("onnx") is None:
        return None
    return read_weights(find_file(INSTALLED))[1]


def read_weights(path: Path) -> tuple[dict[str, Tensor], Head]:
    """Read the encoder's tensors, by the names of ``PPOCR``, and the head.

    Raises:
        UserError: the file is not an ONNX graph of this network, or ``onnx`` is missing.
    """
    try:
        import onnx
    except ImportError as error:
        raise missing_package(error, "model.encoder.kind = 'ppocr'", "export", "onnx") from error
    from google.protobuf.message import DecodeError

    try:
        file = onnx.load(str(path))
    except (DecodeError, OSError) as error:
        raise UserError(f"{path}: not an ONNX file that can be read; copy it anew") from error
    published = list(_graph_layers(file.graph))
    model = PPOCR(48, 64)
    layers = list(_model_layers(model))
    characters = "".join(entry.value for entry in file.metadata_props if entry.key == "character").split("\n")
    if len(published) != len(layers) + 1 or published[-1][0].shape != (DIM, len(characters) + 2):
        raise UserError(f"{path}: not the network of {FILE.name} of rapidocr 3.10; pass that file")
    tensors: dict[str, Tensor] = {}
    for (name, layer), (weight, bias) in zip(layers, published, strict=False):
        if isinstance(layer, nn.Linear):
            weight = weight.T
        tensors |= {f"{name}.weight": torch.from_numpy(weight.copy()), f"{name}.bias": torch.from_numpy(bias.copy())}
    tensors = dict(_split_projections(tensors))
    first = "stem.first.weight"
    tensors[first] = tensors[first].flip(1)  # the published network takes BGR
    load_strictly(model, tensors, str(path))
    weights, biases = (torch.from_numpy(array.copy()) for array in published[-1])
    return tensors, Head((*characters, " "), weights.T, biases)


def load_head(layer: nn.Linear, head: Head, charset: Charset) -> list[str]:
    """Set the rows of ``layer``, whose classes are 0 and ``charset``, from a trained head.

    A character that the head lacks gets the median bias, and the weights of a similar looking one (``_find_alike``) or
    the mean weights. With random weights it would win over trained rows, since tokens have a large norm.

    Returns:
        The characters that the head lacks.
    """
    rows = {character: row for row, character in enumerate(head.characters, 1)}
    median, mean = float(head.bias.median()), head.weight[1:].mean(0)
    with torch.no_grad():
        layer.weight[0], layer.bias[0] = head.weight[0], head.bias[0]
        for index, character in enumerate(charset.characters, 1):
            row = rows.get(character) or _find_alike(character, rows)
            layer.weight[index] = mean if row is None else head.weight[row]
            layer.bias[index] = float(head.bias[rows[character]]) if character in rows else median
    return [character for character in charset.characters if character not in rows]


def _find_alike(character: str, rows: Mapping[str, int]) -> int | None:
    """The row of a letter that looks like ``character``: the same without accents, or one of another alphabet."""
    base = unicodedata.normalize("NFD", character)[0]
    return rows.get(base) or rows.get(ALIKE.get(base, ""))


class _Projection(nn.Linear):
    """Stands for query, key, and value of an ``Attention``, which are one matrix in the file."""


def _model_layers(model: PPOCR) -> Iterator[tuple[str, nn.Module]]:
    """Layers with weights, by name, in the order of the graph."""
    for name, module in model.named_modules():
        if name.endswith("attention.query"):
            yield name.removesuffix("query") + "projection", _Projection(1, 1)
        elif not name.endswith("attention.key_value") and isinstance(module, nn.Conv2d | nn.Linear | nn.LayerNorm):
            yield name, module


def _split_projections(tensors: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in tensors.items():
        if ".projection." in name:
            width = len(tensor) // 3
            yield name.replace("projection", "query"), tensor[:width]
            yield name.replace("projection", "key_value"), tensor[width:]
        else:
            yield name, tensor


def _graph_layers(graph: onnx.GraphProto) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Weight and bias of each layer, in the order of the graph; batch norms are folded into their convolutions.

    A layer is a convolution, a matrix product, or (in a layer norm) a product with a vector, followed by the addition
    of a vector.
    """
    from onnx import numpy_helper

    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weight: np.ndarray | None = None
    for node in graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "Identity" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
        arrays = [constants[name] for name in node.input if name in constants and constants[name].size > 1]
        if node.op_type in ("Conv", "MatMul", "Mul") and arrays:
            weight = arrays[0]
        elif node.op_type == "Add" and weight is not None and arrays:
            yield weight, arrays[0].reshape(-1)
            weight = None
        elif node.op_type == "BatchNormalization" and weight is not None:
            scale, shift, mean, variance = arrays
            ratio = scale / np.sqrt(variance + BATCH_NORM_EPS)
            yield weight * ratio.reshape(-1, *[1] * (weight.ndim - 1)), shift - mean * ratio
            weight = None
