"""CLIP's kin: tokens against transformers' own features, on tiny random weights; CLIP itself is in test_clip.py.

Tokenizers are of the families' own classes with small vocabularies. SentencePiece's normalizer of XLM-R (NFKC and more)
is not among them, nor is any published weight.
"""

import functools
import json
import shutil
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers_clip import HAN, make_tiny, tiny_gemma_tokenizer
from safetensors.torch import load_file, save_file

pytest.importorskip("transformers", reason="the clip extra is not installed")
pytest.importorskip("sentencepiece", reason="the clip extra is not installed")

import transformers
from helpers_train import write_photographs

from dptr.config.load import load_recipe
from dptr.config.model import DualConfig
from dptr.config.train import PretrainRecipe
from dptr.dual.base import DUAL_ENCODERS, DualEncoder, distinguishes, load_dual
from dptr.dual.clip.families import FAMILIES
from dptr.dual.orp.bank import build_bank
from dptr.training.pretrain import pretrain
from dptr.utils.errors import UserError

WORDS = ["tea", "x", "photographs", "4711", "o'clock!"]


@dataclass(frozen=True)
class Case:
    model_type: str
    processor: str  # of pictures, in transformers
    context: int
    case: bool  # whether the paper's prompt keeps it
    marked: bool = True  # whether the prompt of that name keeps it
    punctuation: bool = True
    unknown: str = "ж"  # a character that the tokenizer does not know; empty: it knows all
    gemma: bool = False
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return FAMILIES[self.model_type].kind


CASES = {
    "metaclip2": Case("metaclip_2", "CLIPImageProcessorPil", 77, case=True),
    "siglip": Case("siglip", "SiglipImageProcessorPil", 64, case=False, marked=False, punctuation=False),
    # the fixed resolutions of SigLIP 2; text and joint widths differ as in its giant
    "siglip2": Case(
        "siglip", "SiglipImageProcessorPil", 64, case=True, unknown="", gemma=True, settings={"text": 24, "joint": 32}
    ),
    "siglip2-naflex": Case("siglip2", "Siglip2ImageProcessorPil", 64, case=False, unknown=""),
    "chinese-clip": Case("chinese_clip", "ChineseCLIPImageProcessorPil", 52, case=False, settings={"text": 40}),
    "altclip": Case("altclip", "CLIPImageProcessorPil", 77, case=True),
}
every = pytest.mark.parametrize("name", CASES)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for name, case in CASES.items():
        tokenizer = tiny_gemma_tokenizer(lower=False) if case.gemma else None
        made[name] = make_tiny(
            case.model_type, tmp_path_factory.mktemp(name) / "tiny", tokenizer=tokenizer, **case.settings
        )
    return made


def load_of(name, folder, tokens="trimmed", prompt="paper"):
    return load_dual(DualConfig.of(kind=CASES[name].kind, model=str(folder), tokens=tokens, prompt=prompt))


dual_of = functools.cache(load_of)  # for folders that stay as they are


def towers_of(name, folder):
    towers = getattr(transformers, FAMILIES[CASES[name].model_type].model)
    return towers.from_pretrained(folder).eval(), transformers.AutoTokenizer.from_pretrained(folder)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=2e-5)


