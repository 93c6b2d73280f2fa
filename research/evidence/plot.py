"""Plot the learning curves of research/evidence/gain.py, and write the numbers to one JSON file.

    python research/evidence/plot.py --runs runs/gain --numbers docs/evidence/gain.json --picture docs/assets/gain.png

The plot has a panel for each number of labeled crops, and a line for each start. It shows the word accuracy on the
validation crops by step of fine-tuning: the mean over seeds, and for several seeds a band of one standard error. Each
point also has a binomial standard error (1.9 points at 60 % of 646 crops). The starts share part of it, because they
read the same crops.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

Curves = dict[str, dict[str, list[list[tuple[int, float]]]]]  # budget -> start -> runs -> (step, accuracy)
NAMES = {
    "a": "decoder from scratch",
    "b": "pre-trained on text",
    "c0": "ORP of photographs",
    "cr": "ORP of residuals, slot by slot",
    "c": "ORP of residuals by symbol",
    "d": "trained on rendered crops",
    "e": "d, decoder first on text",
    "f": "stage 1 on rendered crops",
    "j": "jointly on crops and text",
    "jl": "jointly, loosely bound",
    "an": "a, no FMU",
    "cn": "c, no FMU",
    "c13": "c, 13 queries",
    "c52": "c, 52 queries",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="the --out of research/evidence/gain.py")
    parser.add_argument("--numbers", type=Path, required=True)
    parser.add_argument("--picture", type=Path, required=True)
    options = parser.parse_args()
    curves = collect(options.runs)
    options.numbers.parent.mkdir(parents=True, exist_ok=True)
    options.numbers.write_text(json.dumps(curves, indent=1) + "\n", encoding="utf-8")
    draw(curves, options.picture)


def collect(folder: Path) -> Curves:
    """The validation accuracies of all finished runs."""
    curves: Curves = defaultdict(lambda: defaultdict(list))
    for done in sorted(folder.glob("*-*-*.done")):
        start, budget, _ = done.stem.split("-")
        lines = (folder / done.stem / "log.jsonl").read_text(encoding="utf-8").splitlines()
        records = [record for record in map(json.loads, lines) if "validation_word_accuracy" in record]
        curves[budget][start].append([(record["step"], record["validation_word_accuracy"]) for record in records])
    return {budget: dict(starts) for budget, starts in curves.items()}


def draw(curves: Curves, path: Path) -> None:
    """Draw a panel for each number of labeled crops."""
    from matplotlib import pyplot

    budgets = [budget for budget in ("100", "500", "2000", "all") if budget in curves]
    figure, panels = pyplot.subplots(1, len(budgets), figsize=(4.6 * len(budgets), 4.3), sharey=True, squeeze=False)
    colors = pyplot.get_cmap("tab10")
    for panel, budget in zip(panels[0], budgets, strict=True):
        for number, (start, name) in enumerate(NAMES.items()):
            runs = curves[budget].get(start)
            if not runs:
                continue
            steps = [step for step, _ in runs[0]]
            values = 100 * np.array([[accuracy for _, accuracy in run] for run in runs])
            look = {"color": colors(number % 10), "linestyle": "--" if number >= 10 else "-"}
            panel.plot(steps, values.mean(0), label=f"{start}: {name}", marker="o", markersize=3, **look)
            if len(runs) > 1:
                error = values.std(0, ddof=1) / len(runs) ** 0.5
                panel.fill_between(
                    steps,
                    values.mean(0) - error,
                    values.mean(0) + error,
                    color=colors(number % 10),
                    alpha=0.2,
                    linewidth=0,
                )
        panel.set(title=f"{budget} labeled crops", xlabel="steps of fine-tuning")
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("word accuracy on validation crops, %")
    lines = {line.get_label(): line for panel in panels[0] for line in panel.get_lines()}
    figure.legend(lines.values(), lines.keys(), fontsize=8, loc="lower center", ncols=4)
    figure.tight_layout(rect=(0, 0.15, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
