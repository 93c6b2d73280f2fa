"""Settings of labeled crops, and of the models that training starts from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dptr.config.base import Config


class InitConfig(Config):
    """Initial models of stage 2: folders or shipped names; empty = fresh weights."""

    model: str = ""  # a whole recognizer
    decoder: str = ""  # a stage 1 checkpoint, or any recognizer
    glyph: str = ""  # image encoder and FMU from a glyph dual encoder
    # Image encoder of PP-OCRv6's small recognizer: "rapidocr" (from that package), or its ONNX file. CTC over image
    # tokens also gets its head, unless a decoder is named.
    encoder: str = ""


class AlignInitConfig(Config):
    """Initial models of alignment: folders or shipped names; empty = fresh weights."""

    decoder: str = ""  # of co-training: a stage 1 checkpoint, or any recognizer
    glyph: str = ""  # a glyph dual encoder; its characters keep their weights


class AdaptInitConfig(Config):
    """The initial model of ``dptr adapt``."""

    model: str = "dptr-en"  # a recognizer: a shipped name or a folder


class DataConfig(Config):
    """Labeled crops for stage 2."""

    train: tuple[str, ...] = ()  # folders with labels.tsv, LMDBs, or shards (a folder, a file, an address)
    weights: tuple[Annotated[float, Field(gt=0)], ...] = ()  # one per set of train; empty = by number of crops
    # Folder of decoded crops, which are then read from disk; for shards, of the result of their survey.
    cache: str = ""
    window: int = Field(8192, ge=1, le=10_000_000)  # crops of shards in memory, which are shuffled
    bucket: int = Field(1, ge=1, le=100_000)  # batches whose words are sorted by length together; 1 = unsorted
    validation: tuple[str, ...] = ()  # empty = a part of train
    validation_share: float = Field(0.1, ge=0, lt=1)
    # By a hash of each picture; or "order": by a permutation of all crops, which runs of older versions need.
    validation_split: Literal["picture", "order"] = "picture"
    extend_charset: int = Field(0, ge=0)  # add characters that this many labels of train have; 0 = none
    allow_empty: bool = False  # keep crops with an empty label, which show no text
    max_crops: int = Field(0, ge=0)  # train on the first n crops of a seeded order; 0 = all
    rendered: float = Field(0.0, ge=0, le=1)  # share of each batch that is rendered
    augment: float = Field(0.5, ge=0, le=1)  # strength of augmentation on labeled crops; 0 = off
    pack: str = ""  # crops from dptr synth, used instead of rendering during training


class DistillationConfig(Config):
    """A teacher in addition to labels; see ``dptr.training.distillation``."""

    model: str = ""  # a folder or a shipped name; empty = none
    weight: float = Field(0.5, ge=0, le=1)  # of its part of the loss
    temperature: float = Field(2.0, gt=0)