def refused(action, *parts):
    with pytest.raises(UserError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


def test_the_dict_of_kinds_holds_every_family():
    assert set(DUAL_ENCODERS) == {"glyph"} | {family.kind for family in FAMILIES.values()}
    assert {case.model_type for case in CASES.values()} == set(FAMILIES) - {"clip"}


@every
def test_text_tokens_equal_transformers(name, folders):
    case, folder = CASES[name], folders[name]
    model, tokenizer = towers_of(name, folder)
    given = tokenizer(
        [f"a photo of a '{word}'" for word in WORDS], padding="max_length", max_length=case.context,
        padding_side="right", return_tensors="pt",
    )  # fmt: skip
    masked = case.model_type in ("chinese_clip", "altclip")  # SigLIP was trained without a mask; CLIP needs none
    inputs = {key: given[key] for key in ("input_ids", *(["attention_mask"] if masked else []))}
    with torch.no_grad():
        pooled = model.get_text_features(**inputs).pooler_output
        hidden = model.text_model(**inputs).last_hidden_state
        if hidden.shape[2] != pooled.shape[1]:
            hidden = (model.text_model.head if "siglip" in name else model.text_projection)(hidden)
    tokens, mask = dual_of(name, folder, "paper").encode_text(WORDS)
    assert tokens.shape == (len(WORDS), 1 + case.context, 32) and tokens.dtype == torch.float32 and mask.all()
    close(tokens[:, 0], pooled)
    close(tokens[:, 1:], hidden)
    assert (pooled[0] - pooled[1]).abs().max() > 1e-3 and (hidden[0, 1] - hidden[0, 2]).abs().max() > 1e-3


@every
def test_trimmed_is_paper_without_padding_however_long_the_others_are(name, folders):
    whole, _ = dual_of(name, folders[name], "paper").encode_text(WORDS)
    trimmed = dual_of(name, folders[name])
    tokens, mask = trimmed.encode_text(WORDS)
    lengths = [1 + len(row) for row in trimmed.tokenizer([f"a photo of a '{word}'" for word in WORDS])["input_ids"]]
    assert mask.sum(1).tolist() == lengths and len(set(lengths)) > 2 and tokens.shape[1] == max(lengths)
    for i, (word, length) in enumerate(zip(WORDS, lengths, strict=True)):
        assert mask[i, :length].all() and not tokens[i, length:].any()
        close(tokens[i, :length], whole[i, :length])
        alone, own = trimmed.encode_text([word])
        assert own.all()
        close(alone[0], tokens[i, :length])


@every
def test_image_tokens_equal_transformers_fed_by_its_own_processor(name, folders):
    """Normalization, NaFlex's patches and the pooled token: the processor and ``get_image_features`` know them all."""
    case = CASES[name]
    model, _ = towers_of(name, folders[name])
    arrays = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    naflex = (
        {"patch_size": 8, "max_num_patches": 16}
        if name == "siglip2-naflex"
        else {"do_resize": False, "do_center_crop": False}
    )
    inputs = dict(getattr(transformers, case.processor)(**naflex)(list(arrays), return_tensors="pt"))
    with torch.no_grad():
        pooled = model.get_image_features(**inputs).pooler_output
        hidden = model.vision_model(**inputs).last_hidden_state
        if "siglip" not in name:
            hidden = model.visual_projection(model.vision_model.post_layernorm(hidden))
    pixels = torch.from_numpy(arrays).permute(0, 3, 1, 2).float() / 127.5 - 1
    dual = dual_of(name, folders[name])
    tokens = dual.encode_image(pixels)
    assert dual.image_size == (32, 32)
    assert tokens.shape == (3, 17, 32) and tokens.dtype == torch.float32
    close(
        tokens[:, 0], pooled
    )  # class tokens are pooled where there are any, SigLIP's pooled stands before its patches
    close(tokens[:, 17 - hidden.shape[1] :], hidden)
    assert hidden.shape[1] == (16 if "siglip" in name else 17)
    close(dual.encode_image(pixels[1:2])[0], tokens[1])


@every
def test_contract(name, folders, capfd):
    dual = load_of(name, folders[name])
    said = capfd.readouterr().err
    assert isinstance(dual, DualEncoder)
    assert (dual.kind, dual.name, dual.dim) == (CASES[name].kind, "tiny", 32)
    assert ("all text tokens go through the text projection" in said) == (name in ("siglip2", "chinese-clip"))
    assert not dual.model.training and not any(weight.requires_grad for weight in dual.model.parameters())
    text, _ = dual.encode_text(["tea"])
    assert text.shape[2] == dual.dim == dual.encode_image(torch.zeros(1, 3, 32, 32)).shape[2]


def test_a_vision_tower_without_its_pooling_head(tmp_path):
    dual = dual_of("siglip", make_tiny("siglip", tmp_path / "headless", vision_use_head=False))
    assert dual.encode_image(torch.zeros(1, 3, 32, 32)).shape == (1, 16, 32)


@every
def test_fingerprint(name, folders, tmp_path):
    folder = folders[name]
    dual = dual_of(name, folder)
    weights, _, settings = dual.fingerprint.partition("-")
    assert load_of(name, folder).fingerprint == dual.fingerprint
    for other in (dual_of(name, folder, "paper"), dual_of(name, folder, prompt="spelled")):
        assert other.fingerprint != dual.fingerprint and other.fingerprint.startswith(weights + "-")
    copy = shutil.copytree(folder, tmp_path / "copy")
    said = copy / "preprocessor_config.json"
    mean, std = dual.family.pixels
    said.write_text(json.dumps({"image_mean": list(mean), "image_std": list(std)}))
    assert load_of(name, copy).fingerprint == dual.fingerprint
    said.write_text(json.dumps({"image_mean": [0.4, 0.4, 0.4], "image_std": list(std)}))
    shifted = load_of(name, copy)
    assert shifted.fingerprint.partition("-")[0] != weights and shifted.fingerprint.endswith(settings)
    pixels = torch.zeros(1, 3, 32, 32)  # gray of 0.5, as 0.5 +- 0.1 is to the other mean
    moved = pixels + 2 * (torch.tensor(mean) - 0.4).view(3, 1, 1)
    close(shifted.encode_image(pixels), dual.encode_image(moved))
    said.unlink()
    tensors = load_file(copy / "model.safetensors")
    tensors["logit_scale"] += 1e-3
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    assert load_of(name, copy).fingerprint.partition("-")[0] != weights


@every
@pytest.mark.parametrize("prompt", ["paper", "marked", "spelled"])
def test_tells_apart(name, prompt, folders):
    case = CASES[name]
    dual = dual_of(name, folders[name], prompt=prompt)
    assert distinguishes(dual, "tea", "ten")
    assert distinguishes(dual, "tea", "TEA") == {"paper": case.case, "marked": case.marked, "spelled": True}[prompt]
    assert distinguishes(dual, "t.a", "t,a") == case.punctuation


# --- bad input --------------------------------------------------------------------------------------------------------


@every
def test_a_prompt_beyond_the_context_is_refused_not_cut(name, folders):
    context = CASES[name].context
    dual = dual_of(name, folders[name], prompt="spelled")  # letter by letter: two tokens a letter at most
    lengths = {n: len(dual.tokenizer([dual.prompt("x" * n)])["input_ids"][0]) for n in range(1, context)}
    longest = max(n for n, length in lengths.items() if length <= context)
    assert dual.encode_text(["x" * longest])[1].all()
    refused(lambda: dual.encode_text(["x", "x" * (longest + 1)]), f"takes {context}", "model.max_length")


@every
def test_an_unknown_character_is_refused(name, folders):
    dual = dual_of(name, folders[name])
    if CASES[name].unknown:
        refused(lambda: dual.encode_text([f"a{CASES[name].unknown}"]), "'aж'", "does not know", "model.charset")
    else:
        assert distinguishes(dual, "ж", "ш")
    special = dual.tokenizer.unk_token
    refused(lambda: dual.encode_text([f"a{special}b"]), f"'a{special}b'", "does not know")


def test_chinese_words(folders):
    dual = dual_of("chinese-clip", folders["chinese-clip"])
    _, mask = dual.encode_text([HAN, HAN[:2]])
    assert mask.sum(1).tolist() == [1 + 8 + len(HAN), 1 + 8 + 2]  # CLS, a photo of a '', SEP
    assert distinguishes(dual, HAN[:2], HAN[1::-1])


@every
def test_another_kind(name, folders, tmp_path):
    kinds = sorted({family.kind for family in FAMILIES.values()} - {CASES[name].kind, "metaclip2"})
    copy = shutil.copytree(folders[name], tmp_path / "copy")
    for file in ("vocab.json", "vocab.txt", "spiece.model", "tokenizer.json"):
        (copy / file).touch()
    for kind in kinds:
        remedy = f"set dual.kind={CASES[name].kind}, or pass a "
        model_type = CASES[name].model_type
        refused(
            lambda kind=kind: load_dual(DualConfig.of(kind=kind, model=str(copy))), f"model_type '{model_type}'", remedy
        )
    config = json.loads((copy / "config.json").read_text()) | {"model_type": "align"}
    (copy / "config.json").write_text(json.dumps(config))
    refused(lambda: load_of(name, copy), "model_type 'align'", *FAMILIES, FAMILIES[CASES[name].model_type].title[:6])


@every
def test_weights_of_one_tower_only(name, folders, tmp_path, capfd):
    copy = shutil.copytree(folders[name], tmp_path / "copy")
    weights = load_file(copy / "model.safetensors")
    text = {key: tensor for key, tensor in weights.items() if not key.startswith("vision_model.")}
    save_file(text, copy / "model.safetensors", {"format": "pt"})
    refused(
        lambda: load_of(name, copy), f"{len(weights) - len(text)} weights are missing, such as vision", "both towers"
    )
    (copy / "model.safetensors").write_bytes(b"not weights")
    refused(lambda: load_of(name, copy), "not a whole", "checkpoint")
    assert capfd.readouterr().err == ""


def test_a_folder_without_its_tokenizer(folders, tmp_path):
    copy = shutil.copytree(folders["chinese-clip"], tmp_path / "copy")
    (copy / "tokenizer.json").unlink()
    refused(lambda: load_of("chinese-clip", copy), "lacks vocab.txt or tokenizer.json", "hf download OFA-Sys/")


def test_image_tokens_of_another_width(tmp_path):
    refused(
        lambda: load_of("siglip", make_tiny("siglip", tmp_path / "odd", hidden_size=48)),
        "32",
        "48",
        "one width",
        "such as",
    )


def test_another_towers_tokenizer(tmp_path):
    large = make_tiny("siglip", tmp_path / "large", tokenizer=tiny_gemma_tokenizer(lower=True))
    small = make_tiny("siglip", tmp_path / "small")
    for file in ("config.json", "model.safetensors"):
        shutil.copy(small / file, large / file)
    refused(lambda: load_of("siglip", large), "a tokenizer of", "pass a checkpoint with its own spiece.model")


def test_sentencepiece_missing(folders, monkeypatch):
    def missing(*args, **options):
        raise ImportError("SiglipTokenizer requires the SentencePiece library")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", missing)
    refused(lambda: load_of("siglip", folders["siglip"]), "sentencepiece", "pip install ./weights '.[train,clip]'")


def test_transformers_too_old(folders, monkeypatch):
    monkeypatch.setitem(FAMILIES, "metaclip_2", replace(FAMILIES["metaclip_2"], model="MetaClip3Model"))
    refused(
        lambda: load_of("metaclip2", folders["metaclip2"]), "no MetaClip3Model", "pip install --upgrade transformers"
    )


# --- stage 1 ----------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _few_words_to_validate_on(monkeypatch):
    monkeypatch.setattr("dptr.training.pretrain.VALIDATION", 20)


def recipe_of(name, folder, *overrides):
    return load_recipe(
        PretrainRecipe,
        None,
        [
            "run.steps=2", "run.batch_size=8", "run.validate_every=2", "run.save_every=2", "run.log_every=1",
            "run.device=cpu", "run.tensorboard=false", "run.precision=no", "model.decoder.depth=1",
            "model.decoder.heads=2", "model.max_length=5",
            "corpus.sources=[{kind=\"pattern\", patterns=[\"random\"]}]", "model.charset=36",
            f"dual.kind={CASES[name].kind}", f"dual.model={json.dumps(str(folder))}", "orp.strength=0", *overrides,
        ],
    )  # fmt: skip


@pytest.mark.parametrize("name", ["siglip2-naflex", "chinese-clip"])
def test_stage_1_with_a_bank_of_its_own(name, folders, tmp_path, capsys):
    dual = dual_of(name, folders[name])
    photographs = write_photographs(tmp_path / "photographs", 4)
    bank = build_bank(dual, sorted(photographs.iterdir()), tmp_path / "bank.safetensors")
    assert bank.tokens.shape == (4, 17, 32)
    recipe = recipe_of(
        name, folders[name], "orp.strength=0.1", f"orp.bank={json.dumps(str(tmp_path / 'bank.safetensors'))}"
    )
    model = pretrain(recipe, tmp_path / "run")
    assert json.loads((model / "card.json").read_text())["results"]
    said = capsys.readouterr().err
    assert "ORP 0.1 from a bank of 4 images" in said and "warning" not in said


@pytest.mark.parametrize(("prompt", "case"), [("marked", True), ("spelled", False)])
def test_what_siglip_does_not_see_is_warned_about(prompt, case, folders, tmp_path, capsys):
    overrides = ("run.steps=1", "model.charset=94", "model.max_length=2", f"dual.prompt={prompt}")
    pretrain(recipe_of("siglip", folders["siglip"], *overrides), tmp_path / "run")
    said = capsys.readouterr().err
    assert "does not tell '.' from ','" in said
    assert ("does not tell 'A' from 'a'" in said) == case


def test_an_unknown_character_of_the_charset_ends_a_run_before_it_begins(folders, tmp_path):
    (tmp_path / "charset.txt").write_text("abж")
    recipe = recipe_of("chinese-clip", folders["chinese-clip"], f"model.charset={tmp_path / 'charset.txt'}")
    refused(lambda: pretrain(recipe, tmp_path / "run"), "'жж'", "does not know", "model.charset")
    assert not (tmp_path / "run").exists()
