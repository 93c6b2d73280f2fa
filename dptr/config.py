"""Every recipe as frozen pydantic models, with their defaults; ``dptr.recipe_file`` reads them from TOML."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dptr.widths import STEP


class Config(BaseModel):
    """Base of every recipe part: frozen, and a key it does not know is an error."""

    # charset = 36 means "36"
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, allow_inf_nan=False)


def check_widest(width: int, widest: int) -> None:
    """Crops grow from ``width`` to ``widest`` in whole steps.

    Raises:
        ValueError: they do not.
    """
    if widest and (widest < width or (widest - width) % STEP):
        raise ValueError(
            f"widest = {widest}: crops grow from width = {width} in steps of {STEP} pixels; set widest to 0 or to one "
            f"of {width + STEP}, {width + 2 * STEP}, {width + 3 * STEP}, ..."
        )


class SourceConfig(Config):
    """One source of words in a corpus mixture."""

    kind: Literal["wordfreq", "file", "labels", "pattern"]
    weight: float = Field(1.0, gt=0)
    language: str = "en"  # wordfreq: language code
    top: int = Field(200_000, gt=0)  # wordfreq: the most frequent n words
    flatten: float = Field(0.5, ge=0, le=1)  # wordfreq: drawn with frequency ** (1 - flatten); 1 = uniform
    path: str = ""  # file: text or .gz, a word a line; labels: a folder with labels.tsv
    patterns: tuple[str, ...] = ("number", "price", "date", "time", "phone", "plate", "url", "email", "code", "random")


class CorpusConfig(Config):
    """Words in: sources mixed by weight, case styles, a held-out part by word."""

    sources: tuple[SourceConfig, ...] = (
        SourceConfig(kind="wordfreq", weight=0.75),
        SourceConfig(kind="pattern", weight=0.25),
    )
    heldout: float = Field(0.02, ge=0, lt=1)  # share of words never drawn by split "train"
    upper: float = Field(0.35, ge=0, le=1)  # case styles of cased words: UPPER, Title, mIxEd; the rest lower
    title: float = Field(0.30, ge=0, le=1)
    mixed: float = Field(0.03, ge=0, le=1)
    punctuation: float = Field(0.05, ge=0, le=1)  # share of words that get a sign before or after


class RenderConfig(Config):
    """The renderer: where fonts and backgrounds come from, and how likely each effect is.

    Effects that make a word hard to read are as rare as a small recogniser learns most from (docs/RESULTS.md, "What
    rendered crops are worth").
    """

    height: int = Field(32, ge=8)  # pixels
    width: int = Field(128, ge=8)
    widest: int = Field(0, ge=0)  # pixels; longer words keep their shape up to it (dptr.widths); 0 = all crops of width
    fonts: tuple[str, ...] = ()  # folders or files; empty = those of this system, if any, else the embedded ones
    font_split: Literal["all", "train", "heldout"] = "all"  # by font family, one in ten held out
    backgrounds: str = ""  # a folder of photographs; empty = procedural grounds only
    photograph: float = Field(0.3, ge=0, le=1)  # share of crops on a photograph, where a folder is given
    gradient: float = Field(0.2, ge=0, le=1)
    outline: float = Field(0.12, ge=0, le=1)
    shadow: float = Field(0.2, ge=0, le=1)
    texture: float = Field(0.12, ge=0, le=1)
    curve: float = Field(0.1, ge=0, le=1)
    rotation: float = Field(0.25, ge=0, le=1)
    perspective: float = Field(0.25, ge=0, le=1)
    spacing: float = Field(0.2, ge=0, le=1)
    neighbours: float = Field(0.15, ge=0, le=1)  # pieces of other words at the crop's edge
    lowres: float = Field(0.15, ge=0, le=1)
    blur: float = Field(0.2, ge=0, le=1)
    noise: float = Field(0.2, ge=0, le=1)
    jpeg: float = Field(0.3, ge=0, le=1)
    lighting: float = Field(0.25, ge=0, le=1)
    weight: float = Field(0.4, ge=0, le=1)  # strokes thicker or thinner than the font's
    slant: float = Field(0.1, ge=0, le=1)
    panel: float = Field(0.15, ge=0, le=1)  # the sign's end, a frame, stripes
    jitter: float = Field(0.03, ge=0, le=1)  # letters out of line
    initial: float = Field(0.04, ge=0, le=1)  # capitals with a taller first letter
    plain: float = Field(0.35, ge=0, le=1)  # black or white ink, whatever the ground
    vertical: float = Field(0.015, ge=0, le=1)  # turned by 90 degrees
    faint: float = Field(0.02, ge=0, le=1)  # ink hardly different from the ground
    wear: float = Field(0.03, ge=0, le=1)
    bloom: float = Field(0.05, ge=0, le=1)
    sharpen: float = Field(0.15, ge=0, le=1)
    fringe: float = Field(0.05, ge=0, le=1)  # colours that do not meet, as cheap lenses leave them
    grey: float = Field(0.04, ge=0, le=1)
    paper: float = Field(0.0, ge=0, le=1)  # grounds nearly white, as pages are
    wave: float = Field(0.0, ge=0, le=1)  # letters that go up and down
    upright: float = Field(0.0, ge=0, le=1)  # short words from top to bottom, each letter upright
    stacked: float = Field(0.0, ge=0, le=1)  # words on two lines, of texts that hold a space
    board: float = Field(0.0, ge=0, le=1)  # a whole board with a border before another ground, for words alone
    extrusion: float = Field(0.0, ge=0, le=1)  # block letters
    double_outline: float = Field(0.0, ge=0, le=1)  # of the outlined words
    defocus: float = Field(0.0, ge=0, le=1)  # disc blur, in place of ``blur``'s
    exposure: float = Field(0.0, ge=0, le=1)  # over or under
    colour_cast: float = Field(0.0, ge=0, le=1)
    glare: float = Field(0.0, ge=0, le=1)
    cast_shadow: float = Field(0.0, ge=0, le=1)  # over a part of the crop
    # Inks, of which a crop has at most one (dptr.data.synth.inks); together at most 1.
    emboss: float = Field(0.0, ge=0, le=1)  # raised or sunk letters
    neon: float = Field(0.0, ge=0, le=1)
    dots: float = Field(0.0, ge=0, le=1)  # displays of lamps
    stencil: float = Field(0.0, ge=0, le=1)
    chalk: float = Field(0.0, ge=0, le=1)
    hollow: float = Field(0.0, ge=0, le=1)  # contours
    hidden: float = Field(0.0, ge=0, le=1)  # something stands before the word

    @model_validator(mode="after")
    def _whole_steps(self) -> RenderConfig:
        check_widest(self.width, self.widest)
        return self

    @property
    def inks(self) -> dict[str, float]:
        """The share of crops of each ink, of those that have any."""
        names = ("emboss", "neon", "dots", "stencil", "chalk", "hollow", "hidden")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    @model_validator(mode="after")
    def _inks_are_shares(self) -> RenderConfig:
        if sum(self.inks.values()) > 1 + 1e-9:
            raise ValueError(f"inks {self.inks} take more than all crops; lower them to a sum of at most 1")
        return self


def plain_render(config: RenderConfig) -> RenderConfig:
    """The same fonts and size with every effect off: dark or light flat words, to start learning with."""
    return config.model_copy(update={name: 0.0 for name, value in config if isinstance(value, float)})


class TowerConfig(Config):
    """A dual encoder's image tower, as ``dptr finetune`` finds it; a checkpoint that holds it reads without the hub."""

    vision: dict[str, Any]  # its configuration in transformers
    projection: int = Field(ge=0)  # width of the joint space; 0: its tokens are not projected
    mean: tuple[float, float, float]  # of the pixels that it was trained with, a channel, from 0 to 1
    std: tuple[float, float, float]


class EncoderConfig(Config):
    """Image encoder. ``vit``: PARSeq's. ``svtr``: convolutions first, then attention; cheaper on a CPU.

    ``clip-vision``: the image tower of a dual encoder that stage 1 was taught with.
    """

    kind: Literal["vit", "svtr", "clip-vision"] = "svtr"
    size: str = "micro"  # vit: tiny, small, base; svtr: nano, micro, tiny, small
    height: int = Field(32, ge=8)
    width: int = Field(128, ge=8)
    widest: int = Field(0, ge=0)  # svtr: pixels; longer pictures keep their shape up to it; 0 = all crops of width
    model: str = ""  # clip-vision: a hub id or a folder, as dual.model
    frozen: bool = False  # clip-vision: not trained
    tower: TowerConfig | None = None  # clip-vision: filled in

    @model_validator(mode="after")
    def _whole_steps(self) -> EncoderConfig:
        check_widest(self.width, self.widest)
        return self


class FMUConfig(Config):
    """Feature Merge Unit. ``queries = 0`` leaves it out."""

    queries: int = Field(26, ge=0)
    heads: int = Field(4, ge=1)
    layers: int = Field(1, ge=1)
    count: bool = True  # image tokens are told how many characters stand left of them; not in the paper


class DecoderConfig(Config):
    """Recognition decoder; ``kind`` is a key of ``dptr.models.decoders.DECODERS``."""

    kind: str = "parseq"
    dim: int = Field(128, ge=8)
    depth: int = Field(2, ge=1)
    heads: int = Field(4, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    permutations: int = Field(6, ge=1)  # PARSeq: orders a step, in mirrored pairs
    refinements: int = Field(1, ge=0)  # PARSeq: cloze rounds after the first reading
    autoregressive: bool = True  # PARSeq, decoding: left to right, or all positions at once
    iterations: int = Field(3, ge=1)  # ABINet: how often the language model corrects the reading
    noisings: int = Field(3, ge=1)  # MDiff: noised copies of each word a training step
    steps: int = Field(3, ge=1)  # MDiff, decoding: rounds of prediction at most


class ModelConfig(Config):
    """A recogniser: encoder -> FMU -> decoder."""

    encoder: EncoderConfig = EncoderConfig()
    fmu: FMUConfig = FMUConfig()
    decoder: DecoderConfig = DecoderConfig()
    charset: str = "94"  # a named set, a language, or a file of characters
    max_length: int = Field(25, ge=1)


class GlyphConfig(Config):
    """The embedded dual encoder: character + position text tokens; image encoder + slots."""

    dim: int = Field(128, ge=8)
    encoder: EncoderConfig = EncoderConfig()
    heads: int = Field(4, ge=1)
    layers: int = Field(1, ge=1)
    count: bool = True  # see FMUConfig
    charset: str = "94"
    max_length: int = Field(25, ge=1)


class DualConfig(Config):
    """Which frozen dual encoder speaks for images. ``kind`` is a key of ``dptr.dual.DUAL_ENCODERS``."""

    kind: str = "glyph"
    model: str = "glyph-en"  # glyph: a shipped name or a folder; others: a hub id or a folder
    prompt: str = "a photo of a '{}'"  # all but glyph: a template, or a key of dptr.dual.prompts.PROMPTS
    tokens: Literal["paper", "trimmed"] = "trimmed"  # all but glyph: padding too (CLIP: 78 tokens), or without it
    cache: str = ""  # all but glyph: a folder where stage 1 keeps text tokens in float16, each word computed once
    cache_gb: float = Field(10.0, gt=0)  # how much one process may write there; words beyond it are computed each time


class ORPConfig(Config):
    """Offline Randomized Perturbation. ``strength`` is the paper's lambda; 0 turns it off."""

    bank: str = "photographs"  # a file, or the name of one beside the dual encoder's weights: photographs, residuals
    strength: float = Field(0.1, ge=0)
    # Which bank token a text token gets. shared: as published; aligned (the same slot's), symbols: banks of residuals.
    positions: Literal["shared", "per-sample", "aligned", "symbols"] = "per-sample"


class OptimConfig(Config):
    """AdamW, one-cycle, clipping, EMA."""

    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    beta2: float = Field(0.98, gt=0, lt=1)
    warmup: float = Field(0.075, ge=0, lt=1)  # share of all steps
    clip: float = Field(20.0, gt=0)  # gradient norm
    ema: float = Field(0.0, ge=0, lt=1)  # 0 = off


class RunConfig(Config):
    """What every training command has in common."""

    seed: int = Field(0, ge=0)
    steps: int = Field(2000, gt=0)
    batch: int = Field(128, gt=0)  # over all processes
    accumulate: int = Field(1, ge=1)  # pretrain, finetune: parts that a batch is computed in, one after the other
    checkpointing: bool = False  # attention layers keep their inputs alone and compute the rest again going backward
    compile: bool = False  # attention layers by torch.compile
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"  # auto: bf16 where the machine computes in it, else no
    device: Literal["auto", "cpu"] = "auto"
    workers: int = Field(1, ge=0)
    save_every: int = Field(200, gt=0)  # steps
    validate_every: int = Field(500, gt=0)
    log_every: int = Field(20, gt=0)
    tensorboard: bool = True


class TeachConfig(Config):
    """A decoder taught while the dual encoder aligns, from text tokens, from crops, or both; or there is none."""

    text: float = Field(0.0, ge=0)  # weight of spelling words from their text tokens, as stage 1 does
    images: float = Field(0.0, ge=0)  # weight of reading the rendered crops
    words: int = Field(64, gt=0)  # words a step that are spelled from text tokens, over all processes
    residuals: float = Field(0.0, ge=0)  # strength of perturbation by how this step's slots lie off their text
    decoder: DecoderConfig = DecoderConfig()  # its width is the glyph encoder's
    start: str = ""  # a stage 1 checkpoint to begin with; empty = fresh


class AlignRecipe(Config):
    """``dptr align``: train the glyph dual encoder on rendered words."""

    run: RunConfig = RunConfig()
    optim: OptimConfig = OptimConfig()
    glyph: GlyphConfig = GlyphConfig()
    corpus: CorpusConfig = CorpusConfig()
    render: RenderConfig = RenderConfig()
    teach: TeachConfig = TeachConfig()
    start: str = ""  # a glyph encoder to begin with, shipped or a folder; characters that it knows keep what it knows
    spell: float = Field(1.0, ge=0)  # weight of telling each slot's symbol from all others
    ctc: float = Field(0.5, ge=0)  # weight of the CTC auxiliary loss on image tokens
    cosine: float = Field(1.0, ge=0)  # weight of 1 - cosine between slot and text token
    negatives: int = Field(1024, ge=0)  # of larger charsets, how many symbols beside a batch's it is told from; 0 = all
    padding: float = Field(0.1, ge=0)  # weight of a PAD slot beside 1 for a character's slot
    # What the renderer knows of where each letter stands:
    columns: float = Field(1.0, ge=0)  # weight of naming the letter in each image column
    attention: float = Field(0.5, ge=0)  # weight of slots looking at their letter
    counting: float = Field(0.3, ge=0)  # weight of the error in the running count of letters
    pack: str = ""  # crops rendered before by dptr synth, in place of rendering them during training
    ramp: float = Field(0.35, ge=0, le=1)  # share of the run in which plain crops give way to full ones; with start 0


class AdaptRecipe(Config):
    """``dptr adapt``: a recogniser learns the words of a domain from text alone, its image side frozen."""

    run: RunConfig = RunConfig(steps=400, batch=128, validate_every=100, save_every=100, tensorboard=False)
    optim: OptimConfig = OptimConfig(lr=5e-4, clip=5.0)
    model: str = "dptr-en"  # a shipped name or a folder
    text: tuple[str, ...] = ()  # files of words, a word a line or between white space; a repeated word weighs more
    words: CorpusConfig = CorpusConfig(heldout=0, upper=0, title=0, mixed=0, punctuation=0)  # as they stand
    share: float = Field(0.5, gt=0, le=1)  # of each batch: words of the text; the others are words of the language
    crops: int = Field(8000, ge=1)  # pictures of words of the text, each seen once by the image side
    rehearsed: int = Field(16_000, ge=1)  # pictures of words of the language
    forget: float = Field(0.02, ge=0, le=1)  # how much of word accuracy on other words may be lost
    pack: str = ""  # pictures of words of the language, rendered before by dptr synth
    corpus: CorpusConfig = CorpusConfig()  # words of the language
    render: RenderConfig = RenderConfig()


class SynthRecipe(Config):
    """``dptr synth``: rendered crops into a pack, for training to read many times."""

    seed: int = Field(0, ge=0)
    charset: str = "94"
    max_length: int = Field(25, ge=1)
    corpus: CorpusConfig = CorpusConfig()
    render: RenderConfig = RenderConfig()


class PretrainRecipe(Config):
    """``dptr pretrain``: stage 1, the decoder learns to spell from text tokens."""

    run: RunConfig = RunConfig()
    optim: OptimConfig = OptimConfig()
    model: ModelConfig = ModelConfig()
    dual: DualConfig = DualConfig()
    orp: ORPConfig = ORPConfig()
    corpus: CorpusConfig = CorpusConfig()
    standardise: bool = False  # take the mean off text tokens and off the bank's, each side's own (dptr.dual.scale)
    bucket: int = Field(16, ge=1)  # batches whose words are sorted by length together; 1 = as they come


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
    """A recogniser to learn from beside the labels; see ``dptr.train.distil``."""

    model: str = ""  # a folder or a shipped name; empty = none
    weight: float = Field(0.5, ge=0, le=1)  # its part of the loss
    temperature: float = Field(2.0, gt=0)


class FinetuneRecipe(Config):
    """``dptr finetune``: stage 2, the whole recogniser on labelled crops."""

    run: RunConfig = RunConfig()
    optim: OptimConfig = OptimConfig()
    model: ModelConfig = ModelConfig()
    init: InitConfig = InitConfig()
    distil: DistilConfig = DistilConfig()
    data: DataConfig = DataConfig()
    corpus: CorpusConfig = CorpusConfig()
    render: RenderConfig = RenderConfig()
    encoder_lr: float = Field(1.0, ge=0)  # factors on optim.lr, by part; 0 = frozen: batch norms and dropout rest too
    fmu_lr: float = Field(1.0, ge=0)
    decoder_lr: float = Field(1.0, ge=0)
    patience: int = Field(0, ge=0)  # validations in a row without a better state, after which training ends; 0 = never
