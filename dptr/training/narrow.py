"""Crops that teach CTC over image tokens nothing, counted: those with fewer tokens than their label needs.

No path of so few tokens spells the label, so its loss is infinite. ``torch.nn.functional.ctc_loss`` counts it as 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from dptr.data.crops import LabeledCrops
from dptr.models.decoders.ctc import TokenCTC
from dptr.models.recognizer import Recognizer

LISTED = 3  # of the crops, in the line that counts them


def tokens_needed(label: str) -> int:
    """One a character, and one between equal neighbors."""
    return len(label) + sum(one == other for one, other in pairwise(label))


@dataclass
class NarrowCrops:
    """Counts crops that are drawn.

    Attributes:
        pixels: of width that an image token stands for; 0 = each label has a path in each crop.
        drawn, narrow: crops that were drawn, and how many of them have too few tokens.
    """

    pixels: int
    drawn: int = 0
    narrow: int = 0

    @classmethod
    def of_model(cls, model: Recognizer, width: int) -> NarrowCrops:
        """For a model whose usual crop has that width."""
        return cls(width // model.encoder.grid[1] if isinstance(model.decoder, TokenCTC) else 0)

    def is_narrow(self, width: int, label: str) -> bool:
        """Whether a crop of that width, in pixels, has fewer tokens than its label needs."""
        return bool(self.pixels) and width // self.pixels < tokens_needed(label)

    def count(self, width: int, labels: Sequence[str]) -> None:
        """Count a batch of crops of that width."""
        self.drawn += len(labels)
        self.narrow += sum(self.is_narrow(width, label) for label in labels)

    def describe(self, crops: LabeledCrops) -> list[str]:
        """A line for the log on labeled crops of which some are too narrow, with the first of them; else none."""
        if not self.pixels:
            return []
        sizes = crops.sizes()[:, 1].tolist()
        found = [row for row, width in enumerate(sizes) if self.is_narrow(width, crops.labels[row])]
        if not found:
            return []
        named = [
            f"{crops.keys[row]}: {crops.labels[row]!r} needs {tokens_needed(crops.labels[row])} and has "
            f"{sizes[row] // self.pixels}"
            for row in found[:LISTED]
        ]
        more = "; ..." if len(found) > LISTED else ""
        few = f"{len(found)} crops have fewer image tokens than their label needs and teach nothing"
        return [f"{few}: {'; '.join(named)}{more}"]

    def summary(self) -> list[str]:
        """A line on the crops that were drawn, rendered ones too, if some were too narrow."""
        if not self.narrow:
            return []
        few = "had fewer image tokens than their label needs and taught nothing"
        return [f"{self.narrow:,} of {self.drawn:,} crops that were drawn {few}"]
