"""The bank and its sampling: planted tokens that say where they come from, counted."""

import json
import multiprocessing
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from dptr.dual.orp.bank import Bank, build_bank, load_bank, save_bank
from dptr.dual.orp.perturb import POSITIONS, perturb
from dptr.utils.errors import UserError

DRAWN = [name for name in POSITIONS if name != "aligned"]

PROVENANCE = {"encoder": "fake:planted", "fingerprint": "aa-1", "images": [], "dropped": [], "date": "", "version": ""}


def planted(images: int, tokens: int) -> Bank:
    """Token (i, p) is the vector (i, p): exact in float16 up to 2048."""
    grid = torch.stack(torch.meshgrid(torch.arange(images), torch.arange(tokens), indexing="ij"), -1)
    return Bank(grid.half(), PROVENANCE)


def draw(bank: Bank, batch: int, length: int, generator, positions, mask=None, **options):
    """The (image, position) of every perturbed token."""
    memory = torch.zeros(batch, length, 2)
    mask = torch.ones(batch, length, dtype=torch.bool) if mask is None else mask
    noise = perturb(memory, mask, bank, 1.0, generator, positions, **options)
    return noise[..., 0].long(), noise[..., 1].long()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assert_uniform(counts: torch.Tensor):
    """Pearson's chi-square, six standard deviations above its mean: a fair draw fails once in 10^7 or so."""
    expected = counts.sum() / counts.numel()
    assert expected >= 5
    freedom = counts.numel() - 1
    assert float(((counts - expected) ** 2 / expected).sum()) < freedom + 6 * (2 * freedom) ** 0.5


# --- sampling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("positions", POSITIONS)
def test_without_replacement_no_two_samples_draw_the_same_image(positions):
    """Each image as often as another, by sample; and a batch over two processes draws as one."""
    bank, counts, source = planted(6, 5), torch.zeros(4, 6), generator()
    for _ in range(400):
        images, _ = draw(bank, 4, 3, source, positions, replacement=False)
        assert (images == images[:, :1]).all() and len(set(images[:, 0].tolist())) == 4
        counts[torch.arange(4), images[:, 0]] += 1
    for sample in counts:
        assert_uniform(sample)
    whole, _ = draw(bank, 6, 3, generator(1), positions, replacement=False)
    parts = [
        draw(bank, 3, 3, generator(1), positions, replacement=False, samples=6, own=slice(rank, None, 2))[0]
        for rank in range(2)
    ]
    assert torch.equal(torch.stack(parts, 1).flatten(0, 1), whole)
    with pytest.raises(ValueError, match="7 samples cannot draw different images of a bank of 6"):
        draw(bank, 7, 3, generator(), positions, replacement=False)


@pytest.mark.parametrize("positions", DRAWN)
def test_each_sample_gets_distinct_tokens_of_exactly_one_image(positions):
    image, position = draw(planted(50, 197), 64, 78, generator(), positions)
    assert (image == image[:, :1]).all()
    assert all(len(set(row.tolist())) == 78 for row in position)
    assert position.max() > 150  # not only the first 78
    assert len(set(image[:, 0].tolist())) > 25  # of 50 images, 64 draws hit 36 on average


@pytest.mark.parametrize("positions", DRAWN)
def test_images_and_positions_are_uniform(positions):
    images, tokens, length = 7, 12, 5
    generator_ = generator(1)
    drawn = [draw(planted(images, tokens), 32, length, generator_, positions) for _ in range(800)]
    image = torch.cat([image[:, 0] for image, _ in drawn])
    assert_uniform(torch.bincount(image, minlength=images))
    pairs = torch.cat([image[:-1, 0] * images + image[1:, 0] for image, _ in drawn])  # neighbors are independent
    assert_uniform(torch.bincount(pairs, minlength=images**2))
    if positions == "shared":
        position = torch.stack([position[0] for _, position in drawn])  # one draw a batch
    else:
        position = torch.cat([position for _, position in drawn])
    for slot in range(length):
        assert_uniform(torch.bincount(position[:, slot], minlength=tokens))
    first_two = torch.bincount(position[:, 0] * tokens + position[:, 1], minlength=tokens**2).view(tokens, tokens)
    assert not first_two.diagonal().any()
    assert_uniform(first_two[~torch.eye(tokens, dtype=torch.bool)])


