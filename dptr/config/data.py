"""Settings of labeled crops, and of what a training starts from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dptr.config.base import Config


class InitConfig(Config):
    """Where stage 2 starts: folders or shipped names; empty = fresh."""

    model: str = ""  # a whole recognizer to go on with
    decoder: str = ""  # a stage 1 checkpoint, or any recognizer
    glyph: str = ""  # image encoder and FMU from a glyph dual encoder
    # Image encoder of PP-OCRv6's small recognizer: "rapidocr" (the package's), or its ONNX file; for CTC over image
    # tokens its head too, unless a decoder is named.
    encoder: str = ""


class AlignInitConfig(Config):
    """Where alignment starts: folders or shipped names; empty = fresh."""

    decoder: str = ""  # of co-training: a stage 1 checkpoint, or any recognizer
    glyph: str = ""  # a glyph dual encoder; characters that it knows keep what it knows


class AdaptInitConfig(Config):
    """What ``dptr adapt`` starts from."""

    model: str = "dptr-en"  # a recognizer: a shipped name or a folder


class DataConfig(Config):
    """Labeled crops for stage 2."""

    train: tuple[str, ...] = ()  # folders with labels.tsv, LMDBs, or shards (a folder, a file, an address)
    weights: tuple[Annotated[float, Field(gt=0)], ...] = ()  # one a set of train; empty = by their numbers of crops
    # A folder where decoded crops are kept, and read from in place of memory; of shards what is in them.
    cache: str = ""
    window: int = Field(8192, ge=1, le=10_000_000)  # crops of shards that are shuffled together, and are in memory
    bucket: int = Field(1, ge=1, le=100_000)  # batches whose words are sorted by length together; 1 = as they come
    validation: tuple[str, ...] = ()  # empty = a part of train
    validation_share: float = Field(0.1, ge=0, lt=1)
    # Which part: by a hash of each picture, or by a permutation of all crops, as before; runs begun then need order.
    validation_split: Literal["picture", "order"] = "picture"
    extend_charset: int = Field(0, ge=0)  # characters that so many labels of train hold are added to it; 0 = none
    allow_empty: bool = False  # a crop with an empty label shows no text, nothing is to be read; off = it is left out
    max_crops: int = Field(0, ge=0)  # train on the first n crops of a seeded order; 0 = all
    rendered: float = Field(0.0, ge=0, le=1)  # share of each batch that is rendered
    augment: float = Field(0.5, ge=0, le=1)  # strength of augmentation on labeled crops; 0 = off
    pack: str = ""  # crops rendered before by dptr synth, in place of rendering them during training


class DistillationConfig(Config):
    """A recognizer to learn from beside the labels; see ``dptr.training.distillation``."""

    model: str = ""  # a folder or a shipped name; empty = none
    weight: float = Field(0.5, ge=0, le=1)  # its part of the loss
    temperature: float = Field(2.0, gt=0)
