from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers_train import Parts
from torch.distributions import Categorical, kl_divergence

from dptr.config.data import DistillationConfig
from dptr.config.model import DecoderConfig, ModelConfig
from dptr.models.checkpoint import load_recognizer, open_checkpoint, save_checkpoint
from dptr.models.recognizer import Recognizer, build_recognizer
from dptr.text.charset import Charset, resolve_charset
from dptr.text.tokenizer import Tokenizer
from dptr.training.distillation import Teacher, distillation_loss, open_teacher
from dptr.training.finetune import finetune
from dptr.utils.errors import UserError
from dptr.utils.files import read_json

KINDS = ("parseq", "nrtr")
WORDS = ["apple", "b", "fig", "grape"]


def recognizer(parts: Parts, seed: int, **decoder: object) -> tuple[Recognizer, ModelConfig, Charset]:
    recipe = parts.recipe("finetune")
    common = {key: getattr(recipe.model.decoder, key) for key in DecoderConfig.model_fields}
    config = recipe.model.model_copy(update={"decoder": DecoderConfig.of(**{**common, **decoder})})
    if decoder.get("path") == "tokens":
        fmu, own = config.fmu.model_copy(update={"queries": 0}), config.decoder.model_copy(update={"dim": 128})
        config = config.model_copy(update={"fmu": fmu, "decoder": own})
    charset = resolve_charset(config.charset)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_recognizer(config, len(charset))
        for parameter in model.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)  # else all that is fresh predicts about the same
    return model.eval(), config, charset


def inputs(charset: Charset) -> tuple[torch.Tensor, torch.Tensor]:
    pixels = torch.rand((4, 3, 16, 32), generator=torch.Generator().manual_seed(3)) * 2 - 1
    return pixels, torch.from_numpy(Tokenizer(charset, 5).encode(WORDS))


def step_generator() -> torch.Generator:
    return torch.Generator().manual_seed(9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("weight", "temperature"), [(0.0, 2.0), (0.3, 1.0), (0.5, 2.0), (1.0, 4.0)])
def test_the_loss_is_that_of_its_definition(kind: str, weight: float, temperature: float, parts: Parts) -> None:
    student, _, charset = recognizer(parts, 0, kind=kind)
    model, _, _ = recognizer(parts, 1, kind=kind)
    pixels, targets = inputs(charset)
    loss = distillation_loss(
        student.memory(pixels), student.decoder, Teacher(model, weight, temperature), pixels, targets, step_generator()
    )
    hard, soft = [], []
    ours, wanted = student.decoder.teacher_forced_logits(student.memory(pixels), None, targets, step_generator())
    theirs, again = model.decoder.teacher_forced_logits(model.memory(pixels), None, targets, step_generator())
    assert torch.equal(wanted, again)
    for row in range(len(WORDS)):
        for place in range(wanted.shape[1]):
            if wanted[row, place] == student.decoder.pad:
                continue
            hard.append(-Categorical(logits=ours[row, place]).log_prob(wanted[row, place]))
            pair = (Categorical(logits=logits[row, place] / temperature) for logits in (theirs, ours))
            soft.append(kl_divergence(*pair))
    assert len(soft) == student.decoder.term_count(targets)
    assert torch.stack(soft).mean() > 0.1
    expected = (1 - weight) * torch.stack(hard).mean() + weight * temperature**2 * torch.stack(soft).mean()
    torch.testing.assert_close(loss, expected)
    if not weight:
        torch.testing.assert_close(loss, student.loss(pixels, targets, step_generator()))


@pytest.mark.parametrize("path", ["queries", "tokens"])
@pytest.mark.parametrize(("weight", "temperature"), [(0.0, 2.0), (0.3, 1.0), (1.0, 4.0)])
def test_the_loss_over_the_path_of_ctc(path: str, weight: float, temperature: float, parts: Parts) -> None:
    student, _, charset = recognizer(parts, 0, kind="ctc", path=path)
    model, _, _ = recognizer(parts, 1, kind="ctc", path=path)
    pixels, targets = inputs(charset)
    loss = distillation_loss(
        student.memory(pixels), student.decoder, Teacher(model, weight, temperature), pixels, targets, step_generator()
    )
    ours, theirs = (each.decoder.predict(each.memory(pixels), None) for each in (student, model))
    soft = [
        kl_divergence(*(Categorical(logits=logits[row, place] / temperature) for logits in (theirs, ours)))
        for row in range(len(WORDS))
        for place in range(ours.shape[1])
    ]
    assert torch.stack(soft).mean() > 0.1
    hard = student.loss(pixels, targets, step_generator())
    torch.testing.assert_close(loss, (1 - weight) * hard + weight * temperature**2 * torch.stack(soft).mean())


def test_orders_are_drawn_once_for_both(parts: Parts) -> None:
    """The generator ends where the plain loss leaves it, and its own twin teaches nothing."""
    student, _, charset = recognizer(parts, 0)
    pixels, targets = inputs(charset)
    one, two = step_generator(), step_generator()
    student.loss(pixels, targets, one)
    loss = distillation_loss(student.memory(pixels), student.decoder, Teacher(student, 1.0, 2.0), pixels, targets, two)
    assert torch.equal(one.get_state(), two.get_state())
    assert abs(loss.item()) < 1e-6


