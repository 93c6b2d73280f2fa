"""PARSeq: orders and masks against the paper's rules, loss and decoding against plain loops over torch's own layers."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from helpers_reference import attend, feed_forward, loud, norm
from torch import Tensor

from dptr.models.decoders.parseq import PARSeq
from dptr.models.decoders.permutations import build_sequences, draw_permutations
from dptr.text.charset import Charset
from dptr.text.tokenizer import Tokenizer

TOKENIZER = Tokenizer(Charset("abc", ("a", "b", "c")), 5)
WORDS = ["abc", "c", "bbaca", "ab", "", "cc"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(seed: int = 0, **settings) -> PARSeq:
    """A decoder in float64, without dropout, with every parameter far from its initial value."""
    options = {"dim": 16, "depth": 2, "heads": 2, "dropout": 0.0} | settings
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return loud(PARSeq(3, 5, **options).double(), seed, 0.5).eval()


def memories(count: int) -> Tensor:
    return torch.randn(count, 7, 16, dtype=torch.float64, generator=generator(1))


def targets(words: list[str]) -> Tensor:
    return torch.from_numpy(TOKENIZER.encode(words))


# --- orders -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 12, 25])
@pytest.mark.parametrize("count", [1, 2, 6, 12])
def test_orders(length, count):
    for seed in range(5):
        rows = draw_permutations(length, count, generator(seed)).tolist()
        assert len(rows) == (min(count, math.factorial(length)) if length < 5 else count)
        forward = list(range(1, length + 1))
        assert rows[0] == [0, *forward, length + 1]
        if len(rows) > 1:
            assert rows[1] == [0, length + 1, *reversed(forward)]  # EOS with no context, characters right to left
        for row in rows:
            assert row[0] == 0 and sorted(row) == list(range(length + 2))
        assert all(row[-1] == length + 1 for row in rows[2:])
        characters = [[place for place in row if 0 < place <= length] for row in rows]
        assert len(set(map(tuple, characters))) == len(rows)
        for one, other in zip(characters[::2], characters[1::2], strict=False):
            assert other == one[::-1]


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_short_words_get_all_orders(length):
    rows = draw_permutations(length, 24, generator()).tolist()
    characters = {tuple(place for place in row if 0 < place <= length) for row in rows}
    assert characters == set(itertools.permutations(range(1, length + 1)))


def test_random_orders_are_uniform():
    """The third order of words of 4: any but the two fixed ones, and mirrored pairs only."""
    draw = generator()
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(1100):
        order = tuple(draw_permutations(4, 6, draw)[2, 1:-1].tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 22
    assert sum((count - 50) ** 2 / 50 for count in counts.values()) < 21 + 6 * math.sqrt(42)  # chi square, 6 sigma


def test_orders_are_a_function_of_the_generator():
    state = torch.get_rng_state()
    assert torch.equal(draw_permutations(9, 6, generator(3)), draw_permutations(9, 6, generator(3)))
    assert not torch.equal(draw_permutations(9, 6, generator(3)), draw_permutations(9, 6, generator(4)))
    assert torch.equal(torch.get_rng_state(), state)


# --- masks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "table"),
    [  # table 1 of the paper: rows y1 y2 y3 [E], columns [B] y1 y2 y3
        ([1, 2, 3], ["1000", "1100", "1110", "1111"]),
        ([3, 2, 1], ["1011", "1001", "1000", "1111"]),
        ([1, 3, 2], ["1000", "1101", "1100", "1111"]),
        ([2, 3, 1], ["1011", "1000", "1010", "1111"]),
    ],
)
def test_query_masks_of_the_papers_table(order, table):
    found = build_sequences(torch.tensor([[0, *order, 4]]))
    cells = [["0"] * 4 for _ in range(4)]
    for row, place in enumerate(found.query.tolist()):
        for key, seen in zip(found.content.tolist(), found.query_allowed[row].tolist(), strict=True):
            cells[place][key] = str(int(seen))
    assert ["".join(row) for row in cells] == table


@pytest.mark.parametrize("length", [0, 1, 2, 4, 7])
def test_sequences_equal_a_brute_force_construction(length):
    """A position is predicted from all that come before it in its order; what is known keeps itself and those."""
    orders = draw_permutations(length, 12, generator(length))
    found = build_sequences(orders)
    contents: list[tuple[int, int]] = [(0, 0)]  # order and position; BOS is of all orders
    queries: list[tuple[int, int]] = []
    for index, order in enumerate(orders.tolist()):
        predicted = [place for place in order[1:] if place <= length or index < 2]  # EOS counts in two orders
        queries += [(index, place) for place in predicted]
        contents += [(index, place) for place in predicted[:-1] if place <= length]  # the last one is seen by none
    assert list(zip(found.order.tolist(), (found.query + 1).tolist(), strict=True)) == queries
    assert found.content.tolist() == [place for _, place in contents]

    def seen(index: int, place: int, key: tuple[int, int], itself: bool) -> bool:
        order = orders[index].tolist()
        known = order[: order.index(place) + itself]
        return key[1] in known and (key[0] == index or key[1] == 0)

    for row, (index, place) in enumerate(queries):
        assert found.query_allowed[row].tolist() == [seen(index, place, key, False) for key in contents]
    for row, (index, place) in enumerate(contents):
        assert found.content_allowed[row].tolist() == [seen(index, place, key, True) for key in contents]


@pytest.mark.parametrize("length", [1, 2, 5, 7])
@torch.no_grad()
def test_every_token_counts(length):
    """Nothing is computed in vain: each token that enters the decoder moves the loss."""
    decoder = PARSeq(3, 7, 16, 2, 2, 0.0).double()
    loud(decoder, 0, 0.5)
    tokenizer = Tokenizer(TOKENIZER.charset, 7)
    wanted = torch.from_numpy(tokenizer.encode(["abcabca"[:length]] * 2))
    memory = torch.randn(2, 7, 16, dtype=torch.float64, generator=generator(1))
    inputs: dict[str, Tensor] = {}

    def keep(layer, arguments):
        with torch.enable_grad():
            inputs["query"], inputs["content"] = (part.detach().requires_grad_() for part in arguments[:2])
        return inputs["query"], inputs["content"], *arguments[2:]

    hook = decoder.layers[0].register_forward_pre_hook(keep)
    with torch.enable_grad():
        decoder.loss(memory, None, wanted, generator()).backward()
    hook.remove()
    count = min(6, math.factorial(length))
    assert inputs["query"].shape[1] == count * length + min(count, 2)
    assert inputs["content"].shape[1] == 1 + count * (length - 1) + 1
    for part in inputs.values():
        assert bool(part.grad.any(-1).all())


# --- loss -------------------------------------------------------------------------------------------------------------


def reference_logits(
    decoder: PARSeq, inputs: Tensor, memory: Tensor, content_mask: Tensor, query_mask: Tensor, hidden: Tensor | None
) -> Tensor:
    """One order: (b, l, c) from known inputs (b, l). Masks (l, l) are True where a position may look."""
    batch, length = inputs.shape
    ended = torch.zeros(batch, length, dtype=torch.bool)
    for row in range(batch):
        for place in range(length):
            ended[row, place] = any(symbol in (decoder.eos, decoder.pad) for symbol in inputs[row, : place + 1])
    content = 4.0 * decoder.embedding.weight[inputs]  # the root of the width, 16
    content[:, 1:] = content[:, 1:] + decoder.positions[:, : length - 1]
    query = decoder.positions[:, :length].repeat(batch, 1, 1)
    unknown = ended[:, None, :]
    shut = None if hidden is None else hidden[:, None, :].repeat(1, length, 1)

    def stream(layer, x, normed, keys, may):
        x = x + attend(layer.self_attention, normed, keys, unknown | ~may)
        x = x + attend(layer.cross_attention, norm(layer.norm1, x), memory, shut)
        return x + feed_forward(layer.feed_forward, norm(layer.norm2, x))

    for layer in decoder.layers:
        keys = norm(layer.norm_content, content)
        query = stream(layer, query, norm(layer.norm_query, query), keys, query_mask)
        content = stream(layer, content, keys, keys, content_mask)
    return norm(decoder.norm, query) @ decoder.head.weight.T + decoder.head.bias


def reference_loss(decoder: PARSeq, memory: Tensor, words: list[str], orders: Tensor, hidden: Tensor | None) -> float:
    """Sum over orders, words and predicted positions; EOS counts in the first two orders."""
    tokens = targets(words)
    total, count = 0.0, 0
    for number, order in enumerate(orders.tolist()):
        length = len(order) - 1
        query_mask, content_mask = torch.zeros(2, length, length, dtype=torch.bool)
        for row in range(length):
            for key in range(length):
                query_mask[row, key] = order.index(key) < order.index(row + 1)
                content_mask[row, key] = order.index(key) <= order.index(row)
        logits = reference_logits(decoder, tokens[:, :-1], memory, content_mask, query_mask, hidden)
        for row, word in enumerate(words):
            wanted = [*tokens[row, 1 : len(word) + 1].tolist(), decoder.eos]
            for place, symbol in enumerate(wanted):
                if symbol == decoder.eos and number > 1:
                    continue
                total -= float(logits[row, place].log_softmax(-1)[symbol])
                count += 1
    return total / count


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("permutations", [1, 2, 6])
@torch.no_grad()
def test_loss_equals_a_loop_over_orders(depth, permutations):
    decoder = build(depth=depth, permutations=permutations)
    memory = memories(len(WORDS))
    loss = decoder.loss(memory, None, targets(WORDS), generator(5))
    orders = draw_permutations(5, permutations, generator(5))
    assert float(loss) == pytest.approx(reference_loss(decoder, memory, WORDS, orders, None), abs=1e-5)


@torch.no_grad()
def test_loss_with_a_memory_mask_equals_the_loop_and_hides():
    decoder = build()
    memory = memories(len(WORDS))
    mask = torch.arange(7) < torch.tensor([1, 3, 7, 4, 6, 2])[:, None]
    orders = draw_permutations(5, 6, generator(5))
    expected = reference_loss(decoder, memory, WORDS, orders, ~mask)
    assert float(decoder.loss(memory, mask, targets(WORDS), generator(5))) == pytest.approx(expected, abs=1e-5)
    memory[~mask] = 1e6
    assert float(decoder.loss(memory, mask, targets(WORDS), generator(5))) == pytest.approx(expected, abs=1e-5)
    memory[0, 0] += 1.0
    assert abs(float(decoder.loss(memory, mask, targets(WORDS), generator(5))) - expected) > 1e-3


@torch.no_grad()
def test_a_character_is_never_seen_by_the_query_that_predicts_it():
    """Change one input character at a time: in no order, at any depth, does its own position's prediction move."""
    decoder = build(depth=3)
    memory = memories(1)
    permutations = draw_permutations(5, 12, generator(2))
    orders = build_sequences(permutations)
    tokens = targets(["abcab"])[:, :-1]

    def predict(inputs):
        masks = orders.content_allowed, orders.query_allowed
        return decoder.predict(inputs, orders.content, orders.query, decoder.project(memory), None, *masks)[0]

    before = predict(tokens)
    for place in range(1, 6):
        changed = tokens.clone()
        changed[0, place] = tokens[0, place] % 3 + 1
        moved = (predict(changed) - before).abs().amax(-1) > 1e-9  # (positions of all orders)
        for index, order in enumerate(permutations.tolist()):
            own = orders.order == index
            later = {symbol - 1 for symbol in order[order.index(place) + 1 :] if symbol < 6 or index < 2}
            assert set(orders.query[own & moved].tolist()) == later


