"""The recipe of each training command."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, SerializeAsAny, model_validator

from dptr.config.base import Config
from dptr.config.data import AdaptInitConfig, AlignInitConfig, DataConfig, DistillationConfig, InitConfig
from dptr.config.decoders import DecoderConfig, PARSeqConfig
from dptr.config.model import LONGEST, DecoderModelConfig, DualConfig, GlyphConfig, GlyphDualConfig, ModelConfig
from dptr.config.render import CorpusConfig, RenderConfig, SourceConfig
from dptr.config.size import CropSize


class ORPConfig(Config):
    """Offline Randomized Perturbation. ``strength`` is the paper's lambda; 0 turns it off."""

    bank: str = "photographs"  # a file, or the name of one beside the dual encoder's weights: photographs, residuals
    strength: float = Field(0.1, ge=0)
    # Which bank token a text token gets. shared: as published; aligned (the same slot's), symbols: banks of residuals.
    positions: Literal["shared", "per-sample", "aligned", "symbols"] = "per-sample"
    replacement: bool = True  # whether words of a batch may draw the same picture; published: false


class OptimConfig(Config):
    """AdamW, one-cycle, clipping, EMA."""

    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    beta2: float = Field(0.98, gt=0, lt=1)
    warmup: float = Field(0.075, ge=0, lt=1)  # share of all steps
    grad_clip: float = Field(20.0, gt=0)  # largest norm of the gradient
    ema_decay: float = Field(0.0, ge=0, lt=1)  # of the weights' exponential moving average; 0 = off


class RunConfig(Config):
    """Settings of all training commands."""

    seed: int = Field(0, ge=0, lt=1 << 63)
    steps: int = Field(2000, gt=0, le=1_000_000_000)
    epochs: float = Field(0.0, ge=0, le=1_000_000)  # above 0: the number of epochs, instead of steps
    seconds: float = Field(
        0.0, ge=0
    )  # above 0: time limit, by which the learning rate is scheduled; steps are a limit too
    batch_size: int = Field(128, gt=0, le=1_000_000)  # over all processes
    gradient_accumulation_steps: int = Field(1, ge=1, le=10_000)  # parts in which a batch is computed
    sync_batch_norm: bool = False  # batch norm over the batch of all processes, not over each one's share
    activation_checkpointing: bool = False  # of attention layers: less memory, more computation
    compile: bool = False  # torch.compile for attention layers
    cuda_graph: bool = False  # on a GPU: steps as one CUDA graph, for tasks whose batches have one shape
    precision: Literal["auto", "no", "bf16", "fp16"] = (
        "auto"  # auto: bf16 if the machine has instructions for it, otherwise no
    )
    device: Literal["auto", "cpu"] = "auto"
    save_every: int = Field(200, gt=0)  # steps
    validate_every: int = Field(500, gt=0)
    log_every: int = Field(20, gt=0)
    tensorboard: bool = True

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.epochs and "steps" in self.model_fields_set:
            raise ValueError(f"epochs = {self.epochs:g} and steps = {self.steps}: set one and leave the other out")
        return self


class CropRunConfig(RunConfig):
    """Settings of training commands that read crops during training."""

    workers: int = Field(1, ge=0, le=256)  # processes that read or render crops; 0 = the training process


class CoTrainingConfig(Config):
    """Co-training of a decoder during alignment, on text tokens, crops, or both; off if both weights are 0."""

    text: float = Field(0.0, ge=0)  # weight of spelling words from their text tokens, as stage 1 does
    images: float = Field(0.0, ge=0)  # weight of reading the rendered crops
    words: int = Field(64, gt=0, le=1_000_000)  # words per step to spell from text tokens, over all processes
    residuals: float = Field(0.0, ge=0)  # strength of perturbation of text tokens by this step's residuals
    decoder: SerializeAsAny[DecoderConfig] = PARSeqConfig()  # as wide as the glyph encoder


class AlignRecipe(Config):
    """``dptr align``: train the glyph dual encoder on rendered words."""

    run: CropRunConfig = CropRunConfig()
    optim: OptimConfig = OptimConfig()
    glyph: GlyphConfig = GlyphConfig()
    init: AlignInitConfig = AlignInitConfig()
    corpus: CorpusConfig = CorpusConfig()
    render: RenderConfig = RenderConfig()
    co_training: CoTrainingConfig = CoTrainingConfig()
    decomposition: str = ""  # of the charset's characters, as in FinetuneRecipe
    spell: float = Field(1.0, ge=0)  # weight of the cross-entropy of each slot's symbol
    ctc: float = Field(0.5, ge=0)  # weight of the CTC auxiliary loss on image tokens
    cosine: float = Field(1.0, ge=0)  # weight of 1 - cosine between slot and text token
    negatives: int = Field(1024, ge=0)  # symbols to sample in addition to a batch's, for larger charsets; 0 = all
    padding: float = Field(0.1, ge=0)  # weight of a PAD slot; that of a character's slot is 1
    # Losses from the letter positions that the renderer knows:
    columns: float = Field(1.0, ge=0)  # weight of classifying the letter in each image column
    attention: float = Field(0.5, ge=0)  # weight of the slots' attention to their letters
    counting: float = Field(0.3, ge=0)  # weight of the error in the running count of letters
    pack: str = ""  # crops rendered before by dptr synth, in place of rendering them during training
    ramp: float = Field(
        0.35, ge=0, le=1
    )  # share of the run in which plain crops give way to full ones; with init.glyph 0