def test_a_student_comes_to_read_as_its_teacher_does_against_the_labels(parts: Parts) -> None:
    student, _, charset = recognizer(parts, 0)
    model, _, _ = recognizer(parts, 1)
    teacher = Teacher(model.requires_grad_(False), 1.0, 1.0)
    pixels, targets = inputs(charset)
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-2)
    losses = []
    for _ in range(150):
        loss = distillation_loss(student.memory(pixels), student.decoder, teacher, pixels, targets, step_generator())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]
    theirs, wanted = model.decoder.teacher_forced_logits(model.memory(pixels), None, targets, step_generator())
    ours, _ = student.decoder.teacher_forced_logits(student.memory(pixels), None, targets, step_generator())
    counted = wanted != student.decoder.pad
    assert (ours.argmax(-1) == theirs.argmax(-1))[counted].double().mean() > 0.9
    assert (theirs.argmax(-1) == wanted)[counted].double().mean() < 0.5


def kept(folder: Path, parts: Parts, **decoder: object) -> Path:
    model, config, charset = recognizer(parts, 1, **decoder)
    save_checkpoint(folder, "recognizer", model, config, charset, {}, {})
    return folder


def test_finetune_learns_from_it_and_neither_trains_nor_keeps_it(parts: Parts, tmp_path: Path, capsys) -> None:
    folder = kept(tmp_path / "large", parts)
    before = load_recognizer(folder).model.state_dict()
    settings = ("run.steps=2", "run.validate_every=2", "optim.ema_decay=0")
    alone = finetune(parts.recipe("finetune", *settings), tmp_path / "alone")
    taught = finetune(parts.recipe("finetune", *settings, f"distillation.model={folder}"), tmp_path / "taught")
    assert f"learns from {folder} too" in capsys.readouterr().err
    card = read_json(taught / "card.json", "card")
    assert ("what large reads" in card["trained_on"]) == bool(card["results"][0]["step"])
    one, two = (load_recognizer(each).model.state_dict() for each in (alone, taught))
    assert one.keys() == two.keys()
    after = load_recognizer(folder).model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    (state,) = (tmp_path / "taught" / "state").glob("*/tensors.safetensors")
    (other,) = (tmp_path / "alone" / "state").glob("*/tensors.safetensors")
    assert state.stat().st_size == other.stat().st_size


def test_a_teacher_that_does_not_fit(parts: Parts, tmp_path: Path) -> None:
    _, config, charset = recognizer(parts, 0)

    def refused(folder: Path, student: ModelConfig = config, own: Charset = charset) -> str:
        with pytest.raises(UserError) as caught:
            open_teacher(DistillationConfig(model=str(folder)), open_checkpoint(folder), student, own)
        return str(caught.value)

    fits = kept(tmp_path / "fits", parts)
    named = DistillationConfig(model=str(fits), weight=0.25, temperature=3)
    teacher = open_teacher(named, open_checkpoint(fits), config, charset)
    assert (teacher.weight, teacher.temperature) == (0.25, 3)
    assert not teacher.model.training and not any(each.requires_grad for each in teacher.model.parameters())
    assert "'mdiff' predicts no character" in refused(kept(tmp_path / "mdiff", parts, kind="mdiff"))
    assert "model.decoder.kind is 'ctc', not 'parseq'" in refused(kept(tmp_path / "ctc", parts, kind="ctc"))
    assert "model.decoder.kind is 'nrtr', not 'parseq'" in refused(kept(tmp_path / "nrtr", parts, kind="nrtr"))
    other = kept(tmp_path / "orders", parts, permutations=2)
    assert "set model.decoder.permutations=2" in refused(other)
    assert "36 characters, this model with 62" in refused(fits, own=resolve_charset("62"))
    longer = config.model_copy(update={"max_length": 6})
    assert "set model.max_length=5" in refused(fits, longer)
    wider = config.model_copy(update={"encoder": config.encoder.model_copy(update={"width": 64})})
    assert "model.encoder.width is 32, not 64" in refused(fits, wider)
    assert "neither a shipped name" in refused(tmp_path / "none")


@pytest.mark.parametrize("path", ["queries", "tokens"])
def test_a_teacher_with_another_path(path: str, parts: Parts, tmp_path: Path) -> None:
    folder = kept(tmp_path / path, parts, kind="ctc", path=path)
    named = DistillationConfig(model=str(folder))
    _, config, charset = recognizer(parts, 0, kind="ctc", path=path)
    assert open_teacher(named, open_checkpoint(folder), config, charset)
    other = recognizer(parts, 0, kind="ctc", path="tokens" if path == "queries" else "queries")[1]
    with pytest.raises(UserError, match=r"path has \d+ positions for a crop of 16 x 32, that of this model \d+"):
        open_teacher(named, open_checkpoint(folder), other, charset)
