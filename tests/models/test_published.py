"""Public weights: our networks compute what the public codes computed with them (tests/golden/published.json).

``tests/golden/make_published.py`` ran these codes; here the same weights are imported and the numbers compared, to 1e-5
in float32.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import helpers_published as published
import pytest
import torch
import torch.nn.functional as F
from helpers_golden import CROPS
from helpers_published import MODELS, close, cut, golden, weights
from torch import Tensor

from dptr.cli.app import run
from dptr.config.decoders import PARSeqConfig
from dptr.inference.torch_backend import to_probabilities
from dptr.models.checkpoint import load_recognizer
from dptr.models.decoders.parseq import PARSeq
from dptr.models.decoders.permutations import build_sequences
from dptr.models.encoders.vit import ViT
from dptr.models.fmu import FMU
from dptr.models.published import Published, import_published, read_published
from dptr.models.published_names import to_our_names
from dptr.text.charset import CHARSETS, resolve_charset
from dptr.text.tokenizer import Tokenizer
from dptr.utils.errors import UserError
from dptr.utils.tensors import save_tensors

GOLDEN = golden()
FILE = Path("public.pth")


def symbols(rows: list[list[int]]) -> list[list[int]]:
    """Up to the first EOS."""
    return [row[: row.index(0) + 1] if 0 in row else row for row in rows]


# --- decoder, FMU -----------------------------------------------------------------------------------------------------


def part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(name): tensor for key, tensor in tensors.items() if key.startswith(name)}


def decoder_weights(depth: int) -> dict[str, Tensor]:
    shapes = published.decoder_shapes(published.WIDTH, depth, published.CHARACTERS, published.LONGEST, "", fmu=True)
    return to_our_names(FILE, {f"decoder.{name}": tensor for name, tensor in weights(shapes).items()})


def build_decoder(depth: int, **settings: Any) -> PARSeq:
    decoder = PARSeq(
        published.CHARACTERS, published.LONGEST, published.WIDTH, depth, published.HEADS, dropout=0.0,
        **{"refinement_mask": "cloze", **settings},
    )  # fmt: skip
    decoder.load_state_dict(part(decoder_weights(depth), "decoder."))
    return decoder.eval()


def build_fmu(depth: int) -> FMU:
    width = published.WIDTH
    fmu = FMU(width, published.QUERIES, published.HEADS, 1, width, norms="feed-forward", dropout=0.1)
    fmu.load_state_dict(part(decoder_weights(depth), "fmu."))
    return fmu.eval()


def memory(depth: int) -> Tensor:
    count = len(published.WORDS)
    tokens = torch.from_numpy(published.draw("tokens", (count, published.TOKENS, published.WIDTH)))
    return build_fmu(depth)(tokens, (1, published.TOKENS))


@torch.no_grad()
def test_fmu_equals_the_published_one() -> None:
    tokens = torch.from_numpy(published.draw("tokens", (3, published.TOKENS, published.WIDTH)))
    close(build_fmu(1)(tokens, (1, published.TOKENS)), GOLDEN["fmu"])


@torch.no_grad()
@pytest.mark.parametrize("depth", published.DEPTHS)
def test_training_loss_equals_the_published_one(depth: int) -> None:
    """In the orders that the public code drew; it pads to the longest word there may be, ours to the longest here."""
    expected, decoder = GOLDEN["decoders"][str(depth)], build_decoder(depth)
    targets = torch.from_numpy(Tokenizer(resolve_charset("10"), published.LONGEST).encode(published.WORDS))
    orders = build_sequences(torch.tensor(expected["orders"]))
    logits, wanted = decoder.logits_in_orders(memory(depth), None, targets, orders)
    loss = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=decoder.pad)
    assert float(loss) == pytest.approx(expected["loss"], abs=1e-5)
    forward = zip(logits, published.WORDS, strict=True)
    close(torch.cat([row[: len(word) + 1] for row, word in forward]), expected["left to right"])


@torch.no_grad()
@pytest.mark.parametrize("refinements", [0, 1, 2])
@pytest.mark.parametrize("autoregressive", [True, False])
@pytest.mark.parametrize("depth", published.DEPTHS)
def test_readings_equal_the_published_ones(depth: int, autoregressive: bool, refinements: int) -> None:
    way = f"{'left to right' if autoregressive else 'parallel'}, {refinements}"
    expected = GOLDEN["decoders"][str(depth)]["readings"][way]
    decoder = build_decoder(depth, autoregressive=autoregressive, refinements=refinements)
    logits = decoder.decode(memory(depth), None)
    assert symbols(logits.argmax(-1).tolist()) == symbols(expected["symbols"])
    close(cut(logits.softmax(-1)), expected["probabilities"])


@torch.no_grad()
@pytest.mark.parametrize("depth", published.DEPTHS)
def test_the_content_streams_mask_matters_from_depth_2_on(depth: int) -> None:
    causal, cloze = (
        build_decoder(depth, refinement_mask=mask).decode(memory(depth), None)[:, :2] for mask in ("causal", "cloze")
    )
    assert torch.allclose(causal, cloze, atol=1e-4) == (depth == 1)


@torch.no_grad()
def test_a_word_whose_end_moves_back_reads_the_same_alone_and_in_a_batch() -> None:
    """The second word ends third left to right, and later once it is refined."""
    decoder = build_decoder(2, autoregressive=True, refinements=1)
    given = memory(2)
    assert len(symbols(decoder.decode(given, None).argmax(-1).tolist())[1]) == published.LONGEST + 1
    for index, row in enumerate(decoder.decode(given, None)):
        alone = decoder.decode(given[index : index + 1], None)
        torch.testing.assert_close(cut(alone.softmax(-1)), cut(row[None].softmax(-1)), atol=1e-5, rtol=1e-5)


# --- fresh weights ----------------------------------------------------------------------------------------------------


def deviation(tensor: Tensor) -> float:
    return float(tensor.detach().double().std())


def test_a_published_decoder_starts_as_the_public_one() -> None:
    """Truncated normal of 0.02; torch's attention draws its packed projections itself, once for all layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder = PARSeq(94, 25, 256, 3, 8, initialization="published")
        packed = torch.nn.MultiheadAttention(256, 8).in_proj_weight
    for tensor in (decoder.embedding.weight, decoder.positions, decoder.head.weight):
        assert deviation(tensor) == pytest.approx(0.02, rel=0.05)
    first, *others = decoder.layers
    for name in ("self_attention", "cross_attention"):
        own = getattr(first, name)
        drawn = torch.cat([own.query.weight, own.key_value.weight])
        assert deviation(drawn) == pytest.approx(deviation(packed), rel=0.02)
        largest = float(packed.detach().abs().max())
        assert float(drawn.detach().abs().max()) == pytest.approx(largest, rel=1e-3)
        assert deviation(own.out.weight) == pytest.approx(0.02, rel=0.05)
        for layer in others:
            other = getattr(layer, name)
            assert torch.equal(other.query.weight, own.query.weight)
            assert torch.equal(other.key_value.weight, own.key_value.weight)
            assert not torch.equal(other.out.weight, own.out.weight)
    assert all(not tensor.any() for name, tensor in decoder.named_parameters() if name.endswith("bias"))


