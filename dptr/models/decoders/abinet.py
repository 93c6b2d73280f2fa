"""ABINet decoder: parallel attention whose reading a bidirectional cloze language model corrects iteratively.

Fang et al., "Read Like Humans: Autonomous, Bidirectional and Iterative Language Modeling for Scene Text Recognition",
CVPR 2021. The vision branch reads all positions in parallel. The language model (BCN, section 3.2) predicts each
character from the other characters of this reading. A gate fuses both (section 3.3), and the next iteration corrects
the fused reading.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dptr.config.decoders import ABINetConfig
from dptr.models.decoders.base import Decoder
from dptr.models.layers import CrossLayer, cross_attend, init_transformer, key_mask


def cloze_mask(logits: Float[Tensor, "b t c"]) -> Bool[Tensor, "b 1 t t"]:
    """The attention mask of the language model: each position sees all others up to the first EOS; True = allowed.

    The diagonal is masked as in section 3.2. At least two positions are visible, as in the published code, so that the
    EOS of an empty word has something to attend to.
    """
    length = logits.shape[1]
    ends_seen = (logits.argmax(-1) == 0).cumsum(1)
    position = torch.arange(length, device=logits.device)
    visible = (F.pad(ends_seen, (1, 0))[:, :-1] == 0) | (position < 2)
    return visible[:, None, None, :] & (position[:, None] != position)


class BCN(nn.Module):
    """Bidirectional cloze network (section 3.2): each position attends to the characters at all other positions.

    There is no self-attention, and the keys and values of every layer are the characters themselves. So no position
    sees its own character through other positions.
    """

    def __init__(self, classes: int, length: int, dim: int, depth: int, heads: int, dropout: float):
        super().__init__()
        self.embedding = nn.Embedding(classes, dim)
        self.places = nn.Parameter(torch.empty(1, length, dim))
        self.queries = nn.Parameter(torch.empty(1, length, dim))
        self.layers = nn.ModuleList(CrossLayer(dim, heads, dropout=dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, probabilities: Float[Tensor, "b t c"], allowed: Bool[Tensor, "b 1 t t"]
    ) -> Float[Tensor, "b t d"]:
        """Features of each position.

        Args:
            probabilities: of the classes; rows sum to 1.
            allowed: from ``cloze_mask``.
        """
        characters = self.dropout(probabilities @ self.embedding.weight + self.places)
        queries = self.queries.expand(probabilities.shape[0], -1, -1)
        return self.norm(cross_attend(self.layers, queries, characters, allowed))


class ABINet(Decoder):
    """The decoder.

    Args:
        characters: n, the size of the charset; classes are EOS 0, characters 1..n.
        max_length: the longest word in characters.
        dim, depth, heads, dropout: of the layers; vision branch and language model have ``depth`` layers each. The
            published code has dim 512, heads 8, dropout 0.1, 1 attention layer in the vision branch, and 4 layers in
            the language model.
        iterations: corrections of the reading, in training and decoding (3 in the paper).
    """

    def __init__(
        self,
        characters: int,
        max_length: int,
        dim: int,
        depth: int,
        heads: int,
        dropout: float = 0.1,
        iterations: int = 3,
    ):
        super().__init__()
        self.dim = dim
        self.pad = characters + 2
        self.max_length = max_length
        self.iterations = iterations
        classes, length = characters + 1, max_length + 1
        self.queries = nn.Parameter(torch.empty(1, length, dim))
        self.vision = nn.ModuleList(CrossLayer(dim, heads, dropout=dropout) for _ in range(depth))
        self.vision_norm = nn.LayerNorm(dim)
        self.vision_head = nn.Linear(dim, classes)
        self.language = BCN(classes, length, dim, depth, heads, dropout)
        self.language_head = nn.Linear(dim, classes)
        self.gate = nn.Linear(2 * dim, dim)
        self.head = nn.Linear(dim, classes)
        self.apply(init_transformer)
        for positions in (self.queries, self.language.places, self.language.queries):
            nn.init.trunc_normal_(positions, std=0.5)  # as PARSeq's

    def min_memory(self, max_length: int) -> int:
        return 1

    def per_character(self) -> dict[str, str]:
        heads = [f"{head}.{part}" for head in ("vision_head", "language_head", "head") for part in ("weight", "bias")]
        return dict.fromkeys(["language.embedding.weight", *heads], "classes")

    def per_position(self) -> dict[str, str]:
        """Queries and position embeddings of both branches: row k belongs to the k-th character.

        The vision branch reads each position independently, so further rows do not change the first ones. Nor do they
        in the language model for words that end within the first rows, since it sees nothing after the end.
        """
        return dict.fromkeys(["queries", "language.places", "language.queries"], "characters")

    def read_memory(
        self, memory: Float[Tensor, "b m d"], memory_mask: Bool[Tensor, "b m"] | None
    ) -> Float[Tensor, "b t d"]:
        """Features of the vision branch at t = ``max_length`` + 1 positions, read in parallel."""
        queries = self.queries.expand(memory.shape[0], -1, -1)
        return self.vision_norm(cross_attend(self.vision, queries, memory, key_mask(memory_mask)))

    def fuse(self, visual: Float[Tensor, "b t d"], linguistic: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """Features of both branches, fused by a gate (section 3.3)."""
        gate = self.gate(torch.cat([linguistic, visual], dim=-1)).sigmoid()
        return gate * visual + (1 - gate) * linguistic

    def readings(
        self, memory: Float[Tensor, "b m d"], memory_mask: Bool[Tensor, "b m"] | None
    ) -> tuple[Float[Tensor, "b t c"], list[Float[Tensor, "b t c"]], list[Float[Tensor, "b t c"]]]:
        """Logits of the vision branch, and for each iteration those of the language model and of the fusion.

        No gradient flows through the probabilities that the language model gets ("blocking gradient flow", section
        3.2).
        """
        visual = self.read_memory(memory, memory_mask)
        vision = self.vision_head(visual)
        language: list[Tensor] = []
        fused = [vision]
        for _ in range(self.iterations):
            read = fused[-1].detach()
            linguistic = self.language(read.softmax(-1), cloze_mask(read))
            language.append(self.language_head(linguistic))
            fused.append(self.head(self.fuse(visual, linguistic)))
        return vision, language, fused[1:]

    def loss(
        self,
        memory: Float[Tensor, "b m d"],
        memory_mask: Bool[Tensor, "b m"] | None,
        targets: Int[Tensor, "b t"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Cross-entropy of the vision branch, plus that of language and fusion averaged over the iterations (3.4).

        All three have weight 1, as published.
        """
        vision, language, fused = self.readings(memory, memory_mask)
        labels = targets[:, 1:]

        def cross_entropy(logits: Tensor) -> Tensor:
            rows = logits[:, : labels.shape[1]].flatten(0, 1).float()
            return F.cross_entropy(rows, labels.flatten(), ignore_index=self.pad)

        parts = [cross_entropy(ours) + cross_entropy(both) for ours, both in zip(language, fused, strict=True)]
        return cross_entropy(vision) + torch.stack(parts).mean()

    def term_count(self, targets: Int[Tensor, "b t"]) -> int:
        """Characters and EOS of all words."""
        return int((targets[:, 1:] != self.pad).sum())

    def decode(self, memory: Float[Tensor, "b m d"], memory_mask: Bool[Tensor, "b m"] | None) -> Float[Tensor, "b t c"]:
        """Logits of the fusion after the last iteration, t = ``max_length`` + 1."""
        return self.readings(memory, memory_mask)[2][-1]


def build_abinet(config: ABINetConfig, characters: int, max_length: int) -> ABINet:
    """ABINet from its part of a recipe."""
    return ABINet(characters, max_length, config.dim, config.depth, config.heads, config.dropout, config.iterations)
