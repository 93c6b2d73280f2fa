"""Which samples were left out, and why: counted and listed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

LONGEST_DETAIL = 300  # characters of a label or an error that are kept


@dataclass
class DropReport:
    """Samples left out, by reason: all of them counted, the first ``listed`` of each reason named."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # reason -> (key, detail)
    listed: int = 1000

    def add(self, reason: str, key: str, detail: str) -> None:
        """Count one sample: where it came from, and the label or error that explains the reason, without that place."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        named = self.examples.setdefault(reason, [])
        if len(named) < self.listed:
            detail = detail.removeprefix(f"{key}: ")
            named.append((key, detail if len(detail) <= LONGEST_DETAIL else f"{detail[:LONGEST_DETAIL]}..."))

    def merge(self, other: DropReport) -> None:
        """Add what ``other`` counted."""
        for reason, count in other.counts.items():
            self.counts[reason] = self.counts.get(reason, 0) + count
            named = self.examples.setdefault(reason, [])
            named += other.examples[reason][: self.listed - len(named)]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def lines(self, show: int = 3) -> list[str]:
        """For the terminal: a line a reason, the most frequent first, with the first ``show`` samples."""
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
