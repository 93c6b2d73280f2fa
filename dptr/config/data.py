"""Settings of labeled crops, and of what a training starts from."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dptr.config.model import Config


class InitConfig(Config):
    """Where stage 2 starts: folders or shipped names; empty = fresh."""

    model: str = ""  # a whole recogniser to go on with
    decoder: str = ""  # a stage 1 checkpoint, or any recogniser
    glyph: str = ""  # image encoder and FMU from a glyph dual encoder


class DataConfig(Config):
    """Labelled crops for stage 2."""

    train: tuple[str, ...] = ()  # folders with labels.tsv, or LMDBs
    weights: tuple[Annotated[float, Field(gt=0)], ...] = ()  # one a set of train; empty = by their numbers of crops
    cache: str = ""  # a folder where decoded crops are kept, and read from in place of memory
    bucket: int = Field(1, ge=1)  # batches whose words are sorted by length together; 1 = as they come
    validation: tuple[str, ...] = ()  # empty = a seeded part of train
    validation_share: float = Field(0.1, ge=0, lt=1)
    grow: int = Field(0, ge=0)  # characters that so many labels of train hold are added to the charset; 0 = none
    limit: int = Field(0, ge=0)  # use only the first n training crops of a seeded order; 0 = all
    rendered: float = Field(0.0, ge=0, le=1)  # share of each batch that is rendered
    augment: float = Field(0.5, ge=0, le=1)  # strength of augmentation on labelled crops; 0 = off
    pack: str = ""  # crops rendered before by dptr synth, in place of rendering them during training


class DistilConfig(Config):
    """A recogniser to learn from beside the labels; see ``dptr.training.distillation``."""

    model: str = ""  # a folder or a shipped name; empty = none
    weight: float = Field(0.5, ge=0, le=1)  # its part of the loss
    temperature: float = Field(2.0, gt=0)