@pytest.mark.parametrize("length", [3, 4, 11])
def test_aligned_positions_are_their_own(length):
    image, position = draw(planted(9, 4), 200, length, generator(), "aligned")
    assert (position == torch.arange(length) % 4).all()
    assert (image == image[:, :1]).all()
    assert_uniform(torch.bincount(image[:, 0], minlength=9))


def test_shared_positions_are_one_draw_a_batch():
    generator_ = generator()
    _, first = draw(planted(9, 40), 16, 20, generator_, "shared")
    _, second = draw(planted(9, 40), 16, 20, generator_, "shared")
    assert (first == first[:1]).all() and (second == second[:1]).all()
    assert not torch.equal(first[0], second[0])


def test_per_sample_positions_are_independent():
    _, position = draw(planted(9, 10), 20_000, 1, generator(), "per-sample")
    pairs = torch.bincount(position[:-1, 0] * 10 + position[1:, 0], minlength=100)
    assert_uniform(pairs)


@pytest.mark.parametrize("positions", DRAWN)
@pytest.mark.parametrize("length", [4, 11])
def test_a_bank_with_fewer_tokens_than_the_memory_goes_round_without_replacement(positions, length):
    _, position = draw(planted(3, 4), 200, length, generator(), positions)
    for start in range(0, length, 4):
        block = position[:, start : start + 4].tolist()
        assert all(len(set(row)) == len(row) for row in block)
    if length > 4:
        assert not torch.equal(position[:, :4], position[:, 4:8])


def test_a_bank_smaller_than_the_batch():
    image, _ = draw(planted(1, 30), 64, 8, generator(), "per-sample")
    assert not image.any()
    image, _ = draw(planted(2, 30), 64, 8, generator(), "shared")
    assert set(image.flatten().tolist()) == {0, 1}


def test_lambda_scales_exactly():
    bank = Bank(torch.randn(20, 50, 16, generator=generator(2)).half(), PROVENANCE)
    memory = torch.randn(6, 30, 16, generator=generator(3))
    mask = torch.ones(6, 30, dtype=torch.bool)
    whole = perturb(torch.zeros_like(memory), mask, bank, 1.0, generator(4))
    rows = bank.tokens.float().flatten(0, 1)
    assert all((rows == token).all(1).any() for token in whole.flatten(0, 1))  # tokens of the bank, unchanged
    assert torch.equal(perturb(memory, mask, bank, 0.1, generator(4)), memory + 0.1 * whole)
    assert torch.equal(perturb(memory, mask, bank, 2.0, generator(4)), memory + 2 * whole)
    assert perturb(memory, mask, bank, 0.0, generator(4)) is memory


@pytest.mark.parametrize("positions", POSITIONS)
def test_padding_stays_untouched(positions):
    bank = Bank(torch.full((5, 9, 4), torch.inf).half(), PROVENANCE)
    memory = torch.randn(8, 6, 4, generator=generator())
    mask = torch.arange(6) < torch.arange(1, 9).clamp(max=6)[:, None]
    perturbed = perturb(memory, mask, bank, 0.1, generator(), positions)
    assert torch.equal(perturbed[~mask], memory[~mask])
    assert torch.isinf(perturbed[mask]).all()


