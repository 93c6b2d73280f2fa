"""Text tokens on disk are the encoder's to float16, computed once a word, and of one encoder, prompt and setting."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers_clip import make_tiny, make_tiny_clip

from dptr.config.load import load_recipe
from dptr.config.model import DualConfig
from dptr.config.train import PretrainRecipe
from dptr.dual.base import DualEncoder, load_dual
from dptr.dual.text_cache import CachedText
from dptr.utils.errors import UserError

WORDS = ["apple", "I", "Ivory42", "a,b", 'say "no"', "apple", "naïve\n"]
Open = Callable[..., tuple[CachedText, list[str]]]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def opened(clip: Path, tmp_path: Path) -> Open:
    """A cache, and the list of all words that its encoder was asked for."""

    def open_cache(**settings: object) -> tuple[CachedText, list[str]]:
        config = DualConfig.of(**{"kind": "clip", "model": str(clip), "cache": str(tmp_path / "cache"), **settings})
        dual, asked = load_dual(config), []
        plain = dual.encode_text
        dual.encode_text = lambda words: (asked.extend(words), plain(words))[1]  # type: ignore[method-assign]
        return CachedText(dual, config), asked

    return open_cache


def assert_same(cached: CachedText, words: list[str], dual: DualEncoder) -> None:
    tokens, mask = cached.encode_text(words)
    expected, expected_mask = dual.encode_text(words)
    assert tokens.dtype == torch.float32 and torch.equal(mask, expected_mask)
    torch.testing.assert_close(tokens, expected, atol=1e-5, rtol=2**-11)


@pytest.mark.parametrize("tokens", ["trimmed", "paper"])
def test_tokens_are_the_encoders_to_float16_and_computed_once(tokens: str, opened: Open) -> None:
    cached, asked = opened(tokens=tokens)
    assert isinstance(cached, DualEncoder)
    for _ in range(2):
        assert_same(cached, WORDS, load_dual(cached.config))
    assert_same(cached, WORDS[::-1][:3], load_dual(cached.config))
    assert asked == list(dict.fromkeys(WORDS))
    first = cached.encode_text(WORDS)
    again, asked = opened(tokens=tokens)
    assert all(map(torch.equal, again.encode_text(WORDS), first)) and asked == []
    assert again.describe().startswith(f"text tokens: {len(WORDS) - 1} words in ")


@pytest.mark.parametrize("model_type", ["siglip", "chinese_clip", "altclip"])
def test_encoders_that_see_padding_or_mask_it(model_type: str, tmp_path: Path) -> None:
    kind = model_type.replace("_", "-")
    config = DualConfig.of(kind=kind, model=str(make_tiny(model_type, tmp_path / kind)), cache=str(tmp_path / "cache"))
    cached = CachedText(load_dual(config), config)
    for _ in range(2):
        assert_same(cached, ["ab", "photo", "c"], load_dual(config))


def test_a_limit_bounds_the_file_and_the_words_beyond_it_are_computed(opened: Open) -> None:
    rows = opened()[0].dual.encode_text(["apple"])[1].sum()  # type: ignore[union-attr]
    limit = float(rows) * 64 * 2
    cached, asked = opened(cache_gb=limit / 1e9 * 1.01)
    for _ in range(2):
        assert_same(cached, ["apple", "pears"], load_dual(cached.config))
    assert asked == ["apple", "pears", "pears"]
    assert (cached.folder / "tokens-0.f16").stat().st_size == limit


@pytest.mark.parametrize(
    ("name", "cut"), [("words-0.jsonl", 1), ("words-0.jsonl", 20), ("tokens-0.f16", 1), ("tokens-0.f16", 3000)]
)
def test_what_a_killed_process_leaves_is_used_up_to_its_last_whole_word(name: str, cut: int, opened: Open) -> None:
    whole = opened()[0]
    expected = whole.encode_text(WORDS)
    del whole
    file = Path(opened()[0].folder) / name
    with open(file, "r+b") as stream:
        stream.truncate(file.stat().st_size - cut)
    cached, asked = opened()
    torch.testing.assert_close(cached.encode_text(WORDS)[0], expected[0], atol=1e-3, rtol=1e-3)
    assert 0 < len(asked) < len(WORDS) - 1
    assert json.loads((cached.folder / "words-0.jsonl").read_text().splitlines()[-1])
    again, asked = opened()
    again.encode_text(WORDS)
    assert asked == []


def test_two_at_a_time_write_a_file_each_and_read_both(opened: Open) -> None:
    first, _ = opened()
    first.encode_text(["apple"])
    second, asked = opened()
    second.encode_text(["apple", "pear"])
    assert asked == ["pear"]
    assert {path.name for path in first.folder.glob("words-*")} == {"words-0.jsonl", "words-1.jsonl"}
    del first, second
    third, asked = opened()
    assert_same(third, ["pear", "apple"], load_dual(third.config))
    assert asked == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": "marked"}, "with prompt \"a photo of a '{}'\", not .*'marked'"),
        ({"tokens": "paper"}, "with tokens 'trimmed', not .*'paper'"),
        ({"model": "OTHER"}, "with fingerprint "),
    ],
)
def test_a_cache_of_another_encoder_is_refused(change: dict, message: str, opened: Open, tmp_path: Path) -> None:
    opened()
    if "model" in change:
        change = {"model": str(make_tiny_clip(tmp_path / "other", seed=1))}
    with pytest.raises(UserError, match=f"made by clip:.* {message}.*; pass another folder, or delete this one"):
        opened(**change)


def test_glyph_needs_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"dual\.cache: kind 'glyph' has no such key, which is one of clip"):
        load_recipe(PretrainRecipe, None, [f"dual.cache={tmp_path / 'cache'}"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told(opened: Open) -> None:
    cached, _ = opened()
    (cached.folder / "tokens-0.f16").unlink()
    (cached.folder / "tokens-0.f16").symlink_to("/dev/full")
    cached._tokens = open("/dev/full", "wb")  # noqa: SIM115
    with pytest.raises(
        UserError, match=r"dual\.cache = .*: No space left on device; free space or pass another folder"
    ):
        cached.encode_text(["apple"])


def test_a_system_without_locks_refuses(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(UserError, match=r"^dual\.cache = .*no locks.*leave dual\.cache empty$"):
        opened()


def test_a_killed_writer_lets_go(opened: Open) -> None:
    """The lock is the process's, whatever ends it."""
    folder = opened()[0].folder
    code = (
        "import fcntl, os, sys\nfile = open(sys.argv[1], 'a+b')\nfcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\nsys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(folder / "words-0.jsonl")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    assert opened()[0]._own.tokens.name == "tokens-1.f16"
    holder.kill()
    holder.wait()
    assert opened()[0]._own.tokens.name == "tokens-0.f16"


@pytest.mark.parametrize("name", ["thesis.txt", "words-0.jsonl", "tokens-0.f16", "cache.json"])
def test_a_folder_of_something_else_is_left_alone(name: str, opened: Open, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / name).write_text("mine")
    with pytest.raises(UserError, match=rf"not empty \({name}\) and no text token cache that dptr made"):
        opened()
    assert [(path.name, path.read_text()) for path in (tmp_path / "cache").iterdir()] == [(name, "mine")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("words-0.jsonl", "mine"),
        ("words-0.jsonl", "mine\n"),
        ("words-0.jsonl", "[1, 2, 3]\n"),
        ("tokens-1.f16", "mine"),
    ],
)
def test_a_file_in_the_way_stays(name: str, content: str, opened: Open) -> None:
    holder = opened()[0]  # keeps pair 0, so that the next takes pair 1
    (holder.folder / name).write_text(content)
    with pytest.raises(UserError, match=rf"dptr did not write {name}; move it away"):
        opened()
    assert (holder.folder / name).read_text() == content