def test_a_published_vit_and_fmu_start_as_the_public_ones() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vit = ViT("tiny", 8, 32, initialization="published")
        fmu = FMU(256, 26, 8, 1, 256, norms="feed-forward", initialization="published")
        packed = torch.nn.MultiheadAttention(256, 8).in_proj_weight
    for tensor in (vit.positions, vit.blocks[0].attention.query.weight, vit.blocks[5].feed_forward[3].weight):
        assert deviation(tensor) == pytest.approx(0.02, rel=0.1)
    assert deviation(vit.patches.weight) == pytest.approx((2 / (192 * 32)) ** 0.5, rel=0.05)  # He, by what goes out
    assert 0.04 < deviation(vit.patches.bias) < 0.08  # torch's uniform: 96 ** -0.5 / 3 ** 0.5
    attention = fmu.layers[0].attention
    assert deviation(attention.key_value.weight) == pytest.approx(deviation(packed), rel=0.02)
    assert deviation(fmu.layers[0].feed_forward[0].weight) == pytest.approx(0.02, rel=0.05)


# --- whole networks ---------------------------------------------------------------------------------------------------


@cache
def state_dict(family: str) -> dict[str, Tensor]:
    return weights(MODELS[family])


@torch.no_grad()
@pytest.mark.parametrize("family", ["parseq", "openocr", "dptr"])
def test_an_imported_recognizer_reads_as_the_public_one(family: str, tmp_path: Path) -> None:
    """By way of the command, a file of weights and a checkpoint: image tokens, probabilities and words."""
    file, out = tmp_path / "weights.safetensors", tmp_path / "model"
    save_tensors(file, state_dict(family))
    heads = ["--heads", str(published.MODEL_HEADS[family])]
    assert run(["import", str(file), "-o", str(out), *heads]) == 0
    loaded, expected = load_recognizer(out), GOLDEN["models"][family]
    assert sum(tensor.numel() for tensor in loaded.model.parameters()) == sum(
        tensor.numel() for tensor in state_dict(family).values()
    )
    pixels = published.pixels(4)
    close(loaded.model.encoder(pixels), expected["tokens"])
    logits = loaded.model(pixels)
    close(cut(logits.softmax(-1)), expected["probabilities"])
    words = [decoded.text for decoded in loaded.tokenizer.decode(to_probabilities(logits))]
    assert words == expected["words"]