@torch.no_grad()
def test_a_step_is_one_pass_over_the_longest_word_and_projects_the_memory_once():
    """Six orders, two streams; a batch of short words does not pay for ``max_length``."""
    decoder = build(depth=3)
    calls: list[tuple[str, tuple[int, ...]]] = []
    for name, module in decoder.named_modules():
        module.register_forward_hook(
            lambda module, arguments, output, name=name: calls.append((name, tuple(arguments[0].shape)))
        )
    decoder.loss(memories(2), None, targets(["abc", "cab"]), generator())
    projected = [shape for name, shape in calls if name.endswith("cross_attention.key_value")]
    assert projected == [(2, 7, 16)] * 3
    tokens = 6 * 3 + 2  # six orders of three characters, EOS in two
    assert [shape for name, shape in calls if name == "head"] == [(2, tokens, 16)]
    assert {shape[1] for name, shape in calls if name.endswith("feed_forward")} == {tokens, 1 + 6 * 2 + 1}


def test_words_without_characters_have_a_loss():
    loss = build().loss(memories(2), None, targets(["", ""]), generator())
    assert torch.isfinite(loss)


@torch.no_grad()
def test_dropout_acts_in_training_only():
    decoder = build(dropout=0.3)
    arguments = memories(2), None, targets(["ab", "c"])
    assert float(decoder.loss(*arguments, generator())) == float(decoder.loss(*arguments, generator()))
    decoder.train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert float(decoder.loss(*arguments, generator())) != float(decoder.loss(*arguments, generator()))


