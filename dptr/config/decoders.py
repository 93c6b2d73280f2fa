"""Settings of recognition decoders, by kind. A decoder with keys of its own has a class here and a line in the dict."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from dptr.config.base import KindConfig

Initialization = Literal["fan-in", "published"]  # see dptr.models.layers.init_transformer, init_published

# Far above any that was published; what a checkpoint asks for is bounded before it is allocated.
WIDEST, DEEPEST = 16_384, 256  # dim, layers
MOST_ROUNDS = 1000  # of decoding


class DecoderConfig(KindConfig):
    """Keys of every decoder; ``kind`` is a key of ``dptr.models.decoders.DECODERS``."""

    default_kind: ClassVar[str] = "parseq"

    dim: int = Field(128, ge=8, le=WIDEST)  # width of its tokens, and of the memory that it attends to
    depth: int = Field(2, ge=1, le=DEEPEST)  # layers
    heads: int = Field(4, ge=1, le=WIDEST)
    dropout: float = Field(0.1, ge=0, lt=1)
    # characters are written as they stand, from left to right: the direction of lines with letters that run from right
    # to left. Empty: in the order of reading, but where training chooses (dptr.training.label_order)
    direction: Literal["", "rtl", "ltr"] = ""

    @property
    def layers(self) -> int:
        """How many layers with attention it has."""
        return self.depth

    @property
    def visual(self) -> Literal["", "rtl", "ltr"]:
        """Of a decoder that writes characters as they stand, from left to right, in whatever order they are read: the
        direction of lines with letters that run from right to left. Empty of others."""
        return self.direction

    @classmethod
    def kinds(cls) -> dict[str, type[DecoderConfig]]:  # type: ignore[override]
        return DECODER_CONFIGS


class NRTRConfig(DecoderConfig):
    """From left to right."""

    kind: Literal["nrtr"] = "nrtr"
    negatives: int = Field(0, ge=0)  # of larger charsets, how many classes beside a batch's its loss counts; 0 = all


class PARSeqConfig(DecoderConfig):
    """Permutation language modeling."""

    kind: Literal["parseq"] = "parseq"
    negatives: int = Field(0, ge=0)  # as in NRTRConfig
    permutations: int = Field(6, ge=1, le=1000)  # orders a step, in mirrored pairs
    refinements: int = Field(1, ge=0, le=MOST_ROUNDS)  # cloze rounds after the first reading
    refinement_mask: Literal["causal", "cloze"] = "causal"  # of the content stream while refining; published: cloze
    autoregressive: bool = True  # decoding: left to right, or all positions at once
    initialization: Initialization = "fan-in"


class CTCConfig(DecoderConfig):
    """Connectionist Temporal Classification, over learned queries or over the image tokens themselves.

    ``depth``, ``heads`` and ``dropout`` are those of the queries' layers; ``tokens`` has none, and takes no FMU.
    """

    kind: Literal["ctc"] = "ctc"
    path: Literal["queries", "tokens"] = "queries"  # tokens: its path goes from left to right, so it is always visual

    @property
    def visual(self) -> Literal["", "rtl", "ltr"]:
        return self.direction or ("rtl" if self.path == "tokens" else "")

    @property
    def layers(self) -> int:
        return 0 if self.path == "tokens" else self.depth


class ABINetConfig(DecoderConfig):
    """A vision branch and a language model that corrects it."""

    kind: Literal["abinet"] = "abinet"
    iterations: int = Field(3, ge=1, le=MOST_ROUNDS)  # how often the language model corrects the reading


class MDiffConfig(DecoderConfig):
    """Mask diffusion."""

    kind: Literal["mdiff"] = "mdiff"
    noisings: int = Field(3, ge=1, le=1000)  # noised copies of each word a training step
    steps: int = Field(3, ge=1, le=MOST_ROUNDS)  # decoding: rounds of prediction at most


DECODER_CONFIGS: dict[str, type[DecoderConfig]] = {  # those with keys of their own; the others have the common ones
    "parseq": PARSeqConfig,
    "nrtr": NRTRConfig,
    "ctc": CTCConfig,
    "abinet": ABINetConfig,
    "mdiff": MDiffConfig,
}
