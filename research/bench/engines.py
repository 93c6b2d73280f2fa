"""Other programs, each in a process and an environment of its own, that answer requests (``workers/serve.py``)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dptr.config.render import CorpusConfig
from dptr.data.labeled import open_labeled
from dptr.synth import FontIndex, find_fonts
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus
from dptr.utils.errors import UserError

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RECIPES = ROOT / "recipes"
PACKAGES = (
    "trdg==1.8.0", "synthtiger==1.2.1", "pillow==9.5.0", "numpy<2", "opencv-python-headless<4.10", "python-bidi==0.4.2",
)  # fmt: skip
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def environment(folder: Path, packages: Sequence[str] = PACKAGES) -> Path:
    """The Python of a virtual environment with these packages, made where it is missing.

    The renderers' own, ``PACKAGES``, need an old Pillow.

    Raises:
        UserError: pip could not install them.
    """
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    marker = folder / "bench-packages.json"
    if marker.exists() and json.loads(marker.read_text(encoding="utf-8")) == list(packages):
        return python.absolute()
    if not python.exists():
        venv.create(folder, with_pip=True)
    got = subprocess.run([python, "-m", "pip", "install", "-q", *packages], capture_output=True, text=True)
    if got.returncode:
        last = (got.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise UserError(
            f"{folder}: pip cannot install {' '.join(packages)} ({last}); give it a way to these packages, or install "
            "them into an environment yourself and pass it with --venv"
        )
    marker.write_text(json.dumps(packages), encoding="utf-8")
    return python.absolute()


class Worker:
    """A running worker; use it as a context.

    Args:
        python: the interpreter.
        script: a file of ``workers``.
        options: what it wants to know, as its docstring says.
        log: where its messages go.
        core: the processor to stay on, where the system can do that; None = any.
        one_thread: tell the numeric libraries to use one thread.
    """

    def __init__(
        self,
        python: str | Path,
        script: str,
        options: dict[str, Any],
        log: Path,
        core: int | None = None,
        one_thread: bool = True,
    ):
        self.name, self.log = script, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a", encoding="utf-8") as errors:
            self.process = subprocess.Popen(
                [str(python), str(HERE / "workers" / script), json.dumps(options)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8",
                env={**os.environ, **(ONE_THREAD if one_thread else {})},
            )  # fmt: skip
        if core is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(self.process.pid, {core})

    def __enter__(self) -> Worker:
        try:
            self._reply()
        except UserError:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def draw(self, words: Sequence[str], first: int = 0, folder: Path | None = None) -> dict[str, Any]:
        """Draw ``words`` with seeds ``first`` and on, below ``folder`` where one is given; the worker's reply.

        Raises:
            UserError: the worker ended.
        """
        return self.ask({"first": first, "words": list(words), "folder": str(folder.absolute()) if folder else None})

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The worker's reply to a request.

        Raises:
            UserError: the worker ended.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # said below
        return self._reply()

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def _reply(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):  # before that come the greetings of packages
                return json.loads(line)
        raise UserError(f"{self.name} ended with code {self.process.wait()}; see the end of {self.log}")


def corpus_words(count: int, config: CorpusConfig | None = None) -> list[str]:
    """The first ``count`` words of the English corpus, as ``dptr synth`` draws them with seed 0."""
    corpus = Corpus(config or CorpusConfig(), resolve_charset("94"), 25, seed=0)
    return [corpus.word(index) for index in range(count)]


def font_folder(folder: Path, families: int = 0) -> Path:
    """A folder of links to this system's fonts that have every character of charset 94, for all engines alike.

    Beside each font a text file of its characters, as synthtiger wants it. Collections (.ttc) are left out: the others
    open only their first face.

    Args:
        families: only so many families, spread evenly over the alphabet; 0 = all.

    Raises:
        UserError: no such font.
    """
    characters = "".join(resolve_charset("94").characters)
    fonts = [font for font in find_fonts() if font.number == 0 and Path(font.path).suffix.lower() in (".ttf", ".otf")]
    fonts = [font for font, fits in zip(fonts, FontIndex(fonts).covering(characters), strict=True) if fits]
    groups = sorted({font.group for font in fonts})
    if families:
        kept = {groups[i * len(groups) // families] for i in range(min(families, len(groups)))}
        fonts = [font for font in fonts if font.group in kept]
    if not fonts:
        raise UserError("no font of this system has all of charset 94; run scripts/fonts.sh")
    folder.mkdir(parents=True, exist_ok=True)
    for number, font in enumerate(sorted(fonts, key=lambda font: font.path)):
        link = folder / f"{number:04d}{Path(font.path).suffix.lower()}"
        if not link.is_symlink():
            link.symlink_to(Path(font.path).resolve())
        link.with_suffix(".txt").write_text(characters, encoding="utf-8")
    return folder.absolute()


def color_map(path: Path, crops: Sequence[Path] = (), count: int = 2000) -> Path:
    """A color map for synthtiger: a line a picture, mean and deviation of the gray levels of its 2 or 3 clusters.

    Args:
        crops: data sets of word crops to cluster (k-means); none = random grays at least 50 apart.
        count: lines of each kind.
    """
    rng = np.random.default_rng(0)
    lines = []
    if crops:
        sets = [open_labeled(crop) for crop in crops]
        every = [(dataset, index) for dataset in sets for index in range(len(dataset))]
        for place in rng.permutation(len(every))[:count]:
            dataset, index = every[place]
            gray = np.asarray(dataset.image(index).convert("L"), np.float32).reshape(-1, 1)
            for k in (2, 3):
                if len(gray) > k:
                    lines.append(_clusters(gray, k))
    else:
        for k in (2, 3):
            drawn = rng.uniform(0, 255, (40 * count, k))
            apart = np.abs(np.diff(np.sort(drawn, 1), axis=1)).min(1) >= 50
            lines += [
                " ".join(f"{level:.2f} {rng.uniform(5, 30):.2f}" for level in row) for row in drawn[apart][:count]
            ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path.absolute()


def _clusters(gray: np.ndarray, k: int) -> str:
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 1.0)
    cv2.setRNGSeed(0)
    _, which, centers = cv2.kmeans(gray, k, np.empty(0), criteria, 1, cv2.KMEANS_PP_CENTERS)
    return " ".join(f"{centers[i, 0]:.2f} {gray[which == i].std() if (which == i).any() else 0:.2f}" for i in range(k))
