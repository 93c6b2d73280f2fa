"""Settings of recognition decoders, by kind. A decoder with further keys has a class here and a line in the dict."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from dptr.config.base import KindConfig

Initialization = Literal["fan-in", "published"]  # see dptr.models.layers.init_transformer, init_published

# Far above published models: bounds on the settings of a checkpoint, which are checked before allocation.
WIDEST, DEEPEST = 16_384, 256  # dim, layers
MOST_ROUNDS = 1000  # in decoding


class DecoderConfig(KindConfig):
    """Keys of every decoder; ``kind`` is a key of ``dptr.models.decoders.DECODERS``."""

    default_kind: ClassVar[str] = "parseq"

    dim: int = Field(128, ge=8, le=WIDEST)  # width of tokens and memory
    depth: int = Field(2, ge=1, le=DEEPEST)  # layers
    heads: int = Field(4, ge=1, le=WIDEST)
    dropout: float = Field(0.1, ge=0, lt=1)
    # Empty: characters are written in logical order, unless training chooses otherwise (dptr.training.label_order).
    # Otherwise they are written in visual order, and this is the direction of lines with right-to-left letters.
    direction: Literal["", "rtl", "ltr"] = ""

    @property
    def layers(self) -> int:
        """The number of layers with attention."""
        return self.depth

    @property
    def visual(self) -> Literal["", "rtl", "ltr"]:
        """The direction of lines with right-to-left letters, for decoders that write in visual order, from left to
        right; empty for others."""
        return self.direction

    @classmethod
    def kinds(cls) -> dict[str, type[DecoderConfig]]:  # type: ignore[override]
        return DECODER_CONFIGS


class NRTRConfig(DecoderConfig):
    """A causal transformer, left to right."""

    kind: Literal["nrtr"] = "nrtr"
    negatives: int = Field(
        0, ge=0
    )  # classes that the loss samples in addition to a batch's, for larger charsets; 0 = all


class PARSeqConfig(DecoderConfig):
    """Permutation language modeling."""

    kind: Literal["parseq"] = "parseq"
    negatives: int = Field(0, ge=0)  # as in NRTRConfig
    permutations: int = Field(6, ge=1, le=1000)  # orders per step, in mirrored pairs
    refinements: int = Field(1, ge=0, le=MOST_ROUNDS)  # cloze rounds after the first reading
    refinement_mask: Literal["causal", "cloze"] = "causal"  # of the content stream in refinement; published: cloze
    autoregressive: bool = True  # decode left to right, or all positions in parallel
    initialization: Initialization = "fan-in"


class CTCConfig(DecoderConfig):
    """Connectionist Temporal Classification, over learned queries or over the image tokens.

    ``depth``, ``heads``, and ``dropout`` are for the layers of queries; ``tokens`` has no layers, and no FMU.
    """

    kind: Literal["ctc"] = "ctc"
    path: Literal["queries", "tokens"] = "queries"  # tokens: in visual order, since the path is from left to right

    @property
    def visual(self) -> Literal["", "rtl", "ltr"]:
        return self.direction or ("rtl" if self.path == "tokens" else "")

    @property
    def layers(self) -> int:
        return 0 if self.path == "tokens" else self.depth


class ABINetConfig(DecoderConfig):
    """A vision branch and a language model that corrects it."""

    kind: Literal["abinet"] = "abinet"
    iterations: int = Field(3, ge=1, le=MOST_ROUNDS)  # corrections by the language model


class MDiffConfig(DecoderConfig):
    """Mask diffusion."""

    kind: Literal["mdiff"] = "mdiff"
    noisings: int = Field(3, ge=1, le=1000)  # noised copies of each word per training step
    steps: int = Field(3, ge=1, le=MOST_ROUNDS)  # predictions in decoding at most


DECODER_CONFIGS: dict[str, type[DecoderConfig]] = {  # kinds that are not in it only have the common keys
    "parseq": PARSeqConfig,
    "nrtr": NRTRConfig,
    "ctc": CTCConfig,
    "abinet": ABINetConfig,
    "mdiff": MDiffConfig,
}
