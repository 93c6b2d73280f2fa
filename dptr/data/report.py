"""A report of the samples that were left out, counted and listed by reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

LONGEST_DETAIL = 300  # characters of a label or an error; longer ones are cut


@dataclass
class DropReport:
    """Samples that were left out: the number for each reason, and its first ``listed`` samples."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # reason -> (key, detail)
    listed: int = 1000

    def add(self, reason: str, key: str, detail: str) -> None:
        """Count a sample: its key, and the label or the error (without the key) that explains the reason."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < self.listed:
            detail = detail.removeprefix(f"{key}: ")
            examples.append((key, detail if len(detail) <= LONGEST_DETAIL else f"{detail[:LONGEST_DETAIL]}..."))

    def merge(self, other: DropReport) -> None:
        """Add the samples of ``other``."""
        for reason, count in other.counts.items():
            self.counts[reason] = self.counts.get(reason, 0) + count
            examples = self.examples.setdefault(reason, [])
            examples += other.examples[reason][: self.listed - len(examples)]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def lines(self, show: int = 3) -> list[str]:
        """One line per reason, the most frequent first, with its first ``show`` samples."""
        result = []
        for reason, count in sorted(self.counts.items(), key=lambda item: (-item[1], item[0])):
            named = "; ".join(f"{key}: {detail}" if detail else key for key, detail in self.examples[reason][:show])
            result.append(f"dropped {count} ({reason}): {named}{'; ...' if count > show else ''}")
        return result

    def to_json(self) -> dict[str, Any]:
        """``{reason: {"count": n, "examples": [{"key": ..., "detail": ...}, ...]}}``."""
        return {
            reason: {
                "count": count,
                "examples": [{"key": key, "detail": detail} for key, detail in self.examples[reason]],
            }
            for reason, count in self.counts.items()
        }
