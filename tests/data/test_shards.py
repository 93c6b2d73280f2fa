"""Crops of shards are those of any other data set, each once an epoch over all processes, from wherever one begins."""

from __future__ import annotations

import pickle
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers_shards import WRITERS, png, write_labels_tsv, write_parquet, write_shards, write_tar

from dptr.config.size import CropSize
from dptr.data.crops import load_crops
from dptr.data.labeled import LabeledShards, open_labeled
from dptr.data.loader import batches
from dptr.data.shards import StreamedCrops, drops_of, held_out_crops, stream_crops
from dptr.data.size_batches import in_size_batches
from dptr.data.sources import LabeledSource, SizedSource, WeightedMixture
from dptr.shards import survey
from dptr.text.charset import resolve_charset
from dptr.training.sources import split
from dptr.utils.errors import UserError

CHARSET, SIZE = resolve_charset("36"), CropSize(height=16, width=32)
SEVERAL = CropSize(height=16, width=32, max_width=96)
COUNT = 300
LABELS = [f"w{number}" for number in range(COUNT)]
PICTURES = [png(number) for number in range(COUNT)]
LABELS[7], LABELS[9], LABELS[11] = "", "ß", "x" * 26
PICTURES[20], PICTURES[21] = b"nothing", PICTURES[21][:60]


@pytest.fixture(scope="module", params=WRITERS)
def shards(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_shards(tmp_path_factory.mktemp(request.param), request.param, LABELS, PICTURES))


def stream(
    path: str | Path, cache: str | Path = "", share: float = 0.1, size: CropSize = SIZE, window: int = 64, **more
):
    return stream_crops(
        str(path), CHARSET, 25, size, 3, more.pop("strength", 0.0), window, str(cache), share=share, **more
    )


@pytest.mark.parametrize("cached", [False, True])
def test_they_are_the_crops_of_a_folder(shards: str, cached: bool, tmp_path: Path) -> None:
    loaded = load_crops([write_labels_tsv(tmp_path / "folder", LABELS, PICTURES)], CHARSET, 25, SIZE)
    train, validation = split(loaded, 0.1)
    for _ in range(2 if cached else 1):
        source = stream(shards, tmp_path / "cache" if cached else "")
        drops = drops_of(source)
        assert drops.counts == loaded.drops.counts
        names = {
            reason: sorted(int(re.findall(r"\d+", key)[-1]) % 75 for key, _ in some)
            for reason, some in drops.examples.items()
        }
        assert names == {"empty label": [7], "outside charset": [9], "too long": [11], "unreadable image": [20, 21]}
        held, total = held_out_crops(source)
        assert total == len(held) == len(validation)
        assert {label: crop.tobytes() for label, crop in zip(held.labels, held.arrays, strict=True)} == {
            label: crop.tobytes() for label, crop in zip(validation.labels, validation.arrays, strict=True)
        }
        crops = dict(zip(train.labels, train.arrays, strict=True))
        assert len(source) == len(train)
        for epoch in range(2):
            drawn = [source.sample(epoch * len(source) + place) for place in range(len(source))]
            assert Counter(word for _, word, _ in drawn) == Counter(train.labels)
            assert all(np.array_equal(crop, crops[word]) for crop, word, _ in drawn)
            assert all(stops.shape == (len(word), 2) and np.isnan(stops).all() for _, word, stops in drawn)


