"""CTC: the loss and the best path against sums and loops over all paths of a small case."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from helpers_reference import cross_layer, loud, norm
from torch import Tensor

from dptr.models.decoders.ctc import QueryCTC, TokenCTC, collapse
from dptr.text.charset import Charset
from dptr.text.tokenizer import Tokenizer

ABC = Charset("abc", ("a", "b", "c"))
TOKENIZER = Tokenizer(ABC, 3)
WORDS = ["abc", "c", "bba", "ab", "", "ccc"]


def build(seed: int = 0, depth: int = 2, length: int = 3, dtype: torch.dtype = torch.float64) -> QueryCTC:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return loud(QueryCTC(3, length, 16, depth, 2, 0.0).to(dtype), seed, 0.5).eval()


def memories(count: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, 7, 16, dtype=torch.float64, generator=generator(1)).to(dtype)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spelled(path: tuple[int, ...]) -> tuple[int, ...]:
    """Repeats merged, then blanks dropped."""
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != 0)


def probability(shares: Tensor, word: tuple[int, ...]) -> float:
    """The sum over all paths of a word; ``shares`` (t, c)."""
    paths = itertools.product(range(shares.shape[1]), repeat=shares.shape[0])
    return sum(
        math.prod(float(shares[place, symbol]) for place, symbol in enumerate(path))
        for path in paths
        if spelled(path) == word
    )


@pytest.mark.parametrize("depth", [1, 3])
@torch.no_grad()
def test_float32_logits_equal_torchs_attention(depth):
    decoder, memory = build(depth=depth, dtype=torch.float32), memories(4, torch.float32)
    mask = torch.arange(7) < torch.tensor([1, 3, 7, 4])[:, None]
    x = decoder.queries.repeat(4, 1, 1)
    for layer in decoder.layers:
        x = cross_layer(layer, x, memory, (~mask)[:, None].repeat(1, 5, 1))
    expected = norm(decoder.norm, x) @ decoder.head.weight.T + decoder.head.bias
    torch.testing.assert_close(decoder.predict(memory, mask), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_loss_equals_a_sum_over_all_paths():
    decoder, memory = build(), memories(len(WORDS))
    shares = decoder.predict(memory, None).softmax(-1)
    ids = [tuple(ABC.characters.index(character) + 1 for character in word) for word in WORDS]
    losses = [-math.log(probability(row, word)) / max(1, len(word)) for row, word in zip(shares, ids, strict=True)]
    targets = torch.from_numpy(TOKENIZER.encode(WORDS))
    loss = decoder.loss(memory, None, targets, generator())
    assert float(loss) == pytest.approx(sum(losses) / len(losses), abs=1e-5)
    own = decoder.word_losses(memory, None, targets).tolist()
    assert own == pytest.approx([loss * max(1, len(word)) for loss, word in zip(losses, ids, strict=True)], abs=1e-4)


@torch.no_grad()
def test_loss_equals_torchs_on_the_same_log_probabilities():
    """Targets laid end to end instead of padded, lengths by hand."""
    decoder, memory = build(), memories(len(WORDS))
    mask = torch.arange(7) < torch.tensor([1, 3, 7, 4, 6, 2])[:, None]
    shares = decoder.predict(memory, mask).log_softmax(-1).transpose(0, 1)
    flat = torch.tensor([ABC.characters.index(character) + 1 for word in WORDS for character in word])
    expected = torch.nn.CTCLoss()(shares, flat, torch.full((6,), 5), torch.tensor([3, 1, 3, 2, 0, 3]))
    loss = decoder.loss(memory, mask, torch.from_numpy(TOKENIZER.encode(WORDS)), generator())
    assert float(loss) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_every_word_has_a_path_and_with_one_query_fewer_one_has_not(length):
    decoder, tokenizer = build(length=length), Tokenizer(ABC, length)
    words = ["".join(word) for count in range(length + 1) for word in itertools.product("abc", repeat=count)]
    tokens = torch.from_numpy(tokenizer.encode(words))
    assert bool(torch.isfinite(decoder.loss(memories(1).repeat(len(words), 1, 1), None, tokens, generator())))
    decoder.queries.data = decoder.queries.data[:, 1:]
    if length > 1:
        same = torch.from_numpy(tokenizer.encode(["a" * length]))
        assert float(decoder.loss(memories(1), None, same, generator()).detach()) == math.inf


def planted(path: tuple[int, ...], scores: tuple[float, ...]) -> Tensor:
    """Logits (1, t, 4) whose likeliest class at each position is the path's, with the given probability (> 1/4)."""
    shares = torch.tensor([[(1 - score) / 3] * 4 for score in scores])
    shares[torch.arange(len(path)), torch.tensor(path)] = torch.tensor(scores)
    return shares.log()[None]


