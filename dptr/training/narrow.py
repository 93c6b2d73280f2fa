"""Crops with few image tokens for their label, from which CTC over image tokens learns little.

With fewer tokens than the label needs, no path spells it, so the loss is infinite.
``torch.nn.functional.ctc_loss`` counts it as 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from dptr.data.crops import LabeledCrops
from dptr.models.decoders.ctc import TokenCTC
from dptr.models.encoders.ppocr import PPOCR
from dptr.models.recognizer import Recognizer
from dptr.utils.sizes import Sizes

LISTED = 3  # crops that the log names
MOST_STRETCH = 4.0  # that ``dptr.config.size.Stretch`` allows


def tokens_needed(label: str) -> int:
    """The length of the shortest CTC path: a token per character, and a blank between equal neighbors."""
    return len(label) + sum(one == other for one, other in pairwise(label))


@dataclass
class NarrowCrops:
    """Counter of the crops that training draws.

    Attributes:
        pixels: width of an image token; 0 for decoders in which every label has a path in every crop.
        remedy: what gives crops more tokens, for messages; empty = nothing does.
        drawn, narrow: how many crops were drawn, and how many of these have too few tokens.
    """

    pixels: int
    remedy: str = ""
    drawn: int = 0
    narrow: int = 0

    @classmethod
    def of_model(cls, model: Recognizer, size: Sizes) -> NarrowCrops:
        """A counter for a model whose crops have these sizes."""
        if not isinstance(model.decoder, TokenCTC):
            return cls(0)
        wider, remedy = 2 * size.stretch, ""
        if isinstance(model.encoder, PPOCR) and wider <= MOST_STRETCH:
            setting = f"--set model.encoder.kind=ppocr --set model.encoder.stretch={wider:g}"
            remedy = f" ({setting} gives up to twice as many)"
        return cls(size.width // model.encoder.grid[1], remedy)

    def is_narrow(self, width: int, label: str) -> bool:
        """Whether a crop of this width, in pixels, has fewer tokens than its label needs."""
        return bool(self.pixels) and width // self.pixels < tokens_needed(label)

    def count(self, width: int, labels: Sequence[str]) -> None:
        """Count a batch of crops of this width."""
        self.drawn += len(labels)
        self.narrow += sum(self.is_narrow(width, label) for label in labels)

    def describe(self, crops: LabeledCrops) -> list[str]:
        """A line for the log if some labeled crops are too narrow, which names the first of them."""
        if not self.pixels:
            return []
        widths = crops.sizes()[:, 1].tolist()
        narrow = [row for row, width in enumerate(widths) if self.is_narrow(width, crops.labels[row])]
        if not narrow:
            return []
        examples = [
            f"{crops.keys[row]}: {crops.labels[row]!r} needs {tokens_needed(crops.labels[row])} and has "
            f"{widths[row] // self.pixels}"
            for row in narrow[:LISTED]
        ]
        more = "; ..." if len(narrow) > LISTED else ""
        summary = f"{len(narrow)} crops have fewer image tokens than their label needs and teach nothing"
        return [f"{summary}{self.remedy}: {'; '.join(examples)}{more}"]

    def summary(self) -> list[str]:
        """A line for the log if some drawn crops, labeled or rendered, were too narrow."""
        if not self.narrow:
            return []
        few = "had fewer image tokens than their label needs and taught nothing"
        return [f"{self.narrow:,} of {self.drawn:,} crops that were drawn {few}{self.remedy}"]