def test_the_generator_alone_decides_and_memory_is_left_alone():
    bank, memory, mask = planted(30, 40), torch.zeros(5, 7, 2), torch.ones(5, 7, dtype=torch.bool)
    state = torch.get_rng_state()
    first, again = (perturb(memory, mask, bank, 0.1, generator(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, perturb(memory, mask, bank, 0.1, generator(6)))
    assert torch.equal(torch.get_rng_state(), state)
    assert not memory.any()


def test_gradients_and_types_pass_through():
    bank, mask = planted(3, 4), torch.ones(2, 3, dtype=torch.bool)
    memory = torch.zeros(2, 3, 2, requires_grad=True)
    perturb(memory, mask, bank, 0.1, generator()).sum().backward()
    assert torch.equal(memory.grad, torch.ones(2, 3, 2))
    assert perturb(torch.zeros(2, 3, 2).bfloat16(), mask, bank, 0.1, generator()).dtype == torch.bfloat16


def test_unknown_positions():
    with pytest.raises((KeyError, TypeError)):  # TypeError where jaxtyping checks annotations
        perturb(torch.zeros(1, 1, 2), torch.ones(1, 1).bool(), planted(1, 1), 0.1, generator(), "Shared")


# --- the file ---------------------------------------------------------------------------------------------------------


@dataclass
class FakeDual:
    """Tokens that are a fixed function of the pixels: 3 columns, each the mean color of a third of the picture."""

    name: str = "thirds"
    kind: str = "fake"
    dim: int = 3
    fingerprint: str = "aa-1"
    image_size: tuple[int, int] = (8, 12)
    scale: float = 1.0
    seen: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def to(self, device):
        return self

    def encode_text(self, words):
        raise NotImplementedError

    def encode_image(self, pixels):
        assert pixels.shape[1:] == (3, 8, 12) and pixels.dtype == torch.float32
        assert pixels.min() >= -1 and pixels.max() <= 1
        self.seen.append(len(pixels))
        time.sleep(self.seconds)
        return pixels.unflatten(3, (3, 4)).mean((2, 4)).transpose(1, 2) * self.scale


@pytest.fixture
def photographs(tmp_path) -> list[Path]:
    """Ten one-color pictures and, between them, three that cannot be read."""
    folder = tmp_path / "photographs"
    (folder / "deep").mkdir(parents=True)
    paths = []
    for i in range(10):
        paths.append(folder / ("deep" if i % 3 == 0 else "") / f"{i}.png")
        Image.new("RGB", (30 + i, 20), (20 * i, 255 - 20 * i, 7)).save(paths[-1])
    for i, content in [(1, b""), (5, b"text"), (9, None)]:
        path = folder / f"bad{i}.png"
        if content is not None:
            path.write_bytes(content)
        paths.insert(i, path)
    return paths


def test_a_bank_holds_what_the_encoder_says(photographs, tmp_path):
    done = []
    bank = build_bank(FakeDual(), photographs, tmp_path / "out" / "bank.safetensors", batch=4, progress=done.append)
    assert bank.tokens.shape == (10, 3, 3) and bank.tokens.dtype == torch.float16
    for i, token in enumerate(bank.tokens):
        color = torch.tensor([20 * i, 255 - 20 * i, 7]) / 127.5 - 1
        torch.testing.assert_close(token.float(), color.expand(3, 3), rtol=0, atol=1e-3)
    assert done == [4, 8, 12, 13]
    provenance = bank.provenance
    assert provenance["encoder"] == "fake:thirds" and provenance["fingerprint"] == "aa-1"
    assert provenance["images"] == [f"deep/{i}.png" if i % 3 == 0 else f"{i}.png" for i in range(10)]
    assert [name for name, _ in provenance["dropped"]] == ["bad1.png", "bad5.png", "bad9.png"]
    assert all(reason.startswith(name) for name, reason in provenance["dropped"])
    assert str(tmp_path) not in json.dumps(provenance)
    assert len(provenance["date"]) == 10 and provenance["version"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["bank.safetensors"]


def test_a_batch_without_a_readable_image(photographs, tmp_path):
    bad = [path for path in photographs if path.name.startswith("bad")]
    bank = build_bank(FakeDual(), [*bad, photographs[0]], tmp_path / "bank", batch=3)
    assert len(bank.tokens) == 1 and len(bank.provenance["dropped"]) == 3


def test_saved_is_loaded_and_memory_mapped(tmp_path):
    bank = Bank(torch.randn(40, 50, 64, generator=generator()).half(), PROVENANCE)
    save_bank(bank, tmp_path / "bank.safetensors")
    loaded = load_bank(tmp_path / "bank.safetensors", FakeDual(dim=64))
    assert torch.equal(loaded.tokens, bank.tokens) and loaded.provenance == PROVENANCE
    memory = torch.zeros(4, 9, 64)
    mask = torch.ones(4, 9, dtype=torch.bool)
    noisy = perturb(memory, mask, loaded, 0.1, generator(1))
    assert torch.equal(noisy, perturb(memory, mask, bank.to("cpu"), 0.1, generator(1)))
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(tmp_path / "bank.safetensors") in maps.read_text()


def test_a_bank_serves_the_same_weights_whatever_the_prompt(tmp_path):
    save_bank(Bank(torch.ones(1, 2, 3).half(), PROVENANCE), tmp_path / "bank")
    assert load_bank(tmp_path / "bank", FakeDual(fingerprint="aa-2")).provenance["fingerprint"] == "aa-1"
    assert load_bank(tmp_path / "bank").tokens.shape == (1, 2, 3)


@pytest.mark.parametrize("other", [FakeDual(fingerprint="ab-1", name="other"), FakeDual(dim=4)])
def test_a_bank_of_another_encoder_is_refused(tmp_path, other):
    save_bank(Bank(torch.ones(1, 2, 3).half(), PROVENANCE), tmp_path / "bank")
    with pytest.raises(UserError, match=r"made by fake:planted \(aa-1, 3 wide\), not by fake:.*dptr bank") as caught:
        load_bank(tmp_path / "bank", other)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_bank(tmp_path):
    save_bank(planted(5, 5), tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-7])
    (tmp_path / "zero").write_bytes(b"")
    (tmp_path / "text").write_bytes(b"no tensors at all")
    save_file({"tokens": torch.ones(1, 1, 1)}, tmp_path / "foreign")
    save_file({"tokens": torch.ones(2, 2, 2)}, tmp_path / "single", {"dptr-bank-1": "{}"})
    save_bank(Bank(torch.zeros(0, 2, 3).half(), PROVENANCE), tmp_path / "empty")
    for name in ("missing", "cut", "zero", "text", "foreign", "single", "empty", "."):
        with pytest.raises(UserError, match=r"bank .*dptr bank --images DIR") as caught:
            load_bank(tmp_path / name)
        assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_no_image_can_be_read(photographs, tmp_path):
    with pytest.raises(UserError, match="no images"):
        build_bank(FakeDual(), [], tmp_path / "bank")
    bad = [path for path in photographs if path.name.startswith("bad")]
    with pytest.raises(UserError, match=r"none of 3 images.*bad1\.png: zero bytes"):
        build_bank(FakeDual(), bad, tmp_path / "bank")
    assert [path.name for path in tmp_path.iterdir()] == ["photographs"]


def test_tokens_beyond_float16(photographs, tmp_path):
    with pytest.raises(UserError, match="beyond float16"):
        build_bank(FakeDual(scale=1e6), photographs, tmp_path / "bank")
    assert not (tmp_path / "bank").exists()


def test_a_place_that_cannot_be_written(photographs, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        build_bank(FakeDual(), photographs, tmp_path / "file" / "bank")
    with pytest.raises(UserError, match="a folder"):
        build_bank(FakeDual(), photographs, tmp_path)


# --- interrupted ------------------------------------------------------------------------------------------------------


class Stop(BaseException):
    pass


def stop_after(images: int):
    def progress(done: int) -> None:
        if done >= images:
            raise Stop

    return progress


def test_an_interrupted_bank_goes_on(photographs, tmp_path):
    whole = build_bank(FakeDual(), photographs, tmp_path / "whole", batch=2)
    with pytest.raises(Stop):
        build_bank(FakeDual(), photographs, tmp_path / "bank", batch=2, progress=stop_after(6))
    assert not (tmp_path / "bank").exists()
    dual = FakeDual()
    bank = build_bank(dual, photographs, tmp_path / "bank", batch=2)
    assert sum(dual.seen) == 10 - 4  # the first six paths hold four readable images
    assert (tmp_path / "bank").read_bytes() == (tmp_path / "whole").read_bytes()
    assert torch.equal(bank.tokens, whole.tokens)
    assert not (tmp_path / "bank.parts").exists()


def test_another_encoder_other_files_or_another_batch_begin_anew(photographs, tmp_path):
    kept = photographs[2:]

    def changed(path: Path):
        Image.new("RGB", (50, 50), (1, 2, 3)).save(path)
        os.utime(path, ns=(1, 1))

    for dual, batch, change in [
        (FakeDual(fingerprint="bb", scale=0.5), 3, None),
        (FakeDual(), 2, None),
        (FakeDual(), 3, kept[0]),
    ]:
        with pytest.raises(Stop):
            build_bank(FakeDual(), kept, tmp_path / "bank", batch=3, progress=stop_after(6))
        if change:
            changed(change)
        build_bank(dual, kept, tmp_path / "bank", batch=batch)
        assert sum(dual.seen) == 9
        build_bank(dual, kept, tmp_path / "whole", batch=batch)
        assert (tmp_path / "bank").read_bytes() == (tmp_path / "whole").read_bytes()


def _build_slowly(photographs, out):
    torch.set_num_threads(1)
    build_bank(FakeDual(seconds=0.01), photographs, out, batch=1)


def test_killed_at_random_moments(photographs, tmp_path):
    """kill -9, again and again, until a run gets through: the same bytes, nothing half-written under the final name."""
    build_bank(FakeDual(), photographs, tmp_path / "whole", batch=1)
    expected = (tmp_path / "whole").read_bytes()
    rng = np.random.default_rng(0)
    fork = multiprocessing.get_context("fork")
    kills = 0
    for attempt in range(40):
        process = fork.Process(target=_build_slowly, args=(photographs, tmp_path / "bank"))
        process.start()
        process.join(rng.uniform(0.0, 0.12) if attempt < 20 else 60)
        if process.exitcode is None:
            process.kill()
            process.join()
            kills += 1
        if (tmp_path / "bank").exists():
            assert (tmp_path / "bank").read_bytes() == expected
            (tmp_path / "bank").unlink()
            if attempt >= 20:
                break
    assert kills >= 5
    assert process.exitcode == 0
    assert sorted(path.name for path in tmp_path.iterdir() if "bank" in path.name) == []


# --- with real encoders and photographs -------------------------------------------------------------------------------


def test_a_clip_bank(photographs, tmp_path):
    pytest.importorskip("transformers", reason="the clip extra is not installed")
    from helpers_clip import make_tiny_clip

    from dptr.config.model import ClipDualConfig
    from dptr.dual.clip.encoder import load_clip

    dual = load_clip(ClipDualConfig(model=str(make_tiny_clip(tmp_path / "clip"))))
    bank = build_bank(dual, photographs, tmp_path / "bank")
    assert bank.tokens.shape == (10, 17, 64) and bank.provenance["encoder"] == "clip:clip"
    spelled = load_clip(ClipDualConfig(model=str(tmp_path / "clip"), prompt="spelled"))
    memory, mask = spelled.encode_text(["Tea", "photographs"])
    noisy = perturb(memory, mask, load_bank(tmp_path / "bank", spelled), 0.1, generator())
    assert torch.equal(noisy[~mask], memory[~mask]) and (noisy[mask] != memory[mask]).any(-1).all()
    stranger = load_clip(ClipDualConfig(model=str(make_tiny_clip(tmp_path / "other", seed=1))))
    with pytest.raises(UserError, match="not by clip:other"):
        load_bank(tmp_path / "bank", stranger)


def test_natural_photographs(tmp_path):
    folder = Path(os.environ.get("DPTR_DATA", "")) / "natural"
    if not os.environ.get("DPTR_DATA") or not folder.is_dir():
        pytest.skip("DPTR_DATA is not set to a folder with natural/")
    paths = sorted(folder.rglob("*.jpg"))[:20]
    bank = build_bank(FakeDual(), paths, tmp_path / "bank")
    assert len(bank.tokens) == len(paths) == 20 and not bank.provenance["dropped"]
    assert bank.tokens.float().std(0).min() > 0.05