class WordsConfig(Config):
    """Case styles and punctuation of a domain's words (``CorpusConfig``); by default words do not change."""

    heldout: float = Field(0.0, ge=0, lt=1)
    upper: float = Field(0.0, ge=0, le=1)
    title: float = Field(0.0, ge=0, le=1)
    mixed: float = Field(0.0, ge=0, le=1)
    punctuation: float = Field(0.0, ge=0, le=1)


class AdaptRecipe(Config):
    """``dptr adapt``: fine-tuning of a recognizer's decoder on words of a list."""

    run: RunConfig = RunConfig(steps=400, batch_size=128, validate_every=100, save_every=100, tensorboard=False)
    optim: OptimConfig = OptimConfig(lr=5e-4, grad_clip=5.0)
    init: AdaptInitConfig = AdaptInitConfig()
    # Files of words between white space, or of words with counts; of texts, one on each line, if the recognizer writes
    # spaces. Repeated ones have more weight.
    text: tuple[str, ...] = ()
    words: WordsConfig = WordsConfig()
    method: Literal["rendered", "slots"] = "rendered"  # slots: words are composed of slots of other words, not rendered
    domain_share: float = Field(0.5, gt=0, le=1)  # share of each batch; the rest is words of the language
    domain_crops: int = Field(8000, ge=1, le=100_000_000)  # words of the text, each rendered or composed once
    language_crops: int = Field(16_000, ge=1, le=100_000_000)  # pictures of words of the language
    max_accuracy_loss: float = Field(0.02, ge=0, le=1)  # largest fall of the word accuracy on words of the language
    pack: str = ""  # pictures of words of the language from dptr synth
    corpus: CorpusConfig = CorpusConfig()  # words of the language
    render: RenderConfig = RenderConfig()


class SynthRecipe(Config):
    """``dptr synth``: rendered crops into a pack, for training to read many times."""

    seed: int = Field(0, ge=0, lt=1 << 63)
    charset: str = "94"
    max_length: int = Field(25, ge=1, le=LONGEST)
    size: CropSize = CropSize()
    corpus: CorpusConfig = CorpusConfig()
    render: RenderConfig = RenderConfig()


class PretrainRecipe(Config):
    """``dptr pretrain``: stage 1, the decoder learns to spell from text tokens."""

    run: RunConfig = RunConfig()
    optim: OptimConfig = OptimConfig()
    model: DecoderModelConfig = DecoderModelConfig()
    dual: SerializeAsAny[DualConfig] = GlyphDualConfig()
    orp: ORPConfig = ORPConfig()
    corpus: CorpusConfig = CorpusConfig()
    validation: tuple[SourceConfig, ...] = ()  # words to validate on besides, such as the labels of another set
    decomposition: str = ""  # of the charset's characters, as in FinetuneRecipe
    standardize: bool = False  # the mean is taken off text tokens and off the bank's (dptr.dual.standardize)
    bucket: int = Field(16, ge=1, le=100_000)  # batches whose words are sorted by length together; 1 = as they come


class ForgettingConfig(Config):
    """What further training should not forget; see ``dptr.training.forgetting``. Without crops nothing is measured."""

    sets: tuple[str, ...] = ()  # labeled sets that are read at each validation, and never trained on
    rendered: int = Field(0, ge=0)  # rendered crops of each kind likewise; 0 = none
    max_loss: float = Field(0.02, ge=0, le=1)  # word accuracy that each may lose, else a state is not kept; 1 = all


class FinetuneRecipe(Config):
    """``dptr finetune``: stage 2, the whole recognizer on labeled crops."""

    run: CropRunConfig = CropRunConfig()
    optim: OptimConfig = OptimConfig()
    model: ModelConfig = ModelConfig()
    init: InitConfig = InitConfig()
    distillation: DistillationConfig = DistillationConfig()
    data: DataConfig = DataConfig()
    corpus: CorpusConfig = CorpusConfig()
    render: RenderConfig = RenderConfig()
    forgetting: ForgettingConfig = ForgettingConfig()
    # Factors on optim.lr, by part; 0 = frozen: batch norms and dropout rest too.
    encoder_lr_scale: float = Field(1.0, ge=0)
    fmu_lr_scale: float = Field(1.0, ge=0)
    decoder_lr_scale: float = Field(1.0, ge=0)
    counting: float = Field(0.0, ge=0)  # weight of ``dptr.models.fmu.counting_loss``; needs model.fmu.count
    # Characters that share parts learn together (dptr.training.shared_rows). "unicode": jamo, letters and accents; or a
    # file with a character, a tab, and its parts in every line; empty: each learns alone.
    decomposition: str = ""
    int8: bool = False  # compute as ``dptr export --int8 static`` will (dptr.training.int8)
    patience: int = Field(0, ge=0)  # validations in a row without a better state, after which training ends; 0 = never