def test_settings_in_the_file_count_and_options_win(tmp_path: Path) -> None:
    """Lightning's checkpoint: a prefix, and the arguments of the constructor."""
    file = tmp_path / "last.ckpt"
    said = {
        "dec_num_heads": 12, "enc_num_heads": 3, "refine_iters": 2, "decode_ar": False, "img_size": [32, 128],
        "charset_train": CHARSETS["94"][::-1], "dropout": 0.2,
    }  # fmt: skip
    held = {f"model.{name}": tensor for name, tensor in state_dict("parseq").items()}
    torch.save({"state_dict": held, "hyper_parameters": said}, file)
    imported = import_published(read_published(file))
    decoder = imported.config.decoder
    assert isinstance(decoder, PARSeqConfig)
    assert (decoder.heads, decoder.refinements, decoder.autoregressive, decoder.dropout) == (12, 2, False, 0.2)
    assert "".join(imported.charset.characters) == CHARSETS["94"][::-1]
    again = import_published(read_published(file), "94", 4)
    assert again.config.decoder.heads == 4 and again.charset.name == "94"
    configured = {"Architecture": {"Encoder": {"num_heads": 3}, "Decoder": {"refine_iters": 0}}}
    torch.save({"state_dict": state_dict("openocr"), "config": configured}, file)
    imported = import_published(read_published(file))
    assert imported.family == "openocr" and imported.config.decoder.refinements == 0


def test_published_sizes_have_published_heads() -> None:
    """12 heads of 384 in PARSeq, 8 of 512 in DPTR (stage 1: 6 layers)."""
    small = published.vit_shapes(384, 12) | published.decoder_shapes(384, 1, 94, 25)
    large = published.decoder_shapes(512, 6, 94, 25)
    for shapes, expected in ((small, (12, 1)), (large, (8, 6))):
        empty = {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}
        decoder = import_published(Published(FILE, empty)).config.decoder
        assert (decoder.heads, decoder.depth) == expected


def fails(tensors: dict[str, Tensor], charset: str = "", heads: int = 0, **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        import_published(Published(FILE, tensors, settings), charset, heads)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_does_not_fit_is_named() -> None:
    whole = state_dict("openocr")
    foreign = {"encoder.pope.0.weight": torch.zeros(3), "encoder.cls_token": torch.zeros(1, 1, 192)}
    found = fails({**whole, **foreign})
    assert "2 tensors have no place" in found and all(name in found for name in foreign)
    lacking = {name: tensor for name, tensor in whole.items() if name != "decoder.decoder.layers.0.norm_q.bias"}
    assert "decoder.layers.0.norm_query.bias is missing" in fails(lacking)
    assert "decoder.head.weight is missing" in fails({n: t for n, t in whole.items() if "head" not in n})
    assert "neither pos_queries" in fails({"fc.weight": torch.zeros(3, 3)})
    assert "charset '36' has 36" in fails(whole, "36")
    assert "7 heads" in fails(whole, heads=7)
    assert "192 wide, 12 layers, 4 heads" in fails(whole, num_heads=4)
    assert "128 patches of 4x8" in fails(whole, img_size=[32, 100])
    shorter = {name: tensor for name, tensor in whole.items() if ".blocks.11." not in name}
    assert "192 wide, 11 layers" in fails(shorter)
    odd = {**whole, "decoder.head.weight": torch.zeros(97, 192), "decoder.head.bias": torch.zeros(97)}
    assert "96 characters, which the file does not name" in fails(odd)


@pytest.mark.parametrize("content", [b"", b"no weights", b"\x80\x02."])
def test_a_file_without_weights(content: bytes, tmp_path: Path, capsys) -> None:
    for name in ("weights.pt", "weights.safetensors"):
        file = tmp_path / name
        file.write_bytes(content)
        assert run(["import", str(file), "-o", str(tmp_path / "model")]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and name in said
    assert run(["import", str(tmp_path), "-o", str(tmp_path / "model")]) == 2
    assert "dptr data build" in capsys.readouterr().err


@pytest.mark.slow
def test_an_imported_recognizer_reads_pictures_trains_and_exports(tmp_path: Path) -> None:
    file, out = tmp_path / "weights.safetensors", tmp_path / "model"
    save_tensors(file, state_dict("dptr"))
    assert run(["import", str(file), "-o", str(out), "--heads", "3"]) == 0
    assert run(["read", "-m", str(out), str(CROPS)]) == 0
    settings = ["run.steps=2", "run.batch_size=4", "run.workers=0", "run.device=cpu", "run.tensorboard=false"]
    sets = [part for setting in [*settings, "data.rendered=0", "forgetting.rendered=0"] for part in ("--set", setting)]
    tuned = tmp_path / "tuned"
    assert run(["finetune", "-m", str(out), "-d", str(CROPS), "-o", str(tuned), *sets]) == 0
    assert load_recognizer(tuned / "model").config.fmu == load_recognizer(out).config.fmu
    assert (
        run(["export", "-m", str(out), "-o", str(tmp_path / "model.onnx"), "--crops", "8"]) == 0
    )  # it compares both backends