def test_collapse_equals_brute_force_on_every_path():
    """All 4 ** 5 paths, read by the tokenizer: the word, each character's and the end's probability."""
    draw = generator()
    for path in itertools.product(range(4), repeat=5):
        scores = tuple((torch.rand(5, generator=draw) * 0.7 + 0.29).tolist())
        word = TOKENIZER.decode(collapse(planted(path, scores), 6).softmax(-1).numpy())[0]
        assert word.text == "".join(ABC.characters[symbol - 1] for symbol in spelled(path))
        runs = [list(run) for _, run in itertools.groupby(zip(path, scores, strict=True), lambda pair: pair[0])]
        peaks = [max(score for _, score in run) for run in runs if run[0][0] != 0]
        blanks = [score for symbol, score in zip(path, scores, strict=True) if symbol == 0]
        assert word.characters == pytest.approx(peaks, abs=1e-5)
        assert word.confidence == pytest.approx(math.prod(peaks) * min(blanks, default=1.0), abs=1e-5)


def test_certain_blanks_end_a_word():
    """Probabilities of 1 exactly: which position is the least certain blank must not fall on a character."""
    path = planted((1, 0, 2, 0), (0.9, 0.9, 0.9, 0.9))
    path[:, 1::2] = torch.tensor([0.0, float("-inf"), float("-inf"), float("-inf")])
    word = TOKENIZER.decode(collapse(path, 4).softmax(-1).numpy())[0]
    assert word.text == "ab" and word.confidence == pytest.approx(0.81)


def test_a_path_of_too_many_characters_is_read_up_to_the_last_position():
    path, scores = (1, 2, 3, 1, 2), (0.9,) * 5
    assert TOKENIZER.decode(collapse(planted(path, scores), 4).softmax(-1).numpy())[0].text == "abca"


@torch.no_grad()
def test_decoding_is_the_collapsed_prediction():
    decoder, memory = build(), memories(32)
    best = decoder.predict(memory, None).argmax(-1).tolist()
    read = [word.text for word in TOKENIZER.decode(decoder.decode(memory, None).softmax(-1).numpy())]
    assert read == ["".join(ABC.characters[symbol - 1] for symbol in spelled(path))[:4] for path in best]
    assert len(set(read)) > 4


def test_any_memory_will_do():
    assert build().min_memory(25) == 1


def build_of_tokens(length: int = 3) -> TokenCTC:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return loud(TokenCTC(3, length, 16).double(), 0, 0.5).eval()


@torch.no_grad()
def test_a_path_of_tokens_is_the_head_of_each():
    decoder, memory = build_of_tokens(), memories(4)
    torch.testing.assert_close(decoder.predict(memory, None), memory @ decoder.head.weight.T + decoder.head.bias)
    shares = decoder.predict(memory, None).log_softmax(-1).transpose(0, 1)
    words = ["abc", "c", "bba", ""]
    flat = torch.tensor([ABC.characters.index(character) + 1 for word in words for character in word])
    expected = torch.nn.CTCLoss()(shares, flat, torch.full((4,), 7), torch.tensor([3, 1, 3, 0]))
    loss = decoder.loss(memory, None, torch.from_numpy(TOKENIZER.encode(words)), generator())
    assert float(loss) == pytest.approx(float(expected), abs=1e-5)


@torch.no_grad()
def test_a_path_of_tokens_ends_with_the_memory():
    """Tokens that the mask leaves out are blanks: a row reads what its own tokens read alone."""
    decoder, memory = build_of_tokens(7), memories(6)
    counts = [1, 3, 7, 4, 6, 2]
    mask = torch.arange(7) < torch.tensor(counts)[:, None]
    tokenizer = Tokenizer(ABC, 7)
    read = [word.text for word in tokenizer.decode(decoder.decode(memory, mask).softmax(-1).numpy())]
    alone = [
        tokenizer.decode(decoder.decode(memory[row : row + 1, :count], None).softmax(-1).numpy())[0].text
        for row, count in enumerate(counts)
    ]
    assert read == alone and len(set(read)) > 3


def test_a_word_without_a_path_of_tokens_moves_nothing():
    """Two tokens spell no word of three characters, nor "bb"; the others are learned as if those were not there."""
    decoder = build_of_tokens()
    memory = memories(4)[:, :2]

    def gradient(words: list[str], rows: list[int]) -> Tensor:
        decoder.zero_grad()
        decoder.loss(memory[rows], None, torch.from_numpy(TOKENIZER.encode(words)), generator()).backward()
        return decoder.head.weight.grad * len(words)

    every = gradient(["abc", "bb", "ab", "c"], [0, 1, 2, 3])
    torch.testing.assert_close(every, gradient(["ab", "c"], [2, 3]))
