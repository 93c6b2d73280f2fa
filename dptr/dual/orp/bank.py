"""Offline Randomized Perturbation: image tokens of natural photographs, mixed into stage 1's text tokens.

A bank has all image tokens of some photographs, computed once by a dual encoder (``build_bank``). In training, tokens
of a randomly drawn bank image, scaled by lambda, are added to each sample's memory (``perturb``). Zhao et al., "Decoder
Pre-Training with only Text for Scene Text Recognition", ACM MM 2024, and its published code.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float16
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dptr.dual.base import DualEncoder
from dptr.utils.errors import UserError
from dptr.utils.files import read_json, remove_files, remove_folder, remove_partial, write_json
from dptr.utils.images import open_image
from dptr.utils.outputs import check_file, check_folder, writes_through
from dptr.utils.resize import crop_center, to_array
from dptr.utils.tensors import save_tensors
from dptr.version import __version__

FORMAT = "dptr-bank-1"

_PLAN = "plan.json"  # the manifest of an unfinished bank
_PART_FILES = (_PLAN, "whole", "[0-9]" * 9 + ".safetensors")


@dataclass(frozen=True)
class Bank:
    """Image tokens of natural photographs.

    Attributes:
        tokens: float16; ``load_bank`` memory-maps them read-only.
        provenance: ``encoder`` (kind and name), ``fingerprint``, ``images`` (file names, in the order of ``tokens``),
            ``pictures`` (``stretched`` or ``center crop``), ``dropped`` (pairs of file name and reason), ``date``,
            ``version`` (of DPTR).
    """

    tokens: Float16[Tensor, "n p d"]
    provenance: dict[str, Any]

    def to(self, device: torch.device | str) -> Bank:
        """Copy the tokens to a device."""
        return Bank(self.tokens.to(device), self.provenance)


def save_bank(bank: Bank, path: str | Path) -> None:
    """Write a bank atomically as safetensors, with its provenance as metadata.

    Raises:
        UserError: ``path`` is a file that DPTR did not write, the disk is full, or the folder cannot be written.
    """
    check_file(path)
    provenance = json.dumps(bank.provenance, ensure_ascii=False)
    save_tensors(path, {"tokens": bank.tokens}, {FORMAT: provenance})  # one entry, since several have no fixed order


def load_bank(path: str | Path, dual: DualEncoder | None = None) -> Bank:
    """Memory-map a bank; tokens are read from disk when used.

    Args:
        path: of a file that ``build_bank`` or ``save_bank`` wrote.
        dual: the dual encoder that must have made the bank; None = any.

    Raises:
        UserError: missing; damaged; not a bank; made by another encoder.
    """
    remedy = "make it with: dptr bank --images DIR"
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if FORMAT not in metadata or list(file.keys()) != ["tokens"]:
                raise UserError(f"bank {path}: not a bank of this version ({FORMAT}); {remedy}")
            tokens = file.get_tensor("tokens")
    except OSError as error:
        raise UserError(f"bank {path}: {error.strerror or error}; check the path, or {remedy}") from error
    except SafetensorError as error:
        raise UserError(f"bank {path}: not a whole safetensors file ({error}); {remedy}") from error
    if tokens.dtype != torch.float16 or tokens.ndim != 3 or 0 in tokens.shape:
        raise UserError(f"bank {path}: holds {tokens.dtype} {tuple(tokens.shape)}, not float16 (n, p, d); {remedy}")
    bank = Bank(tokens, json.loads(metadata[FORMAT]))
    made_by = bank.provenance["fingerprint"]
    if dual is not None and (_weights(made_by) != _weights(dual.fingerprint) or tokens.shape[2] != dual.dim):
        raise UserError(
            f"bank {path}: made by {bank.provenance['encoder']} ({made_by}, {tokens.shape[2]} wide), not by "
            f"{dual.kind}:{dual.name} ({dual.fingerprint}, {dual.dim} wide); make one for it: dptr bank --images DIR"
        )
    return bank


def _weights(fingerprint: str) -> str:
    """The part of ``DualEncoder.fingerprint`` that image tokens depend on."""
    return fingerprint.partition("-")[0]


def build_bank(
    dual: DualEncoder,
    images: Sequence[str | Path],
    out: str | Path,
    batch: int = 32,
    progress: Callable[[int], None] = lambda done: None,
    center_crop: bool = False,
) -> Bank:
    """Encode photographs, and write a bank of all their image tokens.

    Each photograph is resized to the encoder's ``image_size``. Unreadable ones are left out and listed in
    ``provenance["dropped"]``. Batches are saved in a folder beside ``out`` (``OUT.parts``) until all are done: after an
    interruption, the same call continues after the last complete batch, and writes the same bytes as without. With
    another encoder, batch size, or ``center_crop``, or changed files, it starts anew.

    Args:
        dual: any dual encoder.
        images: paths of photographs.
        out: the file to write.
        batch: number of images per batch.
        progress: called after each batch with the number of images done.
        center_crop: resize the short side and crop the middle (``crop_center``), as CLIP does; otherwise stretch.

    Returns:
        The bank, mapped from ``out``.

    Raises:
        UserError: no images, or none readable; tokens that are not finite in float16; ``out`` cannot be written; DPTR
            did not write an existing ``out`` or file in ``OUT.parts``.
    """
    if not images:
        raise UserError("bank: no images; pass a folder of photographs with --images DIR")
    check_file(out, images)
    if writes_through(out):  # a stream: it has no folder beside it, and cannot be mapped
        with tempfile.TemporaryDirectory() as scratch:
            bank = build_bank(dual, images, Path(scratch) / "bank", batch, progress, center_crop)
            save_bank(bank, out)
            return Bank(bank.tokens.clone(), bank.provenance)
    paths = [Path(image).absolute() for image in images]
    target = Path(os.path.realpath(out))  # a link stays
    parts = target.with_name(f"{target.name}.parts")
    date = _take_up(parts, _plan(dual, paths, batch, center_crop))
    files = []
    for start in range(0, len(paths), batch):
        files.append(parts / f"{start:09d}.safetensors")
        if not files[-1].exists():
            _embed(dual, paths[start : start + batch], files[-1], center_crop)
        progress(min(start + batch, len(paths)))
    tokens, unreadable = _collect(files)
    if not tokens:
        remove_folder(parts, _PART_FILES)
        raise UserError(f"bank: none of {len(paths)} images could be read; the first: {unreadable[str(paths[0])]}")
    common = os.path.commonpath([path.parent for path in paths])
    names = {str(path): path.relative_to(common).as_posix() for path in paths}
    provenance = {
        "encoder": f"{dual.kind}:{dual.name}",
        "fingerprint": dual.fingerprint,
        "images": [names[str(path)] for path in paths if str(path) not in unreadable],
        "pictures": "center crop" if center_crop else "stretched",
        "dropped": [[names[path], reason.replace(path, names[path])] for path, reason in unreadable.items()],
        "date": date,
        "version": __version__,
    }
    save_bank(
        Bank(torch.cat(tokens), provenance), parts / "whole"
    )  # in ``parts``, so that a kill leaves no file elsewhere
    check_file(out)
    os.replace(parts / "whole", target)
    remove_partial(parts)
    remove_files(parts, [*(file.name for file in files), _PLAN])
    return load_bank(out, dual)


def _plan(dual: DualEncoder, paths: Sequence[Path], batch: int, center_crop: bool) -> str:
    """A hash of everything that the tokens depend on, by which interrupted work can be resumed."""
    plan = hashlib.sha256(f"{FORMAT} {_weights(dual.fingerprint)} {dual.image_size} {batch} {center_crop}".encode())
    for path in paths:
        stat = path.stat() if path.exists() else None
        plan.update(f"\n{path} {stat and (stat.st_size, stat.st_mtime_ns)}".encode(errors="surrogateescape"))
    return plan.hexdigest()


def _take_up(parts: Path, plan: str) -> str:
    """Clear ``parts`` unless an interrupted run of the same plan left it; return the date on which the run started."""
    plan_file = parts / _PLAN
    if check_folder(parts, "unfinished bank", _PLAN, ("plan", "date")):
        left = read_json(plan_file, "unfinished bank")
        if left["plan"] == plan:
            return left["date"]
    remove_folder(parts, _PART_FILES)
    date = datetime.date.today().isoformat()
    write_json(plan_file, {"plan": plan, "date": date})
    return date


def _embed(dual: DualEncoder, paths: Sequence[Path], out: Path, center_crop: bool) -> None:
    """Write a batch: float16 tokens of its readable images, and, as metadata, path -> reason for the others."""
    arrays: list[np.ndarray] = []
    to_size = crop_center if center_crop else to_array
    unreadable: dict[str, str] = {}
    for path in paths:
        try:
            arrays.append(to_size(open_image(path), *dual.image_size))
        except UserError as error:
            unreadable[str(path)] = str(error)
    tokens = torch.zeros(0, 0, 0, dtype=torch.float16)
    if arrays:
        pixels = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 127.5 - 1
        tokens = dual.encode_image(pixels).half().cpu()
    if not bool(torch.isfinite(tokens).all()):
        raise UserError(f"{dual.name}: tokens beyond float16 in {paths[0]} to {paths[-1]}; leave those images out")
    save_tensors(out, {"tokens": tokens}, {"unreadable": json.dumps(unreadable)})


def _collect(files: Sequence[Path]) -> tuple[list[Float16[Tensor, "_ p d"]], dict[str, str]]:
    """Memory-mapped tokens of all non-empty batches, and path -> reason for all unreadable images."""
    tokens: list[Tensor] = []
    unreadable: dict[str, str] = {}
    for path in files:
        with safe_open(path, "pt") as file:
            unreadable |= json.loads(file.metadata()["unreadable"])
            part = file.get_tensor("tokens")
        if len(part):
            tokens.append(part)
    return tokens, unreadable
