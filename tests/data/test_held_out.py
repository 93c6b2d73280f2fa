"""Which crops validate: a picture's own bytes decide, whatever set it lies in and whatever lies beside it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dptr.config.size import CropSize
from dptr.data.crops import load_crops
from dptr.data.held_out import hash_picture, is_held_out
from dptr.data.lmdb import write_lmdb
from dptr.text.charset import resolve_charset
from dptr.training.sources import split
from dptr.utils.errors import UserError

CHARSET = resolve_charset("36")
SMALL = CropSize(height=8, width=16)


def write_folder(folder: Path, names: list[int], label: str = "w") -> Path:
    """Pictures that differ by their number alone."""
    folder.mkdir()
    for name in names:
        rng = np.random.default_rng(name)
        Image.fromarray(rng.integers(0, 256, (8, 16, 3), np.uint8)).save(folder / f"{name}.png")
    (folder / "labels.tsv").write_text("".join(f"{name}.png\t{label}{name}\n" for name in names))
    return folder


def test_the_rule_is_the_one_that_cards_tell() -> None:
    for data in (b"", b"a picture", bytes(range(256))):
        expected = int(hashlib.sha256(data).hexdigest()[:8], 16)
        assert hash_picture(data) == expected
        share = expected / 2**32
        hashes = np.array([expected], np.uint32)
        assert not is_held_out(hashes, share)[0] and is_held_out(hashes, share + 2**-32)[0]


@pytest.mark.parametrize("kind", ["folder", "lmdb", "cache", "several sizes"])
def test_a_picture_keeps_its_side_in_any_set_of_any_kind(tmp_path: Path, kind: str) -> None:
    def sides(names: list[int], label: str) -> dict[str, bool]:
        folder = write_folder(tmp_path / f"{label}{len(names)}", names, label)
        if kind == "lmdb":
            rows = [((folder / f"{name}.png").read_bytes(), f"{label}{name}") for name in names]
            write_lmdb(folder / "lmdb", iter(rows))
            folder = folder / "lmdb"
        cache = tmp_path / "cache" if kind == "cache" else ""
        size = SMALL.model_copy(update={"max_width": 48} if kind == "several sizes" else {})
        crops = load_crops([folder], CHARSET, 25, size, cache)
        assert crops.hashes.dtype == np.uint32 and crops.hashes.nbytes == 4 * len(names)
        train, held = split(crops, 0.3)
        assert sorted(train.labels + held.labels) == sorted(crops.labels)
        assert len(train.hashes) == len(train) and not is_held_out(train.hashes, 0.3).any()
        return {label: label in held.labels for label in crops.labels}

    some = sides(list(range(40)), "w")
    more = sides([99, *reversed(range(40)), 100], "v")
    assert 4 < sum(some.values()) < 20
    assert all(more[label.replace("w", "v")] == side for label, side in some.items())


def test_an_unreadable_picture_shifts_no_hash(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", list(range(12)))
    whole = load_crops([folder], CHARSET, 25, SMALL)
    before = dict(zip(whole.keys, whole.hashes.tolist(), strict=True))
    del before["3.png"]
    (folder / "3.png").write_bytes(b"torn")
    for cache in ("", tmp_path / "cache", tmp_path / "cache"):
        crops = load_crops([folder], CHARSET, 25, SMALL, cache)
        assert dict(zip(crops.keys, crops.hashes.tolist(), strict=True)) == before


def test_a_permutation_chooses_others_when_a_crop_is_added(tmp_path: Path) -> None:
    """What runs that began before did, and go on with: kept, and told apart."""
    few, many = (
        load_crops([write_folder(tmp_path / str(count), list(range(count)))], CHARSET, 25, SMALL) for count in (40, 60)
    )
    held = [set(split(crops, 0.3, "order")[1].labels) for crops in (few, many)]
    assert len(held[0]) == 12 and held[1] & set(few.labels) - held[0], "none that was trained on before"
    order = np.random.Generator(np.random.Philox(key=[0, 0])).permutation(40)
    assert held[0] == {few.labels[row] for row in order[:12]}
    with pytest.raises(UserError, match=r"^data\.validation_share = 0\.01 of 40 crops leaves none"):
        split(few, 0.01, "order")