# --- decoding ---------------------------------------------------------------------------------------------------------


def greedy(decoder: PARSeq, memory: Tensor) -> tuple[list[int], Tensor]:
    """One crop, left to right, through the loss's own forward: the symbols up to EOS and their logits."""
    known: list[int] = []
    logits: list[Tensor] = []
    causal, every = torch.ones(6, 6, dtype=torch.bool).tril(), slice(6)
    while len(known) < 6 and decoder.eos not in known:
        inputs = torch.tensor([[decoder.bos, *known, *[decoder.pad] * (5 - len(known))]])
        predicted = decoder.predict(inputs, every, every, decoder.project(memory), None, causal, causal)
        logits.append(predicted[0, len(known)])
        known.append(int(logits[-1].argmax()))
    return known, torch.stack(logits)


@pytest.mark.parametrize("depth", [1, 3])
@torch.no_grad()
def test_autoregressive_decoding_equals_a_greedy_loop_through_the_training_forward(depth):
    decoder = build(depth=depth, refinements=0)
    memory = memories(16)
    decoded = decoder.decode(memory, None)
    lengths = set()
    for row in range(16):
        symbols, logits = greedy(decoder, memory[row : row + 1])
        torch.testing.assert_close(decoded[row, : len(symbols)], logits, atol=1e-5, rtol=1e-5)
        lengths.add(len(symbols))
    assert len(lengths) > 2


