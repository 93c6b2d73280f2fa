"""Distillation (Hinton, Vinyals, Dean 2015, arXiv 1503.02531): a recognizer also learns a larger one's predictions.

Both see the same augmented crop (a consistent teacher: Beyer et al. 2022, arXiv 2106.05237). Under teacher forcing they
also see the same known characters, so each predicted symbol has a label and the teacher's distribution. With CTC each
position of the path has the teacher's distribution, and the word has its label.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dptr.config.data import DistillationConfig
from dptr.config.model import ModelConfig
from dptr.config.size import CropSize
from dptr.models.checkpoint import Checkpoint, build_loaded
from dptr.models.decoders.base import AutoregressiveDecoder, Decoder
from dptr.models.decoders.ctc import CTC
from dptr.models.recognizer import Recognizer, build_recognizer
from dptr.text.charset import Charset
from dptr.text.direction import has_leftward
from dptr.utils.errors import UserError


@dataclass(frozen=True)
class Teacher:
    """A frozen recognizer in eval mode, and the settings of its loss.

    Attributes:
        weight: 0 (labels alone) to 1 (the teacher alone).
        temperature: above 0; values above 1 flatten the teacher's and the student's distributions.
    """

    model: Recognizer
    weight: float
    temperature: float


def open_teacher(config: DistillationConfig, checkpoint: Checkpoint, student: ModelConfig, charset: Charset) -> Teacher:
    """The teacher that a recipe names.

    Args:
        checkpoint: of ``config.model``.

    Raises:
        UserError: the checkpoint is not a recognizer; it does not predict the same symbols from the same crops as
            ``student`` (another charset, kind or direction of decoder, number of permutations, positions of CTC, or
            crop size, or a smaller ``max_length``); or the student's loss samples classes.
    """
    loaded = build_loaded(checkpoint)
    theirs, ours = loaded.config, student
    if not isinstance(loaded.model.decoder, AutoregressiveDecoder | CTC):
        raise UserError(
            f"distillation.model = '{config.model}': decoder '{theirs.decoder.kind}' predicts no character from known "
            "ones, and no path, so nothing can be learned from it; name a model with parseq, nrtr, or ctc"
        )
    if loaded.tokenizer.charset.characters != charset.characters:
        raise UserError(
            f"distillation.model = '{config.model}': it writes with {len(loaded.tokenizer.charset)} characters, this "
            f"model with {len(charset)}, or in another order; train with the charset of the one it learns from "
            "(data.extend_charset=0 adds none from labels)"
        )
    pairs = (
        ("model.decoder.kind", theirs.decoder.kind, ours.decoder.kind),
        *(
            [("model.decoder.direction", theirs.decoder.visual, ours.decoder.visual)]
            if has_leftward("".join(charset.characters))
            else []
        ),
        ("model.decoder.permutations", *(getattr(each.decoder, "permutations", 0) for each in (theirs, ours))),
        *(
            (f"model.encoder.{key}", getattr(theirs.encoder.crop_size, key), getattr(ours.encoder.crop_size, key))
            for key in CropSize.model_fields
        ),
    )
    for key, their, our in pairs:
        if their != our:
            raise UserError(
                f"distillation.model = '{config.model}': its {key} is {their!r}, not {our!r}; "
                f"set {key}={json.dumps(their)}"
            )
    if negatives := getattr(ours.decoder, "negatives", 0):
        raise UserError(
            f"model.decoder.negatives = {negatives}: distillation compares the probabilities of all characters; set it "
            "to 0"
        )
    if theirs.max_length < ours.max_length:
        raise UserError(
            f"distillation.model = '{config.model}': it reads words of {theirs.max_length} characters at most; set "
            f"model.max_length={theirs.max_length} or less"
        )
    if isinstance(loaded.model.decoder, CTC):
        with torch.device("meta"):
            ours_built = build_recognizer(student, len(charset))
        size = student.encoder.crop_size
        their_count, our_count = _count_positions(loaded.model, size), _count_positions(ours_built, size)
        if their_count != our_count:
            raise UserError(
                f"distillation.model = '{config.model}': its path has {their_count} positions for a crop of "
                f"{size.height} x {size.width}, that of this model {our_count}; name a model with the same "
                "model.encoder, model.decoder.path, and model.max_length"
            )
    return Teacher(loaded.model.eval().requires_grad_(False), config.weight, config.temperature)


def distillation_loss(
    memory: Float[Tensor, "b m d"],
    student: Decoder,
    teacher: Teacher,
    pixels: Float[Tensor, "b 3 h w"],
    targets: Int[Tensor, "b t"],
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """(1 - w) L + w T^2 KL(teacher at T || student at T), where L is the decoder's own loss.

    The divergence is averaged over the predicted symbols, or over the positions of CTC. The factor T^2 keeps the
    gradient's scale independent of the temperature T (Hinton et al. 2015, section 2).
    """
    if isinstance(student, CTC):
        assert isinstance(teacher.model.decoder, CTC)
        with torch.no_grad():
            teacher_logits = teacher.model.decoder.predict(teacher.model.memory(pixels), None).flatten(0, 1)
        logits = student.predict(memory, None).flatten(0, 1)
        label_loss = student.loss(memory, None, targets, generator)
    else:
        assert isinstance(student, AutoregressiveDecoder) and isinstance(teacher.model.decoder, AutoregressiveDecoder)
        state = generator.get_state()
        with torch.no_grad():
            teacher_logits, _ = teacher.model.decoder.teacher_forced_logits(
                teacher.model.memory(pixels), None, targets, generator
            )
        generator.set_state(state)
        logits, labels = student.teacher_forced_logits(memory, None, targets, generator)
        is_label = labels != student.pad
        logits, teacher_logits = logits[is_label], teacher_logits[is_label]
        label_loss = F.cross_entropy(logits.float(), labels[is_label])
    ours, theirs = ((each.float() / teacher.temperature).log_softmax(-1) for each in (logits, teacher_logits))
    divergence = F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    return (1 - teacher.weight) * label_loss + teacher.weight * teacher.temperature**2 * divergence


@torch.no_grad()
def _count_positions(model: Recognizer, size: CropSize) -> int:
    """Of the path of CTC for a crop of the usual size."""
    assert isinstance(model.decoder, CTC)
    device = next(model.parameters()).device
    return model.decoder.predict(model.memory(torch.zeros(1, 3, size.height, size.width, device=device)), None).shape[1]
