"""How fast the renderer is: crops a second a core, ours against trdg 1.8.0 and synthtiger 1.2.1, in one run.

    python research/bench/synth.py --json runs/bench-synth.json
    python research/bench/synth.py --clone synthtiger --photographs $DPTR_DATA/natural

Each engine is one process with one thread on one core, and all draw the same English words. Rounds take turns (ours,
trdg, synthtiger, ours, ...), so that a machine that slows down slows all of them. A speed is the median over rounds of
crops by CPU second: other work on the machine shows less in it than in seconds of the clock, which --json holds too.
Nothing is written to disk while the clock runs.

- ours: recipes/synth/signs.toml at 32x128 with this system's fonts; without and with photographs behind.
- trdg: the example of its README, with its own fonts (``workers/trdg_worker.py``).
- synthtiger: with --clone (git clone https://github.com/clovaai/synthtiger) its own example with its own settings and
  resources. Its package has none of these, so without it a template of ours on its components, a faster one, with
  this system's fonts (``workers/tiger_template.py``).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from engines import RECIPES, Worker, color_map, corpus_words, environment, font_folder

from dptr.utils.errors import UserError
from dptr.utils.escapes import dump_json
from dptr.utils.terminal import write_text

CROPS = {"ours": 400, "ours, photographs": 400, "trdg": 200, "synthtiger": 20}  # a round
BARS = {"ours": 500, "trdg": 8, "synthtiger": 100}  # crops a second; ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--venv", type=Path, default=Path("runs/bench-venv"), help="environment of the other two")
    parser.add_argument("--clone", type=Path, help="a checkout of synthtiger's repository")
    parser.add_argument("--photographs", type=Path, default=_natural(), help="default: natural in DPTR_DATA")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    try:
        report = measure(options)
    except UserError as error:
        sys.exit(f"synth: {error}")
    for line in lines(report):
        print(line)
    if options.json:
        write_text(options.json, dump_json(report, indent=1) + "\n")


def _natural() -> Path | None:
    return Path(os.environ["DPTR_DATA"]) / "natural" if "DPTR_DATA" in os.environ else None


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Every engine in turn, ``options.rounds`` times.

    Raises:
        UserError: an environment or a worker that does not come up.
    """
    python, folder = environment(options.venv), options.venv / "bench"
    signs = {"recipe": str(RECIPES / "synth" / "signs.toml"), "overrides": []}
    tiger = {
        "clone": str(options.clone.absolute()) if options.clone else "",
        "fonts": "",
        "colors": "",
        "textures": "",
    }
    if options.photographs and not options.clone:
        tiger["textures"] = str(options.photographs.absolute())
    if not options.clone:
        tiger |= {"fonts": str(font_folder(folder / "fonts")), "colors": str(color_map(folder / "colors.txt"))}
    engines: dict[str, tuple[str | Path, str, dict[str, Any]]] = {"ours": (sys.executable, "ours_worker.py", signs)}
    if options.photographs:
        behind = {**signs, "overrides": [f"render.backgrounds={options.photographs}"]}
        engines["ours, photographs"] = (sys.executable, "ours_worker.py", behind)
    engines["trdg"] = (python, "trdg_worker.py", {"fonts": [], "varied": False})
    engines["synthtiger"] = (python, "tiger_worker.py", tiger)
    words = corpus_words(options.rounds * max(CROPS.values()))
    core = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in engines}
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker(*engine, folder / f"{name}.log", core)) for name, engine in engines.items()
        }
        for name, worker in workers.items():
            worker.draw(words[: CROPS[name] // 10])  # caches of fonts and pictures
        for number in range(options.rounds):
            for name, worker in workers.items():
                first = number * CROPS[name]
                reply = worker.draw(words[first : first + CROPS[name]], first)
                rounds[name].append({"crops": CROPS[name], **{key: reply[key] for key in ("cpu", "wall", "retries")}})
    speeds = {name: statistics.median(r["crops"] / r["cpu"] for r in taken) for name, taken in rounds.items()}
    ratios = {name: speeds["ours"] / speed for name, speed in speeds.items() if not name.startswith("ours")}
    example = "its own example" if options.clone else "a template of ours"
    return {"crops_per_cpu_second": speeds, "ratios": ratios, "synthtiger": example, "rounds": rounds}


def lines(report: dict[str, Any]) -> list[str]:
    """For the terminal."""
    told = []
    for name, speed in report["crops_per_cpu_second"].items():
        taken = report["rounds"][name]
        each = [r["crops"] / r["cpu"] for r in taken]
        clock = statistics.median(r["crops"] / r["wall"] for r in taken)
        bar = f", bar {BARS[name]}" if name == "ours" else ""
        told.append(
            f"{name}: {speed:.1f} crops a CPU second ({min(each):.1f} to {max(each):.1f}, {len(taken)} rounds of "
            f"{taken[0]['crops']}; {clock:.1f} by the clock{bar})"
        )
    for name, ratio in report["ratios"].items():
        told.append(f"ours / {name}: {ratio:.1f} (bar {BARS[name]})")
    return [*told, f"synthtiger ran {report['synthtiger']}"]


if __name__ == "__main__":
    main()
