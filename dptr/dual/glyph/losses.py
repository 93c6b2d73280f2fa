"""The losses of ``dptr align``: alignment of an image's slots with its word's text tokens, and auxiliary losses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dptr.config.train import AlignRecipe
from dptr.dual.glyph.model import GlyphModel, by_column
from dptr.models.fmu import running_count


def sample_symbols(
    symbols: Int[Tensor, "b s"], count: int, negatives: int, generator: torch.Generator
) -> Int[Tensor, " c"] | None:
    """The classes of a step: the symbols of the batch, EOS, PAD, and up to ``negatives`` uniformly drawn others.

    This is sampled softmax (Jean et al. 2015, 3.2) with one sample for the whole batch. A batch has about 200 of 7,000
    characters, and scoring all of them takes most of a step's time (docs/LOG.md).

    Args:
        count: number of all symbols.
        negatives: number of draws, with replacement. 0 = use all symbols.

    Returns:
        The sampled symbols, ascending, EOS first and PAD last; None to use all, if ``negatives`` is 0 or at least
        ``count``.
    """
    if negatives == 0 or count <= negatives:
        return None
    others = torch.randint(count, (negatives,), generator=generator).to(symbols.device)
    ends = torch.tensor([0, count - 1], device=symbols.device)
    return torch.cat([symbols.flatten(), ends, others]).unique()


def alignment_loss(
    model: GlyphModel,
    pixels: Float[Tensor, "b 3 h w"],
    symbols: Int[Tensor, "b s"],
    stops: Float[Tensor, "b l 2"],
    weights: AlignRecipe,
    generator: torch.Generator,
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]], Float[Tensor, "b s d"]]:
    """The alignment loss: cross-entropy of each slot over symbols, 1 - cosine to its text token, and auxiliary losses.

    The classes are those of ``sample_symbols``. Auxiliary losses are CTC on image columns (Graves et al. 2006), and
    ``position_losses``, which use the letter positions that the renderer knows; without these, little is learned at
    small scale (docs/LOG.md). PAD slots have weight ``weights.padding``, others 1.

    Args:
        stops: begin and end of each letter, as shares of the crop's width; NaN if unknown, and after the word.
        weights: of the losses, and the number of negatives.
        generator: for ``sample_symbols``, on the CPU.

    Returns:
        The weighted sum, its parts by name (detached), and the slots.
    """
    tokens, grid = model.encoder.with_grid(pixels)
    fmu = model.slots
    density = fmu.density(tokens, grid) if fmu.counter is not None else None
    counted_tokens = tokens if density is None else fmu.add_running_count(tokens, density, grid)
    slots = fmu.merge(counted_tokens)
    distance = 1 - F.cosine_similarity(slots.float(), model.text(symbols).float(), dim=-1)
    among = sample_symbols(symbols, model.text.symbols.num_embeddings, weights.negatives, generator)
    pad, classes = model.text.symbols.num_embeddings - 1, None
    if among is not None:
        symbols, pad, classes = torch.searchsorted(among, symbols), len(among) - 1, among[:-1]
    weight = torch.where(symbols == pad, weights.padding, 1.0)
    total = weight.sum()
    spelled = F.cross_entropy(model.slot_logits(slots, among).float().transpose(1, 2), symbols, reduction="none")
    losses = {"spell": (spelled * weight).sum() / total, "cosine": (distance * weight).sum() / total}
    lengths = (symbols != pad).sum(1) - 1
    mean_tokens = by_column(tokens, grid)
    columns = model.column_logits(mean_tokens, classes).float().log_softmax(-1).transpose(0, 1)
    frames = torch.full_like(lengths, columns.shape[0])
    losses["ctc"] = F.ctc_loss(columns, symbols, frames, lengths, blank=0, zero_infinity=True)
    letters, looks = model.letter_logits(mean_tokens, classes), fmu.attention(counted_tokens, grid)
    losses |= position_losses(letters, looks, density, symbols, lengths, stops)
    loss = torch.stack([getattr(weights, name) * value for name, value in losses.items()]).sum()
    return loss, {name: value.detach() for name, value in losses.items()}, slots


def position_losses(
    letters: Float[Tensor, "b w c"],
    looks: Float[Tensor, "b s w"],
    density: Float[Tensor, "b w"] | None,
    symbols: Int[Tensor, "b s"],
    lengths: Int[Tensor, " b"],
    stops: Float[Tensor, "b l 2"],
) -> dict[str, Float[Tensor, ""]]:
    """Losses from the positions of letters; letters of unknown position are ignored.

    - ``columns``: cross-entropy of ``letters`` with the letter in each column (class 0 = none);
    - ``attention``: -log of the attention weight of a slot on the columns of its letter;
    - ``counting``: mean absolute error of the running count of letters at each column, plus a tenth of that of the
      total count, which needs no positions.

    A letter is in the columns whose middle it covers, and in the column of its own middle.
    """
    width, count = letters.shape[1], stops.shape[1]
    begin, end = stops[..., :1], stops[..., 1:]
    known = ~stops.isnan().any(-1)  # (b, l)
    middles = (torch.arange(width, device=stops.device) + 0.5) / width
    own = ((begin + end) / 2 * width).floor().clamp(0, width - 1).nan_to_num(0).long()
    covered = (middles >= begin) & (middles < end)
    covered |= F.one_hot(own[..., 0], width).bool() & known[..., None]  # (b, l, w)
    placed = known.any(1)
    standing = torch.where(covered.any(1), symbols.gather(1, covered.float().argmax(1)), 0)
    wanted = torch.where(placed[:, None], standing, -100)
    losses = {
        "columns": F.cross_entropy(letters.float().flatten(0, 1), wanted.flatten(), ignore_index=-100, reduction="sum")
        / (wanted != -100).sum().clamp(min=1)
    }
    attention_share = (looks[:, :count] * covered).sum(-1)
    losses["attention"] = -((attention_share + 1e-3).log() * known).sum() / known.sum().clamp(min=1)
    if density is not None:
        passed = ((middles - begin) / (end - begin).clamp(min=0.01)).clamp(0, 1).nan_to_num(0)
        error = (running_count(density) - passed.sum(1)).abs().mean(1)
        losses["counting"] = (error * placed).mean() + 0.1 * (density.sum(1) - lengths).abs().mean()
    return losses
