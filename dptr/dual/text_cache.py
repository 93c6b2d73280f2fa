"""A cache of text tokens on disk, so that the frozen text tower runs once per word, not once per step.

A folder has ``cache.json``, with the encoder and its settings, and a pair of append-only files for each concurrent
writer: tokens in float16, and a line of JSON for each word with its number of tokens. A line is written after its
tokens, so that the files of a killed process are valid up to the last line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dptr.config.model import ClipDualConfig, DualConfig
from dptr.dual.base import DualEncoder
from dptr.utils.errors import UserError
from dptr.utils.files import read_json, write_json
from dptr.utils.outputs import check_folder

FORMAT = 1
_MANIFEST = "cache.json"


@dataclass
class _Pair:
    """A pair of files of one writer."""

    tokens: Path
    width: int
    rows: int = 0
    _map: np.ndarray | None = None

    def read(self, first: int, count: int) -> Float[np.ndarray, "l d"]:
        if self._map is None or len(self._map) < first + count:  # it has grown
            self._map = np.asarray(np.memmap(self.tokens, np.float16, "r", shape=(self.rows, self.width)))
        return self._map[first : first + count]


@dataclass
class CachedText:
    """A dual encoder that caches the text tokens of ``dual``; use it like a dual encoder.

    All tokens are rounded to float16, cached or not, so that results do not depend on the content of the cache.

    Args:
        dual: the encoder; not glyph, whose text tokens cost nothing.
        config: with the folder, the prompt, and the limit on the cache's size.

    Raises:
        UserError: the cache is of another encoder, prompt, or ``tokens`` setting; the folder has other files, or cannot
            be written.
    """

    dual: DualEncoder
    config: ClipDualConfig
    _places: dict[str, tuple[_Pair, int, int]] = field(default_factory=dict)  # word -> pair, first row, rows

    def __post_init__(self) -> None:
        self._device = torch.device("cpu")
        self.folder, self.limit = Path(self.config.cache).expanduser(), self.config.cache_gb * 1e9
        self.kind, self.name, self.dim = self.dual.kind, self.dual.name, self.dual.dim
        self.fingerprint, self.image_size = self.dual.fingerprint, self.dual.image_size
        self.encode_image = self.dual.encode_image
        settings = {"format": FORMAT, "encoder": f"{self.kind}:{self.name}", "fingerprint": self.fingerprint}
        settings |= {"prompt": self.config.prompt, "width": self.dim, "tokens": self.config.tokens}
        described = self.folder / _MANIFEST
        with _explained(self.folder):
            if not check_folder(self.folder, "text token cache", _MANIFEST, ("format", "encoder", "fingerprint")):
                self.folder.mkdir(parents=True, exist_ok=True)
                write_json(described, settings)
        before = read_json(described, "text token cache")
        for key in ("format", "tokens", "prompt", "fingerprint"):
            if before.get(key) != settings[key]:
                raise UserError(
                    f"dual.cache = '{self.folder}': made by {before.get('encoder')} with {key} {before.get(key)!r}, "
                    f"not {self.kind}:{self.name} with {settings[key]!r}; pass another folder, or delete this one"
                )
        self._own, self._tokens, self._words = self._open()

    def to(self, device: torch.device | str) -> CachedText:
        """Move the weights; results will be on this device."""
        self.dual.to(device)
        self._device = torch.device(device)
        return self

    def describe(self) -> str:
        """A line for the log: the number of cached words, and the limit on the cache's size."""
        size = sum(rows for _, _, rows in self._places.values()) * self.dim * 2
        return (
            f"text tokens: {len(self._places):,} words in {self.folder}, {size / 1e9:.2f} GB; this process adds up to "
            f"{self.limit / 1e9:g} GB and computes words beyond that each time (dual.cache_gb)"
        )

    def encode_text(self, words: list[str]) -> tuple[Float[Tensor, "b l d"], Bool[Tensor, "b l"]]:
        """See ``DualEncoder.encode_text``; tokens are rounded to float16."""
        new = [word for word in dict.fromkeys(words) if word not in self._places]
        fresh: dict[str, np.ndarray] = {}
        if new:
            memory, mask = self.dual.encode_text(new)
            for word, tokens, real in zip(new, memory.half().cpu().numpy(), mask.sum(1).tolist(), strict=True):
                fresh[word] = tokens[:real]
            if not all(np.isfinite(tokens).all() for tokens in fresh.values()):
                raise UserError(f"dual.cache: tokens of {self.name} beyond float16; leave dual.cache out")
            self._add(fresh)
        found = [fresh[word] if word in fresh else self._read(word) for word in words]
        lengths = torch.tensor([len(tokens) for tokens in found])
        tokens = np.zeros((len(found), int(lengths.max()), self.dim), np.float16)
        for row, some in zip(tokens, found, strict=True):
            row[: len(some)] = some
        mask = torch.arange(tokens.shape[1]) < lengths[:, None]
        return torch.from_numpy(tokens).to(self._device).float(), mask.to(self._device)

    def _read(self, word: str) -> np.ndarray:
        pair, first, rows = self._places[word]
        return pair.read(first, rows)

    def _add(self, fresh: dict[str, np.ndarray]) -> None:
        with _explained(self.folder):
            lines = []
            for word, tokens in fresh.items():
                if (self._own.rows + len(tokens)) * self.dim * 2 > self.limit:
                    break
                self._tokens.write(tokens.tobytes())
                self._places[word] = self._own, self._own.rows, len(tokens)
                self._own.rows += len(tokens)
                lines.append(json.dumps([word, len(tokens)]) + "\n")
            if lines:
                self._tokens.flush()
                os.fsync(self._tokens.fileno())
                self._words.write("".join(lines).encode())
                self._words.flush()

    def _open(self) -> tuple[_Pair, BinaryIO, BinaryIO]:
        """Read all pairs; the first that nobody writes to is this process's own, cut after its last whole word."""
        try:
            import fcntl
        except ImportError as error:  # Windows
            raise UserError(
                f"dual.cache = '{self.folder}': this system has no locks for it; leave dual.cache empty"
            ) from error
        own: tuple[_Pair, BinaryIO, BinaryIO] | None = None
        number = 0
        with _explained(self.folder):
            while own is None or (self.folder / f"words-{number}.jsonl").exists():
                named, tokens = self.folder / f"words-{number}.jsonl", self.folder / f"tokens-{number}.f16"
                if tokens.exists() and not named.exists():
                    raise self._foreign(tokens)
                words = open(named, "a+b")  # noqa: SIM115
                tokens.touch()
                free = own is None
                if free:
                    try:
                        fcntl.flock(words, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go when the file is closed
                    except BlockingIOError:
                        free = False
                pair, whole = self._index(words, tokens)
                if free:
                    words.truncate(whole)
                    own = pair, open(tokens, "r+b"), words  # noqa: SIM115
                    own[1].truncate(pair.rows * self.dim * 2)
                    own[1].seek(0, os.SEEK_END)
                else:
                    words.close()
                number += 1
        return own

    def _foreign(self, file: Path) -> UserError:
        return UserError(f"dual.cache = '{self.folder}': dptr did not write {file.name}; move it away")

    def _index(self, words: BinaryIO, tokens: Path) -> tuple[_Pair, int]:
        """The words whose tokens are there, and how many bytes of lines they are."""
        pair, whole, there = _Pair(tokens, self.dim), 0, tokens.stat().st_size // (self.dim * 2)
        words.seek(0)
        for line in words:
            if not line.endswith(b"\n"):
                if not line.startswith(b'["'[: len(line)]):
                    raise self._foreign(Path(words.name))
                break
            try:
                word, rows = json.loads(line)
            except (ValueError, TypeError) as error:
                raise self._foreign(Path(words.name)) from error
            if pair.rows + rows > there:
                break
            self._places[word] = pair, pair.rows, rows
            pair.rows += rows
            whole += len(line)
        return pair, whole


def cache_of(dual: DualEncoder, config: DualConfig) -> CachedText | None:
    """The cache that a recipe names; None where it names none.

    Raises:
        UserError: see ``CachedText``.
    """
    return CachedText(dual, config) if isinstance(config, ClipDualConfig) and config.cache else None


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """What the system says of a folder, in one line."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"dual.cache = '{folder}': {error.strerror}; free space or pass another folder, or leave it out"
        ) from error