def test_the_cache_is_of_this_state_of_the_files(tmp_path: Path) -> None:
    folder, cache = write_shards(tmp_path / "set", "parquet", LABELS, PICTURES), tmp_path / "cache"
    first = stream(folder, cache)
    files = sorted(path.name for path in cache.glob("shards-*"))
    assert len(files) == 3 and isinstance(first.surveyed.survey.codes.held, Path)
    stream(folder, cache, share=0.2)  # held out by hashes, which are there
    assert sorted(path.name for path in cache.glob("shards-*")) == files
    write_parquet(folder / "part-000.parquet", LABELS[:50], PICTURES[:50])
    assert len(stream(folder, cache)) < len(first)
    assert len(list(cache.glob("shards-*"))) == 6
    for file in cache.glob("*-codes.npy"):
        file.write_bytes(file.read_bytes()[:100])
    survey._map.cache_clear()
    with pytest.raises(UserError, match=r"codes.npy: not whole .*delete it"):
        stream(folder, cache)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_each_crop_comes_once_an_epoch_over_all_processes(shards: str, processes: int) -> None:
    source = stream(shards, strength=0.5)
    size, count = 6, len(source)
    steps = -(-2 * count // size)
    words = [
        [word for _, some, _ in batches(source, size, 0, steps, 0, rank, processes) for word in some]
        for rank in range(processes)
    ]
    share = [len(some) // steps for some in words]
    drawn = [
        word
        for step in range(steps)
        for rank, some in enumerate(words)
        for word in some[step * share[rank] : (step + 1) * share[rank]]
    ]
    for epoch in range(2):
        once = Counter(drawn[epoch * count : (epoch + 1) * count])
        assert set(once.values()) == {1} and len(once) == count


def test_a_run_goes_on_at_any_moment_with_any_number_of_processes(shards: str) -> None:
    source, size = stream(shards, strength=0.5), 6
    steps = 2 * len(source) // size
    whole = list(batches(source, size, 0, steps, 0))
    moments = random.Random(0)
    for _ in range(20):
        first = moments.randrange(steps)
        processes = moments.choice([1, 2, 3])
        last = min(first + 12, steps)
        ranks = [
            list(batches(stream(shards, strength=0.5), size, first, last, 0, rank, processes))
            for rank in range(processes)
        ]
        for step, parts in zip(range(first, last), zip(*ranks, strict=True), strict=True):
            assert [word for _, words, _ in parts for word in words] == whole[step][1]
            assert np.array_equal(np.concatenate([crops for crops, _, _ in parts]), whole[step][0])


def test_workers_and_pickles_give_the_same(shards: str, tmp_path: Path) -> None:
    source = stream(shards, tmp_path / "cache", strength=0.5)
    alone = list(batches(source, 6, 40, 60, 0))
    again = list(batches(pickle.loads(pickle.dumps(source)), 6, 40, 60, 0))
    by_workers = list(batches(source, 6, 40, 60, 2))
    for one, two, three in zip(alone, again, by_workers, strict=True):
        assert one[1] == two[1] == three[1]
        assert np.array_equal(one[0], two[0]) and np.array_equal(one[0], three[0])


def test_batches_of_one_size_hold_each_crop_once(shards: str) -> None:
    source = stream(shards, size=SEVERAL, window=128)
    assert isinstance(source, SizedSource)
    loaded = LabeledSource(load_crops([shards], CHARSET, 25, SEVERAL), 0, 0.0)
    assert stream(shards, size=SEVERAL, share=0.0).count_sizes() == loaded.count_sizes()
    mixed, messages = in_size_batches(source, 4)
    assert messages[0].startswith("batches of one size: 16x32 ")
    for size, count in source.count_sizes().items():
        part = source.keep_sizes([size], 1)
        drawn = [part.sample(index) for index in range(2 * count)]
        assert {crop.shape[:2] for crop, _, _ in drawn} == {size}
        assert set(Counter(word for _, word, _ in drawn).values()) == {2}
    seen: Counter[str] = Counter()
    for crops, words, _ in batches(mixed, 4, 0, len(source), 0):
        assert len({crop.shape for crop in crops}) == 1
        seen.update(words)
    assert len(seen) == len(source) and max(seen.values()) - min(seen.values()) <= 2


def test_weights_mix_streams_in_their_proportion(shards: str, tmp_path: Path) -> None:
    other = write_shards(tmp_path / "other", "parquet", [f"v{n}" for n in range(40)], PICTURES[100:140])
    parts = (stream(shards, share=0.0), stream(other, share=0.0))
    mixed = WeightedMixture(parts, (3, 1))
    words = [mixed.word(index) for index in range(160)]
    assert sum(word.startswith("v") for word in words) == 40 == len({word for word in words if word.startswith("v")})


def test_only_the_chunks_of_about_two_windows_are_in_memory(shards: str) -> None:
    source = stream(shards, share=0.0, window=40)
    for index in range(len(source)):
        source.sample(index)
        held = sum(map(len, source.chunks._cache.values()))
        assert held <= 2 * (40 + int(source.chunks.shards.chunks[:, 3].max()))


def test_more_held_out_crops_than_validate_are_still_not_trained_on(shards: str) -> None:
    source = stream(shards, share=0.5)
    some, total = held_out_crops(source, most=20)
    every, _ = held_out_crops(source)
    assert len(some) == 20 < total == len(every)
    assert set(some.labels) < set(every.labels)
    assert not {source.word(index) for index in range(len(source))} & set(every.labels)


def test_shards_are_a_data_set_by_number(shards: str) -> None:
    held = open_labeled(shards)
    assert isinstance(held, LabeledShards) and len(held) == COUNT
    assert [held.label(index) for index in range(COUNT)] == LABELS
    assert [held.image_bytes(index) for index in range(COUNT)] == PICTURES
    assert held.image_bytes(3) == PICTURES[3] and held.label(299) == LABELS[299]
    assert len({held.key(index) for index in range(COUNT)}) == COUNT
    assert held[200].label == "w200" and held[200].image.size == (10, 8)
    with pytest.raises(UserError, match="not a picture"):
        held.image(20)


def test_a_file_alone_and_a_root_with_shards_are_opened_too(tmp_path: Path) -> None:
    write_parquet(tmp_path / "root/a/1.parquet", LABELS[30:40], PICTURES[30:40])
    write_labels_tsv(tmp_path / "root/b", LABELS[40:50], PICTURES[40:50])
    assert len(open_labeled(tmp_path / "root/a/1.parquet")) == 10
    assert [len(part) for part in open_labeled(tmp_path / "root").parts] == [10, 10]  # type: ignore[attr-defined]
    (tmp_path / "root/b/backup.tar").write_bytes(b"")
    assert len(open_labeled(tmp_path / "root/b")) == 10, "an archive beside labels.tsv is no data"


def test_columns_of_hugging_face_and_dictionaries_are_read(tmp_path: Path) -> None:
    images = pa.array([{"bytes": each, "path": "x.png"} for each in PICTURES[30:60]])
    labels = pa.array(LABELS[30:60]).dictionary_encode()
    pq.write_table(pa.table({"id": pa.array(["a"] * 30), "text": labels, "image": images}), tmp_path / "a.parquet")
    held = open_labeled(tmp_path)
    assert [held.label(index) for index in range(30)] == LABELS[30:60]
    assert [held.image_bytes(index) for index in range(30)] == PICTURES[30:60]


def test_rows_without_a_picture_or_a_label_are_counted(tmp_path: Path) -> None:
    for kind in WRITERS:
        folder = write_shards(tmp_path / kind, kind, ["a", None, "c", "d"], [png(1), png(2), None, png(4)], files=1)
        source = stream(folder, share=0.0)
        assert drops_of(source).counts == {"empty label": 1, "unreadable image": 1}
        assert sorted(source.word(index) for index in range(2)) == ["a", "d"]


def broken(tmp_path: Path, kind: str) -> tuple[Path, Path]:
    folder = write_shards(tmp_path / kind, kind, LABELS, PICTURES)
    return folder, sorted(folder.iterdir())[1]


def truncated_parquet(tmp_path: Path) -> Path:
    folder, file = broken(tmp_path, "parquet")
    file.write_bytes(file.read_bytes()[:-50])
    return folder


def damaged_parquet(tmp_path: Path) -> Path:
    folder, file = broken(tmp_path, "parquet")
    data = bytearray(file.read_bytes())
    data[4:900] = b"\xff" * 896
    file.write_bytes(data)
    return folder


def truncated_tar(tmp_path: Path) -> Path:
    folder, file = broken(tmp_path, "tar")
    file.write_bytes(file.read_bytes()[:40_960])
    return folder


def damaged_tar(tmp_path: Path) -> Path:
    folder, file = broken(tmp_path, "tar")
    data = bytearray(file.read_bytes())
    data[10_240:10_752] = b"\x07" * 512
    file.write_bytes(data)
    return folder


def no_label(tmp_path: Path) -> Path:
    pq.write_table(
        pa.table({"image": pa.array(PICTURES[:5], pa.binary()), "number": [*range(5)]}), tmp_path / "a.parquet"
    )
    return tmp_path


def two_labels(tmp_path: Path) -> Path:
    pq.write_table(
        pa.table({"image": pa.array(PICTURES[:2], pa.binary()), "x": ["a", "b"], "y": ["a", "b"]}),
        tmp_path / "a.parquet",
    )
    return tmp_path


def no_pictures(tmp_path: Path) -> Path:
    return write_shards(tmp_path / "words", "parquet", LABELS)


def no_labels_in_tar(tmp_path: Path) -> Path:
    return write_shards(tmp_path / "tar", "tar", [None] * 4, PICTURES[:4])


def mixed_schemas(tmp_path: Path) -> Path:
    folder, file = broken(tmp_path, "parquet")
    pq.write_table(pa.table({"text": LABELS[:5], "image": pa.array(PICTURES[:5], pa.binary())}), file)
    return folder


def mixed_kinds(tmp_path: Path) -> Path:
    folder, _ = broken(tmp_path, "parquet")
    write_tar(folder / "b.tar", LABELS[:4], PICTURES[:4])
    return folder


def compressed(tmp_path: Path) -> str:
    (tmp_path / "a.tar.gz").write_bytes(b"")
    return f"file://{tmp_path}"


def huge_group(tmp_path: Path) -> Path:
    return write_shards(tmp_path / "set", "parquet", LABELS, PICTURES)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (truncated_parquet, r"part-001.parquet: no whole Parquet file .*copy it again"),
        (damaged_parquet, r"part-001.parquet: row group 0 is damaged .*copy it again"),
        (truncated_tar, r"part-001.tar: damaged after \d+ samples .*copy it again"),
        (damaged_tar, r"part-001.tar: damaged after \d+ samples .*copy it again"),
        (
            no_label,
            r"a.parquet: no column of text, but image, number; call the column to use label or text or word",
        ),
        (two_labels, r"a.parquet: columns x, y hold text; call the column"),
        (no_pictures, r"no pictures in these shards"),
        (no_labels_in_tar, r"part-000.tar: no label in it; put NAME.txt beside"),
        (
            mixed_schemas,
            r"part-001.parquet holds labels in 'text'.* but part-000.parquet labels in 'label'.*two folders",
        ),
        (mixed_kinds, r"holds Parquet files and archives; put them in two folders"),
        (compressed, r"no shards there .*a.tar.gz is compressed as a whole: unpack it"),
        (
            lambda path: f"http://127.0.0.1:9/{path.name}/",
            r"http://127.0.0.1:9/.*; (check the address|.* install what it needs)",
        ),
        (lambda path: "s9://bucket/set", r"s9://bucket/set: .*; pass another address"),
        (lambda path: f"{path}/absent.parquet", r"no such folder"),
    ],
)
def test_what_cannot_be_read_is_one_line(make, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dptr.utils.places.WAITS", (0.0,))
    with pytest.raises(UserError, match=said) as caught:
        path = make(tmp_path)
        stream(path) if not str(path).endswith("absent.parquet") else open_labeled(path)
    assert "\n" not in str(caught.value)


def test_a_row_group_that_no_memory_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dptr.shards.parquet.LARGEST_GROUP", 1000)
    with pytest.raises(UserError, match=r"row group 0 holds .* MiB, and is read at once; write it with smaller ones"):
        stream(write_shards(tmp_path / "set", "parquet", LABELS, PICTURES))


def test_a_file_that_changes_meanwhile_ends_the_run(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "set", "tar", LABELS, PICTURES, files=1)
    source = stream(folder, share=0.0)
    write_shards(folder, "tar", LABELS[:100], PICTURES[:100], files=1)
    with pytest.raises(UserError, match=r"part-000.tar: (damaged from byte|has changed)"):
        source.sample(0)


def test_a_set_without_a_crop_left_says_why(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "set", "parquet", ["ß"] * 8, PICTURES[:8])
    with pytest.raises(UserError, match=r"no crop left \(8 outside charset\)"):
        stream(folder)
    assert isinstance(stream(write_shards(tmp_path / "two", "parquet", LABELS, PICTURES)), StreamedCrops)