@torch.no_grad()
def test_parallel_decoding_knows_nothing_but_the_beginning():
    """Every position from BOS alone, as the reference computes it with all characters hidden."""
    decoder = build(autoregressive=False, refinements=0)
    memory = memories(3)
    inputs = torch.full((3, 6), decoder.pad)
    inputs[:, 0] = decoder.bos
    everything = torch.ones(6, 6, dtype=torch.bool)
    expected = reference_logits(decoder, inputs, memory, everything, everything, None)
    torch.testing.assert_close(decoder.decode(memory, None), expected, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("autoregressive", [True, False])
@torch.no_grad()
def test_refinement_equals_the_reference(autoregressive):
    """PARSeq section 3.3: the reading, cut at its end, is what is known; each position sees all others."""
    decoder = build(autoregressive=autoregressive, refinements=0)
    memory = memories(16)
    read = decoder.decode(memory, None)
    decoder.refinements = 1
    refined = decoder.decode(memory, None)
    inputs = torch.cat([torch.full((16, 1), decoder.bos), read[:, :-1].argmax(-1)], 1)
    length = inputs.shape[1]
    cloze, causal = torch.zeros(2, length, length, dtype=torch.bool)
    for row in range(length):
        for key in range(length):
            cloze[row, key] = key != row + 1  # key 0 is BOS, key i + 1 the character read at position i
            causal[row, key] = key <= row
    expected = reference_logits(decoder, inputs, memory, causal, cloze, None)
    torch.testing.assert_close(refined, expected, atol=1e-8, rtol=1e-8)


@torch.no_grad()
def test_refinement_hides_exactly_its_own_character(monkeypatch):
    """Plant a first reading, change one character: at depth 1 every position's logits move but its own."""
    decoder = build(depth=1)
    memory = memories(1)

    def refined(symbols):
        planted = F.one_hot(torch.tensor([symbols]), 4).double()
        monkeypatch.setattr(decoder, "_left_to_right", lambda *arguments: planted)
        return decoder.decode(memory, None)[0]

    symbols = [1, 2, 3, 1, 2, 0]
    before = refined(symbols)
    for place in range(5):
        changed = symbols.copy()
        changed[place] = symbols[place] % 3 + 1
        moved = (refined(changed) - before).abs().amax(-1) > 1e-9
        assert moved.tolist() == [other != place for other in range(6)]


@torch.no_grad()
def test_what_was_read_after_the_end_is_not_known(monkeypatch):
    decoder = build()
    memory = memories(1)

    def refined(symbols):
        planted = F.one_hot(torch.tensor([symbols]), 4).double()
        monkeypatch.setattr(decoder, "_left_to_right", lambda *arguments: planted)
        return decoder.decode(memory, None)

    assert torch.equal(refined([1, 2, 0, 1, 2, 3]), refined([1, 2, 0, 3, 0, 1]))


@pytest.mark.parametrize("autoregressive", [True, False])
@pytest.mark.parametrize("refinements", [0, 1, 2, 3])
@torch.no_grad()
def test_one_crop_alone_equals_the_crop_in_a_batch(autoregressive, refinements):
    """Also where a refinement moves the end of a word: the batch's longest word must not decide what is read."""
    moved = 0
    for seed in (2, 27):
        decoder = build(seed, autoregressive=autoregressive, refinements=refinements)
        memory = memories(16)
        together = TOKENIZER.decode(decoder.decode(memory, None).softmax(-1).numpy())
        for row in range(16):
            alone = TOKENIZER.decode(decoder.decode(memory[row : row + 1], None).softmax(-1).numpy())[0]
            assert alone.text == together[row].text
            assert alone.confidence == pytest.approx(together[row].confidence, rel=1e-6)
        decoder.refinements = 0
        first = TOKENIZER.decode(decoder.decode(memory, None).softmax(-1).numpy())
        moved += sum(len(a.text) != len(b.text) for a, b in zip(first, together, strict=True))
    assert moved or not refinements


def test_any_memory_will_do():
    assert build().min_memory(25) == 1
