"""CLIP tokens against transformers' own heads and against a second implementation of the towers."""

import json
import math
import shutil
import subprocess
import sys

import pytest
import torch
from helpers_clip import make_tiny_clip
from safetensors.torch import load_file, save_file

pytest.importorskip("transformers", reason="the clip extra is not installed")

from transformers import (
    AutoTokenizer,
    CLIPModel,
    CLIPTextModelWithProjection,
    CLIPVisionModelWithProjection,
)
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from dptr.config.model import ClipDualConfig, DualConfig
from dptr.dual.base import DUAL_ENCODERS, DualEncoder, distinguishes, load_dual
from dptr.dual.clip.encoder import ClipDual, load_clip
from dptr.utils.errors import UserError

WORDS = ["Tea", "x", "photograph", "naïve-Ω", "4711", "o'clock!"]
PROMPT = "a photo of a '{}'"
HEADS = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_clip(tmp_path_factory.mktemp("clip") / "tiny")


def dual_of(folder, tokens="paper", prompt=PROMPT) -> ClipDual:
    return load_clip(ClipDualConfig(model=str(folder), tokens=tokens, prompt=prompt))


@pytest.fixture(scope="module")
def paper(folder):
    return dual_of(folder)


@pytest.fixture(scope="module")
def trimmed(folder):
    return dual_of(folder, "trimmed")


