"""Checkpoints: what is in them, what comes back, what moves to another charset, and what is refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from helpers_reference import loud
from helpers_train import initialized
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dptr.config.data import InitConfig
from dptr.config.model import DecoderModelConfig, FMUConfig, GlyphConfig, ModelConfig, PARSeqConfig, SVTRConfig
from dptr.config.render import CorpusConfig, SourceConfig
from dptr.config.train import FinetuneRecipe, ORPConfig, PretrainRecipe, RunConfig
from dptr.dual.glyph.model import GlyphDual, GlyphModel, save_glyph
from dptr.models.checkpoint import card_of, digest_tensors, load_recognizer, open_checkpoint, save_checkpoint, transfer
from dptr.models.recognizer import Recognizer, build_decoder, build_recognizer
from dptr.text.charset import Charset
from dptr.text.tokenizer import Tokenizer
from dptr.utils.errors import UserError

ABC = Charset("abc", ("a", "b", "c", "Ω"))
ENCODER = SVTRConfig(size="nano", height=16, width=32)
CONFIG = ModelConfig(
    encoder=ENCODER,
    fmu=FMUConfig(queries=6, heads=2),
    decoder=PARSeqConfig(dim=16, depth=1, heads=2),
    charset="36",
    max_length=5,
)
CARD = {"name": "test", "trained_on": ["nothing"]}


def fresh(seed: int = 0, characters: int = 4) -> Recognizer:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return loud(build_recognizer(CONFIG, characters), seed, 0.3).eval()


def decoder_of(charset: Charset, seed: int, config: ModelConfig = CONFIG) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return loud(build_decoder(config, len(charset)), seed, 0.3).eval()


def pixels(count: int = 6) -> Tensor:
    return torch.rand(count, 3, 16, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


def recognizer(folder: Path, half: bool = False) -> Path:
    save_checkpoint(folder / "model", "recognizer", fresh(), CONFIG, ABC, {"name": "glyph"}, CARD, half)
    return folder / "model"


def stage_one(folder: Path, charset: Charset = ABC) -> Path:
    save_checkpoint(folder / "stage1", "decoder", decoder_of(charset, 0), CONFIG, charset, {"name": "glyph"}, CARD)
    return folder / "stage1"


# --- round trips ------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_round_trip(tmp_path):
    state = torch.get_rng_state()
    loaded = load_recognizer(recognizer(tmp_path))
    assert (loaded.config, loaded.card, loaded.tokenizer.charset) == (CONFIG, CARD, ABC)
    assert loaded.tokenizer.max_length == 5 and not loaded.model.training
    assert loaded.model.state_dict().keys() == fresh().state_dict().keys()
    for name, tensor in fresh().state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor), name
    torch.testing.assert_close(loaded.model(pixels()), fresh()(pixels()), atol=1e-6, rtol=1e-6)
    assert torch.equal(torch.get_rng_state(), state)  # building the model to load into draws from nobody's generator


@torch.no_grad()
def test_round_trip_in_half(tmp_path):
    folder = recognizer(tmp_path, half=True)
    whole = recognizer(tmp_path / "whole")
    loaded = load_recognizer(folder)
    for name, tensor in fresh().state_dict().items():
        expected = tensor.half().float() if tensor.is_floating_point() else tensor
        assert loaded.model.state_dict()[name].dtype == tensor.dtype
        assert torch.equal(loaded.model.state_dict()[name], expected), name
    assert (folder / "model.safetensors").stat().st_size < 0.6 * (whole / "model.safetensors").stat().st_size


def test_a_folder_holds_settings_charset_and_safetensors_and_no_pickle(tmp_path):
    folder = recognizer(tmp_path)
    assert sorted(file.name for file in folder.iterdir()) == ["card.json", "config.json", "model.safetensors"]
    described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert described["kind"] == "recognizer" and described["charset"]["characters"] == "abcΩ"
    assert ModelConfig.model_validate(described["model"]) == CONFIG
    assert load_file(folder / "model.safetensors").keys() == fresh().state_dict().keys()
    for file in folder.iterdir():
        data = file.read_bytes()
        assert not data.startswith((b"\x80", b"PK")) and b"torch._utils" not in data


def test_a_pickle_is_refused_and_not_run(tmp_path):
    ran = tmp_path / "ran"

    class Trap:
        def __reduce__(self):
            return (Path.touch, (ran,))

    folder = recognizer(tmp_path)
    (folder / "model.safetensors").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_recognizer(folder)
    torch.save(Trap(), folder / "model.safetensors")
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_recognizer(folder)
    assert not ran.exists()


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("exported", [True, False])
def test_saving_again_replaces_the_checkpoint_and_its_export_alone(tmp_path, exported, killed):
    folder = recognizer(tmp_path)
    (folder / "README.md").write_text("mine")
    onnx = b"\x08\x08\x12\x04" + (b"dptr" if exported else b"mine")
    (folder / "model.onnx").write_bytes(onnx)
    if killed:  # between the two renames of an earlier writer
        folder.rename(tmp_path / ".replaced-00000000-model")
        (tmp_path / ".partial-00000000-model").mkdir()
    save_checkpoint(folder, "recognizer", fresh(seed=1), CONFIG, ABC, {}, {"name": "second"})
    assert card_of(folder) == {"name": "second"} and (folder / "README.md").read_text() == "mine"
    assert (folder / "model.onnx").exists() is not exported  # it would be read in place of the checkpoint
    assert [item.name for item in tmp_path.iterdir()] == ["model"]


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["CLIPModel"]}')
    with pytest.raises(UserError, match=r"not empty \(config\.json\) and no model that dptr made; pass another folder"):
        save_checkpoint(tmp_path, "recognizer", fresh(), CONFIG, ABC, {}, {})
    assert [item.name for item in tmp_path.iterdir()] == ["config.json"]


def test_stage_one_holds_the_decoder_alone(tmp_path):
    checkpoint = open_checkpoint(stage_one(tmp_path))
    assert (checkpoint.kind, checkpoint.charset, checkpoint.dual) == ("decoder", ABC, {"name": "glyph"})
    expected = {f"decoder.{name}" for name in decoder_of(ABC, 0).state_dict()}
    assert checkpoint.tensors.keys() == expected


def test_stage_one_training_leaves_the_frozen_encoder_out(tmp_path, monkeypatch):
    monkeypatch.setattr("dptr.training.pretrain.VALIDATION", 4)
    (tmp_path / "words.txt").write_text("\n".join(["abba", "cab", "bac", "acc", "Ω", "bb", "cbc"]), encoding="utf-8")
    (tmp_path / "abc").write_text("abcΩ", encoding="utf-8")
    recipe = PretrainRecipe(
        run=RunConfig(steps=2, batch_size=4, device="cpu", precision="no", tensorboard=False),
        model=CONFIG.model_copy(update={"charset": str(tmp_path / "abc")}),
        corpus=CorpusConfig(sources=(SourceConfig(kind="file", path=str(tmp_path / "words.txt")),), heldout=0),
        orp=ORPConfig(strength=0),
    )
    from dptr.training.pretrain import pretrain

    config = GlyphConfig(dim=16, encoder=ENCODER, heads=2, max_length=5)
    dual = GlyphDual(GlyphModel(config, 4), ABC, config, "tiny", "0123")
    checkpoint = open_checkpoint(pretrain(recipe, tmp_path / "run", dual=dual))
    assert checkpoint.tensors.keys() == {f"decoder.{name}" for name in decoder_of(ABC, 0).state_dict()}
    assert checkpoint.dual == {"kind": "glyph", "name": "tiny", "fingerprint": "0123"}


# --- from charset to charset ------------------------------------------------------------------------------------------


def rows_of(decoder: nn.Module, charset: Charset) -> dict[str, dict[str, Tensor]]:
    """By parameter, the row of each symbol by its meaning."""
    names = ["EOS", *charset.characters, "BOS", "PAD"]
    state = decoder.state_dict()
    return {name: dict(zip(names, state[name], strict=False)) for name in decoder.per_character()}


CHARSETS = {
    "same": "abcΩ",
    "reordered": "Ωcab",
    "larger": "xaybcΩz",
    "smaller": "cΩ",
    "overlapping": "qaxc",
    "disjoint": "xyz",
}


@pytest.mark.parametrize("characters", CHARSETS.values(), ids=CHARSETS)
def test_rows_move_with_their_character(tmp_path, characters):
    charset = Charset("new", tuple(characters))
    before, after = decoder_of(charset, 1), decoder_of(charset, 1)
    left_fresh, fitted = transfer(after, open_checkpoint(stage_one(tmp_path)), charset)
    assert fitted == []
    assert left_fresh == [character for character in characters if character not in "abcΩ"]
    source = decoder_of(ABC, 0)
    old, start, new = rows_of(source, ABC), rows_of(before, charset), rows_of(after, charset)
    assert set(new) == {"embedding.weight", "head.weight", "head.bias"}
    for name, rows in new.items():
        assert len(rows) == len(charset) + (3 if name == "embedding.weight" else 1)
        for symbol, row in rows.items():
            assert torch.equal(row, start[name][symbol] if symbol in left_fresh else old[name][symbol]), (name, symbol)
    for name, tensor in source.state_dict().items():
        if name not in new:
            assert torch.equal(after.state_dict()[name], tensor), name


@torch.no_grad()
def test_a_reordered_charset_reads_the_same(tmp_path):
    charset = Charset("new", tuple("Ωcab"))
    decoder = decoder_of(charset, 1)
    transfer(decoder, open_checkpoint(stage_one(tmp_path)), charset)
    memory = torch.randn(24, 6, 16, generator=torch.Generator().manual_seed(2))
    read = [
        Tokenizer(each, 5).decode(part.decode(memory, None).softmax(-1).numpy())
        for each, part in ((ABC, decoder_of(ABC, 0)), (charset, decoder))
    ]
    assert [word.text for word in read[0]] == [word.text for word in read[1]]
    assert len({word.text for word in read[0]}) > 5


def test_a_recognizers_decoder_can_be_taken(tmp_path):
    decoder = decoder_of(ABC, 1)
    assert transfer(decoder, open_checkpoint(recognizer(tmp_path)), ABC) == ([], [])
    for name, tensor in fresh().decoder.state_dict().items():
        assert torch.equal(decoder.state_dict()[name], tensor)


def test_half_moves_as_float(tmp_path):
    folder = recognizer(tmp_path, half=True)
    decoder = decoder_of(Charset("new", ("b",)), 1)
    transfer(decoder, open_checkpoint(folder), Charset("new", ("b",)))
    assert {tensor.dtype for tensor in decoder.state_dict().values()} == {torch.float32}
    assert torch.equal(decoder.embedding.weight[1], fresh().decoder.embedding.weight[2].half().float())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"dim": 24}, "positions (1, 6, 16) where (1, 6, 24) is needed"),
        ({"depth": 2}, "layers.1.norm_query.weight is missing"),
    ],
)
def test_a_decoder_of_another_shape_is_refused(tmp_path, change, named):
    config = CONFIG.model_copy(update={"decoder": CONFIG.decoder.model_copy(update=change)})
    folder = stage_one(tmp_path)
    with pytest.raises(UserError) as caught:
        transfer(decoder_of(ABC, 1, config), open_checkpoint(folder), ABC)
    message = str(caught.value)
    assert str(folder) in message and "settings that they were trained with" in message and "\n" not in message
    assert named in message


def test_weights_of_another_max_length_than_the_folder_says_are_refused(tmp_path):
    folder = stage_one(tmp_path)
    longer = {key: value for key, value in dumped(max_length=9).items() if key in DecoderModelConfig.model_fields}
    edit(model=longer)(folder)
    with pytest.raises(
        UserError, match="positions has 6 rows where the checkpoint's max_length = 9 needs 10"
    ) as caught:
        transfer(decoder_of(ABC, 1), open_checkpoint(folder), ABC)
    assert str(folder) in str(caught.value)


def test_weights_of_another_charset_than_the_folder_says_are_refused(tmp_path):
    folder = stage_one(tmp_path)
    edit(charset={"name": "ab", "characters": "ab"})(folder)
    with pytest.raises(UserError, match="7 rows where the checkpoint's 2 characters need 5") as caught:
        transfer(decoder_of(ABC, 1), open_checkpoint(folder), ABC)
    assert str(folder) in str(caught.value)


# --- stage 1 to stage 2 -----------------------------------------------------------------------------------------------


def glyph_folder(folder: Path) -> Path:
    config = GlyphConfig(dim=16, encoder=ENCODER, heads=2, max_length=5)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        save_glyph(folder / "glyph", loud(GlyphModel(config, 4)), ABC, config, {})
    return folder / "glyph"


@pytest.mark.parametrize("parts", [(), ("decoder",), ("glyph",), ("decoder", "glyph"), ("model",)])
def test_stage_two_names_what_it_leaves_fresh(tmp_path, parts):
    folders = {"decoder": stage_one, "glyph": glyph_folder, "model": recognizer}
    init = InitConfig(**{part: str(folders[part](tmp_path)) for part in parts})
    model = fresh(seed=9)
    messages = initialized(model, FinetuneRecipe(model=CONFIG, init=init), ABC)
    begun = {"encoder and FMU": {"model", "glyph"} & set(parts), "decoder": {"model", "decoder"} & set(parts)}
    left = [name for name, source in begun.items() if not source]
    keys = {"encoder and FMU": ["encoder.*", "fmu.*"], "decoder": ["decoder.*"]}
    named = [key for name in left for key in keys[name]]
    count = sum(f"{name.split('.')[0]}.*" in named for name in model.state_dict())
    assert [line for line in messages if "fresh" in line] == [f"fresh: {', '.join(named)} ({count} tensors)"] * bool(
        left
    )
    messages = "\n".join(messages)
    assert all(init_path in messages for init_path in (init.decoder, init.glyph, init.model) if init_path)
    untouched = fresh(seed=9).state_dict()
    for name, tensor in model.state_dict().items():
        part = {"encoder": "encoder and FMU", "fmu": "encoder and FMU", "decoder": "decoder"}[name.split(".")[0]]
        if part in left:
            assert torch.equal(tensor, untouched[name]), name
        elif tensor.is_floating_point() and "running" not in name:
            assert not torch.equal(tensor, untouched[name]), name


def test_stage_two_names_fresh_characters(tmp_path):
    charset = Charset("new", tuple("abcxΩy"))
    init = InitConfig(decoder=str(stage_one(tmp_path)))
    model = fresh(characters=6)
    messages = initialized(model, FinetuneRecipe(model=CONFIG, init=init), charset)
    assert any("fresh characters: xy" in line for line in messages)


def test_a_whole_model_and_parts_contradict(tmp_path):
    init = InitConfig(model=str(recognizer(tmp_path)), decoder=str(stage_one(tmp_path)))
    with pytest.raises(UserError, match="one or the other"):
        initialized(fresh(), FinetuneRecipe(model=CONFIG, init=init), ABC)


def test_a_stage_one_decoder_is_no_whole_model(tmp_path):
    init = InitConfig(model=str(stage_one(tmp_path)))
    with pytest.raises(UserError, match=r"init\.decoder"):
        initialized(fresh(), FinetuneRecipe(model=CONFIG, init=init), ABC)


# --- what is refused --------------------------------------------------------------------------------------------------


def edit(**changes):
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def tensors(change):
    def apply(folder: Path) -> None:
        path = folder / "model.safetensors"
        held = load_file(path)
        change(held)
        save_file(held, path)

    return apply


def cut(name: str, keep: float):
    def change(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(keep * len(data))])

    return change


def dumped(**changes) -> dict:
    """The settings as a checkpoint holds them, changed."""
    return CONFIG.model_copy(update=changes).model_dump(mode="json")


SPELLER = {key: value for key, value in dumped().items() if key in DecoderModelConfig.model_fields}
WIDER = dumped(decoder=CONFIG.decoder.model_copy(update={"dim": 24}))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda folder: (folder / "config.json").unlink(), ["neither a shipped name", "dptr models"]),
        (lambda folder: (folder / "config.json").write_text("[]"), ["config.json", "damaged"]),
        (cut("config.json", 0.5), ["config.json", "not valid JSON"]),
        (cut("config.json", 0.0), ["config.json", "not valid JSON"]),
        (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00"), ["config.json"]),
        (lambda folder: (folder / "model.safetensors").unlink(), ["model.safetensors"]),
        (cut("model.safetensors", 0.9), ["model.safetensors", "not a whole safetensors file"]),
        (cut("model.safetensors", 0.001), ["model.safetensors", "not a whole safetensors file"]),
        (cut("model.safetensors", 0.0), ["model.safetensors", "not a whole safetensors file"]),
        (edit(format=3), ["checkpoint format 3", "format 1 and 2"]),
        (edit(format=None), ["checkpoint format None"]),
        (edit(kind="glyph"), ["'glyph' checkpoint", "dptr pretrain"]),
        (edit(kind="decoder", model=SPELLER), ["stage 1 decoder", "dptr finetune --set init.decoder="]),
        (edit(kind="decoder"), ["config.json", "model.encoder"]),
        (edit(model=None), ["config.json", "model"]),
        (edit(model={**dumped(), "queries": 3}), ["config.json", "model.queries"]),
        (edit(model=dumped(max_length=0)), ["model.max_length"]),
        (edit(charset=None), ["config.json"]),
        (edit(charset={"name": "abc", "characters": "abb"}), ["config.json", "'b' appears twice"]),
        (edit(charset={"name": "abc", "characters": "abcde"}), ["decoder.", "(7, 16)", "(8, 16)"]),
        (edit(model=WIDER), ["fmu.queries (1, 6, 16)", "(1, 6, 24) is needed"]),
        (edit(model=dumped(encoder=ENCODER.model_copy(update={"kind": "vit"}))), ["'vit' has no key 'max_width'"]),
        (tensors(lambda held: held.pop("decoder.head.bias")), ["decoder.head.bias is missing"]),
        (tensors(lambda held: held.update(extra=torch.zeros(1))), ["extra is not part of this model"]),
        (cut("card.json", 0.5), ["card.json", "not valid JSON"]),
    ],
)
def test_damaged_checkpoints_are_refused_in_a_line(tmp_path, damage, named):
    folder = recognizer(tmp_path)
    damage(folder)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(UserError) as caught:
        load_recognizer(folder)
    message = str(caught.value)
    assert all(part in message for part in named) and "\n" not in message
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_name_that_does_not_ship():
    with pytest.raises(UserError, match=r"model 'dptr-fr': neither a shipped name \(.*dptr-en.*\) nor a folder"):
        load_recognizer("dptr-fr")


@pytest.mark.parametrize(
    ("held", "passed"),
    [("model", "."), ("finetune/model", "."), ("finetune/model", "model.onnx"), ("", "model.onnx")],
)
def test_a_run_is_named_in_place_of_its_model(held, passed, tmp_path):
    """As ``dptr finetune`` and ``dptr new-language`` write them."""
    if held:
        recognizer((tmp_path / held).parent)
    (tmp_path / "model.onnx").touch()
    with pytest.raises(UserError, match="the 'model' folder that training wrote") as caught:
        load_recognizer(tmp_path / passed)
    assert (f"such as {tmp_path / held}" in str(caught.value)) == bool(held)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for target in (tmp_path / "file", tmp_path / "file" / "model"):
        with pytest.raises(UserError, match="cannot write"):
            save_checkpoint(target, "recognizer", fresh(), CONFIG, ABC, {}, {})


@pytest.mark.parametrize("spelling", ["recogniser", "recognizer"])
def test_either_spelling_of_the_kind_is_read(tmp_path, spelling):
    """Folders hold the former, which older versions of dptr read too."""
    folder = recognizer(tmp_path)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["kind"] == "recognizer"
    (folder / "config.json").write_text(json.dumps({**config, "kind": spelling}), encoding="utf-8")
    assert open_checkpoint(folder).kind == "recognizer"


def test_the_digest_of_tensors_changes_with_names_types_shapes_and_values():
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(1), "c": torch.ones(2, dtype=torch.bfloat16)}
    digest = digest_tensors(tensors)
    assert digest == digest_tensors(dict(reversed(tensors.items()))) and len(digest) == 16
    changes = [
        {"a": torch.arange(6.0).reshape(3, 2)},
        {"a": torch.arange(6.0).reshape(2, 3).half()},
        {"a": torch.tensor([[0.0, 1, 2], [3, 4, 5.0001]])},
        {"b": torch.tensor(2)},
        {"d": torch.zeros(1)},
    ]
    others = {digest_tensors(tensors | change) for change in changes}
    assert len(others) == len(changes) and digest not in others