def padded_ids(folder, words):
    """Ids of openai's ``clip.tokenize``: zeros after the end-of-text token; and the position of that token."""
    rows = AutoTokenizer.from_pretrained(folder)([PROMPT.format(word) for word in words])["input_ids"]
    ids = torch.zeros(len(words), 77, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
    return ids, ids.argmax(1)  # openai's own way to find it: the highest id


def reference_tower(weights, prefix, x, layers, causal):
    """A pre-norm transformer with quick GELU (openai/CLIP, clip/model.py) in float64, from the weights in the file."""
    w = {key[len(prefix) :]: value.double() for key, value in weights.items() if key.startswith(prefix)}

    def affine(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    x = x.double()
    batch, length, width = x.shape
    blocked = torch.ones(length, length).triu(1).bool() if causal else torch.zeros(length, length).bool()
    for layer in range(layers):
        block = f"encoder.layers.{layer}"
        y = reference_norm(x, w[f"{block}.layer_norm1.weight"], w[f"{block}.layer_norm1.bias"])
        q, k, v = (
            affine(y, f"{block}.self_attn.{name}_proj").view(batch, length, HEADS, -1).transpose(1, 2) for name in "qkv"
        )
        scores = (q @ k.transpose(2, 3) / math.sqrt(width / HEADS)).masked_fill(blocked, -math.inf)
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, width)
        x = x + affine(mixed, f"{block}.self_attn.out_proj")
        y = reference_norm(x, w[f"{block}.layer_norm2.weight"], w[f"{block}.layer_norm2.bias"])
        y = affine(y, f"{block}.mlp.fc1")
        x = x + affine(y * torch.sigmoid(1.702 * y), f"{block}.mlp.fc2")
    return x


def reference_norm(x, weight, bias):
    centerd = x - x.mean(-1, keepdim=True)
    return centerd / (centerd.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight.double() + bias.double()


def reference_text(folder, words):
    """[projected end-of-text token; 77 tokens after the final layer norm]."""
    weights = load_file(folder / "model.safetensors")
    ids, ends = padded_ids(folder, words)
    x = weights["text_model.embeddings.token_embedding.weight"][ids]
    x = x + weights["text_model.embeddings.position_embedding.weight"]
    x = reference_tower(weights, "text_model.", x, 2, causal=True)
    x = reference_norm(x, weights["text_model.final_layer_norm.weight"], weights["text_model.final_layer_norm.bias"])
    pooled = x[torch.arange(len(words)), ends] @ weights["text_projection.weight"].double().T
    return torch.cat([pooled[:, None], x], 1).float()


def pixels_of(count, seed=0):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_paper_text_tokens_equal_transformers(folder, paper):
    ids, _ = padded_ids(folder, WORDS)
    with torch.no_grad():
        theirs = CLIPTextModelWithProjection.from_pretrained(folder).eval()(input_ids=ids)
    tokens, mask = paper.encode_text(WORDS)
    assert tokens.shape == (len(WORDS), 78, 64) and tokens.dtype == torch.float32
    assert mask.shape == (len(WORDS), 78) and mask.dtype == torch.bool and mask.all()
    close(tokens[:, 0], theirs.text_embeds)
    close(tokens[:, 1:], theirs.last_hidden_state)


def test_paper_text_tokens_equal_a_second_implementation(folder, paper):
    close(paper.encode_text(WORDS)[0], reference_text(folder, WORDS))


def test_trimmed_is_paper_without_padding(folder, paper, trimmed):
    whole, _ = paper.encode_text(WORDS)
    tokens, mask = trimmed.encode_text(WORDS)
    _, ends = padded_ids(folder, WORDS)
    assert tokens.shape[1] == ends.max() + 2
    assert mask.sum(1).tolist() == (ends + 2).tolist()
    assert len(set(mask.sum(1).tolist())) > 2
    for i, end in enumerate(ends):
        close(tokens[i, : end + 2], whole[i, : end + 2])
        assert mask[i, : end + 2].all()
        assert not tokens[i, end + 2 :].any()


@pytest.mark.parametrize("tokens", ["paper", "trimmed"])
def test_a_word_alone_is_the_word_in_a_batch(folder, tokens):
    dual = dual_of(folder, tokens)
    together, masks = dual.encode_text(WORDS)
    for word, row, mask in zip(WORDS, together, masks, strict=True):
        alone, own_mask = dual.encode_text([word])
        assert own_mask.all()
        close(alone[0], row[mask])


def test_image_tokens_equal_transformers_and_a_second_implementation(folder, paper):
    pixels = pixels_of(3)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
    normalized = ((pixels + 1) / 2 - mean) / std
    with torch.no_grad():
        theirs = CLIPVisionModelWithProjection.from_pretrained(folder).eval()(pixel_values=normalized)
    tokens = paper.encode_image(pixels)
    assert tokens.shape == (3, 1 + (32 // 8) ** 2, 64) and tokens.dtype == torch.float32
    close(tokens[:, 0], theirs.image_embeds)

    weights = load_file(folder / "model.safetensors")
    vision = "vision_model."
    kernel = weights[f"{vision}embeddings.patch_embedding.weight"].double()
    grid = normalized.double().unfold(2, 8, 8).unfold(3, 8, 8)  # b c rows columns 8 8
    patches = torch.einsum("bcrkhw,dchw->brkd", grid, kernel).flatten(1, 2)
    classes = weights[f"{vision}embeddings.class_embedding"].double().expand(3, 1, -1)
    x = torch.cat([classes, patches], 1) + weights[f"{vision}embeddings.position_embedding.weight"].double()
    x = reference_norm(x, weights[f"{vision}pre_layrnorm.weight"], weights[f"{vision}pre_layrnorm.bias"])
    x = reference_tower(weights, vision, x, 2, causal=False)
    x = reference_norm(x, weights[f"{vision}post_layernorm.weight"], weights[f"{vision}post_layernorm.bias"])
    close(tokens, (x @ weights["visual_projection.weight"].double().T).float())
    close(paper.encode_image(pixels[1:2])[0], tokens[1])


def test_openais_wrong_end_id_changes_nothing(folder, paper, tmp_path):
    """openai's configurations say ``eos_token_id`` 2, which is the id of "#"."""
    legacy = dual_of(make_tiny_clip(tmp_path / "legacy", eos_token_id=2))
    words = [*WORDS, "#"]
    assert 2 in legacy.tokenizer(PROMPT.format("#"))["input_ids"]
    close(legacy.encode_text(words)[0], paper.encode_text(words)[0])


# --- frozen -----------------------------------------------------------------------------------------------------------


def test_frozen_and_without_gradients(paper):
    assert not paper.model.training
    assert not any(parameter.requires_grad for parameter in paper.model.parameters())
    pixels = pixels_of(1).requires_grad_()
    assert not paper.encode_text(["a"])[0].requires_grad and not paper.encode_image(pixels)[0].requires_grad
    assert not paper.encode_text(["a"])[0].is_inference()  # a trainable layer may follow


def test_mixed_precision_around_it_changes_nothing(paper):
    text, image = paper.encode_text(WORDS)[0], paper.encode_image(pixels_of(2))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(paper.encode_text(WORDS)[0], text)
        assert torch.equal(paper.encode_image(pixels_of(2)), image)


def test_half_precision_weights_are_computed_in_float32(folder, tmp_path, paper):
    shutil.copytree(folder, tmp_path / "half")
    CLIPModel.from_pretrained(folder).half().save_pretrained(tmp_path / "half")
    dual = dual_of(tmp_path / "half")
    assert dual.encode_text(["a"])[0].dtype == torch.float32
    torch.testing.assert_close(dual.encode_text(WORDS)[0], paper.encode_text(WORDS)[0], rtol=0, atol=0.05)


def test_loading_draws_no_random_number_and_prints_nothing(folder, capfd):
    before = torch.get_rng_state()
    dual_of(folder)
    assert torch.equal(torch.get_rng_state(), before)
    out, err = capfd.readouterr()
    assert not out and not err


def test_fingerprint(folder, paper, trimmed, tmp_path):
    weights, _, settings = paper.fingerprint.partition("-")
    assert len(weights) == 16 and len(settings) == 8
    assert dual_of(folder).fingerprint == paper.fingerprint
    assert dual_of(folder, prompt="paper").fingerprint == paper.fingerprint
    for other in (trimmed, dual_of(folder, prompt="spelled"), dual_of(folder, prompt="the word {}")):
        assert other.fingerprint != paper.fingerprint
        assert other.fingerprint.startswith(weights + "-")
    for name in ("text_projection.weight", "vision_model.embeddings.class_embedding"):
        changed = shutil.copytree(folder, tmp_path / name)
        tensors = load_file(changed / "model.safetensors")
        tensors[name].view(-1)[3] += 1e-3
        save_file(tensors, changed / "model.safetensors", {"format": "pt"})
        other, _, same = dual_of(changed).fingerprint.partition("-")
        assert other != weights and same == settings


def test_contract(paper, folder):
    assert isinstance(paper, DualEncoder)
    assert (paper.kind, paper.name, paper.dim, paper.image_size) == ("clip", "tiny", 64, (32, 32))
    assert paper.to("cpu") is paper
    loaded = load_dual(ClipDualConfig(model=str(folder)))
    assert loaded.kind == "clip" and loaded.kind in DUAL_ENCODERS


def test_tells_apart(folder, paper):
    assert not distinguishes(paper, "tea", "TEA")
    assert distinguishes(paper, "tea", "ten")
    for prompt in ("marked", "spelled"):
        assert distinguishes(dual_of(folder, prompt=prompt), "tea", "TEA")
    assert not distinguishes(dual_of(folder, "trimmed"), "tea", "TEA")


# --- bad input --------------------------------------------------------------------------------------------------------


def refused(action, *parts):
    with pytest.raises(UserError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    return message


@pytest.mark.parametrize("tokens", ["paper", "trimmed"])
def test_a_prompt_beyond_the_context_is_refused_not_cut(folder, tokens):
    dual = dual_of(folder, tokens)
    (row,) = dual.tokenizer([PROMPT.format("")])["input_ids"]
    fits = "q" * (77 - len(row))
    assert len(dual.encode_text([fits])[0]) == 1
    refused(lambda: dual.encode_text(["ok", fits + "q"]), fits, "78 tokens", "77", "model.max_length")


def test_an_unknown_character_is_refused(folder, paper):
    refused(lambda: paper.encode_text(["a<|endoftext|>b"]), "a<|endoftext|>b", "does not know")


def test_a_joint_space_of_another_width_takes_all_tokens_through_the_projection(tmp_path, capfd):
    make_tiny_clip(tmp_path / "narrow", projection=32)
    capfd.readouterr()
    narrow = dual_of(tmp_path / "narrow")
    said = "narrow: text tower 64 wide, joint space 32; all text tokens go through the text projection\n"
    assert capfd.readouterr().err == said
    weight = load_file(tmp_path / "narrow" / "model.safetensors")["text_projection.weight"]
    with torch.no_grad():
        theirs = CLIPTextModelWithProjection.from_pretrained(tmp_path / "narrow").eval()(
            input_ids=padded_ids(tmp_path / "narrow", WORDS)[0]
        )
    tokens, _ = narrow.encode_text(WORDS)
    close(tokens, torch.cat([theirs.text_embeds[:, None], theirs.last_hidden_state @ weight.T], 1))


def test_unknown_prompt(folder):
    refused(lambda: dual_of(folder, prompt="letters"), "letters", "spelled")


def test_prompt_that_leaves_no_room(folder):
    refused(lambda: dual_of(folder, prompt="z" * 80 + "{}"), "tokens with its prompt", "77")


@pytest.mark.parametrize("model", ["openai/clip-vit-none-at-hand", "glyph-en"])
def test_weights_not_downloaded(model, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    message = refused(lambda: dual_of(model), model, "--set dual.model=FOLDER", "hf download", "--set dual.kind=glyph")
    assert (f"hf download {model}," in message) == ("/" in model)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("model", ["/no/such/folder", "./nowhere/at/all"])
def test_no_such_folder(model):
    refused(lambda: dual_of(model), f"'{model}'", "no such folder", "--set dual.model=FOLDER", "--set dual.kind=glyph")


@pytest.mark.parametrize(
    ("file", "named"),
    [("config.json", "config.json"), ("model.safetensors", "model.safetensors"), ("vocab.json", "vocab.json")],
)
def test_folder_that_lacks_files(folder, tmp_path, file, named):
    shutil.copytree(folder, tmp_path / "clip")
    (tmp_path / "clip" / file).unlink()
    refused(lambda: dual_of(tmp_path / "clip"), "lacks", named, "--set dual.model=FOLDER")


def test_half_a_tokenizer(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "clip")
    (tmp_path / "clip" / "merges.txt").unlink()
    refused(lambda: dual_of(tmp_path / "clip"), "clip")


def test_weights_of_one_tower_only(folder, tmp_path, capfd):
    shutil.copytree(folder, tmp_path / "clip")
    weights = load_file(tmp_path / "clip" / "model.safetensors")
    text = {name: tensor for name, tensor in weights.items() if "vis" not in name}
    save_file(text, tmp_path / "clip" / "model.safetensors", {"format": "pt"})
    refused(lambda: dual_of(tmp_path / "clip"), f"{len(weights) - len(text)} weights are missing", "both towers")
    assert capfd.readouterr() == ("", "")


def test_damaged_checkpoints(folder, tmp_path, capfd):
    clip = shutil.copytree(folder, tmp_path / "clip")
    whole = (clip / "model.safetensors").read_bytes()
    for damaged in (whole[:5000], b"", b"not weights"):
        (clip / "model.safetensors").write_bytes(damaged)
        refused(lambda: dual_of(clip), str(clip), "not a whole CLIP checkpoint")
    (clip / "model.safetensors").write_bytes(whole)
    config = json.loads((clip / "config.json").read_text())
    for part, key, value in [("text_config", "hidden_size", 32), ("text_config", "num_attention_heads", "x")]:
        (clip / "config.json").write_text(json.dumps(config | {part: config[part] | {key: value}}))
        refused(lambda: dual_of(clip), str(clip), "not a whole CLIP checkpoint")
    (clip / "config.json").write_text("{")
    refused(lambda: dual_of(clip), "not valid JSON")
    (clip / "config.json").write_text(json.dumps(config | {"model_type": "siglip"}))
    refused(lambda: dual_of(clip), "'siglip'", "set dual.kind=siglip", "pass a CLIP checkpoint")
    (clip / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    refused(lambda: dual_of(clip), "'bert'", "not 'clip'", "chinese_clip", "pass a CLIP checkpoint")
    assert capfd.readouterr() == ("", "")


def test_another_models_tokenizer(folder, paper):
    class Deaf:
        """Knows no letter, as transformers' CLIPTokenizer without its files."""

        eos_token_id = 1
        all_special_ids, all_special_tokens = [0, 1], ["<|startoftext|>", "<|endoftext|>"]

        def __len__(self):
            return 3

        def __call__(self, texts, **options):
            return {"input_ids": [[0, 2, 1] for _ in texts]}

    refused(lambda: ClipDual(CLIPModel.from_pretrained(folder), Deaf(), PROMPT, "paper", "x"), "vocab.json")


def test_transformers_missing(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    refused(lambda: dual_of(folder), "pip install ./weights '.[train,clip]'")


def test_unknown_kind():
    refused(lambda: load_dual(DualConfig.of(kind="clipp")), "'clipp'", "glyph, clip", "did you mean 'clip'?")


def test_the_package_imports_without_transformers():
    code = (
        "import sys, dptr.dual.base, dptr.dual.clip.prompts, dptr.dual.clip.encoder\n"
        "sys.exit('transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
