"""Checkers for notebook 11, attention maps."""

import torch
from torch import nn

from transformer_lib.attention_maps import attention_rollout
from transformer_lib.checks.judging import (
    NotDone,
    NotRight,
    exercise,
    expect,
    expect_choice,
    expect_number,
    expect_true,
)

__all__ = [
    "error_rate_on_paper",
    "exchanged_vector",
    "map_of_words",
    "maps_of_a_silent_head",
    "mended_habit",
    "words_behind_positions",
]

B, T, S, H = 2, 7, 5, 3


@exercise(11, 1)
def error_rate_on_paper(answer):
    """The AER of one map: she did not have a cat – sie hatte keine Katze."""
    sure, possible = 5, 7

    def rate(right_sure, right_possible, drawn=4, links=sure):
        return 1 - (right_sure + right_possible) / (drawn + links)

    expect_number(
        answer,
        rate(3, 4),
        {
            "you took the row that has read a word; its output row is the one above": rate(0, 1),
            "that is the share of what is right; subtract it from 1": 1 - rate(3, 4),
            "sure links count as possible, too: all four are possible here": rate(3, 1),
            "that is the share of drawn links that are not sure; see the formula": 1 - 3 / 4,
            "the possible links are missing: |A ∩ P| counts all that are right": rate(3, 3),
            "divided by |A| + |P|; it is |A| + |S|": rate(3, 4, links=possible),
            "a link to </s> does not count, but its word still needs one: it takes the largest "
            "weight among the words": rate(2, 3, drawn=3),
            "</s> is no word: Katze takes the largest weight among the words": rate(2, 3),
            "the last row writes </s>, which is no word: it draws no link": rate(3, 4, drawn=5),
            "</s> is no word: no link goes to it, and none starts from it": rate(2, 3, drawn=5),
            "all four are possible, but one of them is not sure, and two sure ones are not drawn": (
                0.0
            ),
        },
        tolerance=0.006,
    )


@exercise(11, 2)
def maps_of_a_silent_head(answer):
    """Which recorded maps change when a head of the decoder's second layer is silent."""
    expect_choice(
        answer,
        "c",
        {
            "a": "a silent head still computes its weights, and they are kept; what is set to 0 is "
            "what it has collected with them",
            "b": "layer 3 is right. But from what are head 2.2's weights computed, and is that "
            "before or behind the place where it is silenced?",
            "d": "the four heads of a layer work side by side on the same input: none sees what "
            "another one hands over",
        },
    )


# --- word pieces ------------------------------------------------------------------------


def _together(weights, rows, columns, reduce_rows="mean", reduce_columns="sum"):
    """Merge rows and columns that belong to the same word."""

    def merge(x, words, reduce):
        chosen = [x[[w == n for w in words]] for n in range(max(words) + 1)]
        reduced = {
            "sum": lambda c: c.sum(dim=0),
            "mean": lambda c: c.mean(dim=0),
            "max": lambda c: c.amax(dim=0),
            "first": lambda c: c[0],
            "last": lambda c: c[-1],
        }[reduce]
        return torch.stack([reduced(c) for c in chosen])

    return merge(merge(weights, rows, reduce_rows).T, columns, reduce_columns).T


@exercise(11, 3)
def map_of_words(answer):
    """A map of words from a map of word pieces."""
    tgt_words, src_words = [0, 1, 1, 1, 2], [0, 0, 1, 2, 2, 2, 3]
    weights = torch.randn(len(tgt_words), len(src_words)).softmax(dim=-1)
    one, each = [0], list(range(len(src_words)))

    def even_rows(merged):
        return merged / merged.sum(dim=-1, keepdim=True)

    mean = _together(weights[:1], one, src_words, "mean", "mean")
    expect(
        "a single piece that looks at four words in seven pieces",
        answer(weights[:1], one, src_words),
        _together(weights[:1], one, src_words),
        {
            "the mean over the pieces of a word that is looked at; it gets all that they get "
            "together": mean,
            "the mean over the pieces of a word that is looked at, and rows made to sum to 1 "
            "again; it gets all that its pieces get together": even_rows(mean),
            "the largest weight of a word's pieces; it gets all that they get together": (
                _together(weights[:1], one, src_words, "mean", "max")
            ),
            "only the first piece of each word counts": (
                _together(weights[:1], one, src_words, "mean", "first")
            ),
            "only the last piece of each word counts": (
                _together(weights[:1], one, src_words, "mean", "last")
            ),
            "rows and columns are swapped": _together(weights[:1], one, src_words).T,
        },
    )
    for what, columns in (
        ("three words of five pieces that look at seven words of one piece", each),
        ("three words of five pieces that look at four words of seven pieces", src_words),
    ):
        summed = _together(weights, tgt_words, columns, "sum")
        expect(
            what,
            answer(weights, tgt_words, columns),
            _together(weights, tgt_words, columns),
            {
                "the pieces of a word that looks are added, and its row sums to their number; take "
                "their mean": summed,
                "rows and columns are swapped": _together(weights, tgt_words, columns).T,
                "the largest weight of the pieces that look; take their mean": (
                    _together(weights, tgt_words, columns, "max")
                ),
                "of a word that looks, only the first piece counts": (
                    _together(weights, tgt_words, columns, "first")
                ),
                "of a word that looks, only the last piece counts": (
                    _together(weights, tgt_words, columns, "last")
                ),
                "everything is divided by the number of all pieces; divide each word's row by the "
                "number of its own": summed / len(tgt_words),
            },
        )


# --- a habit, measured in a padded batch ------------------------------------------------


def _padded_maps(lengths, size):
    """Random maps (B, H, size, size) that give nothing to padding; its own rows look, too."""
    hidden = torch.arange(size) >= torch.tensor(lengths)[:, None, None, None]
    scores = torch.randn(len(lengths), H, size, size).masked_fill(hidden, -torch.inf)
    return scores.softmax(dim=-1)


@exercise(11, 4)
def mended_habit(answer):
    """The mean weight on the previous word, for each head."""
    maps = _padded_maps([T], T)
    expect(
        "one sentence, no padding",
        answer(maps, [T]),
        maps.diagonal(-1, 2, 3).mean(dim=(0, 2)),
        {
            "that is the next word: a row looks, a column is looked at": (
                maps.diagonal(1, 2, 3).mean(dim=(0, 2))
            ),
            "that is the word itself": maps.diagonal(0, 2, 3).mean(dim=(0, 2)),
            "divided by the number of words; the first one has none before it": (
                maps.diagonal(-1, 2, 3).sum(dim=(0, 2)) / T
            ),
            "the mean over the heads; each head has its own": maps.diagonal(-1, 2, 3).mean(),
        },
    )
    for what, lengths in (
        ("sentences of 7, 3 and 5 words", [T, 3, 5]),
        ("sentences of 7, 1 and 5 words: the second has nothing to measure", [T, 1, 5]),
    ):
        maps = _padded_maps(lengths, T)
        on_previous = maps.diagonal(-1, 2, 3)  # (B, H, T - 1)
        real = [w[:, : n - 1] for w, n in zip(on_previous, lengths, strict=True)]
        one_more = [w[:, :n] for w, n in zip(on_previous, lengths, strict=True)]
        of_sentences = torch.stack([w.mean(dim=1) for w in real])
        expect(
            what,
            answer(maps, lengths),
            torch.cat(real, dim=1).mean(dim=1),
            {
                "rows of padding are counted": on_previous.mean(dim=(0, 2)),
                "one row of padding is counted in each sentence: n words have n − 1 with a word "
                "before them": torch.cat(one_more, dim=1).mean(dim=1),
                "one row of padding is counted in each sentence (n words have n − 1 with a word "
                "before them), and a short sentence counts as much as a long one": (
                    torch.stack([w.mean(dim=1) for w in one_more]).mean(dim=0)
                ),
                "a short sentence counts as much as a long one: each word should count the same": (
                    of_sentences.mean(dim=0)
                ),
                "divided as if there were no padding": (
                    torch.cat(real, dim=1).sum(dim=1) / (len(lengths) * (T - 1))
                ),
            },
        )


# --- through the encoder ----------------------------------------------------------------


@exercise(11, 5)
def words_behind_positions(answer):
    """What a decoder step takes from each English word, through the encoder."""
    itself = torch.eye(S).expand(H, S, S)
    cross = torch.randn(H, 3, S).softmax(dim=-1)
    expect(
        "an encoder whose words look only at themselves",
        answer([itself], cross),
        cross.mean(dim=0),
        {
            "the heads of the cross-attention are not averaged": cross,
            "only its first head counts": cross[0],
            "the heads of the cross-attention are added; take their mean": cross.sum(dim=0),
            "half of the cross-attention is missing: the ½ is for self-attention alone": (
                cross.mean(dim=0) / 2
            ),
            "rows sum to more than 1: a layer is half its attention and half the residual "
            "connection": 2 * cross.mean(dim=0),
        },
    )
    layers = [torch.randn(H, S, S).softmax(dim=-1) for _ in range(3)]
    for what, some in (
        ("an encoder of one layer", layers[:1]),
        ("an encoder of three layers", layers),
    ):
        means = [layer.mean(dim=0) for layer in some]
        rolled = attention_rollout(some)
        seen, bare = cross.mean(dim=0), torch.eye(S)
        for mean in means:
            bare = mean @ bare
        heads = [attention_rollout([layer[[h]] for layer in some]) for h in range(H)]
        expect(
            what,
            answer(some, cross),
            seen @ rolled,
            {
                "that is where the step looks; the encoder is missing": seen,
                "the encoder's map is transposed: its rows are the positions, which the step looks "
                "at; its columns are the words": seen @ rolled.T,
                "the layers are multiplied in the wrong order: the lowest stands nearest to the "
                "words, on the right": seen @ attention_rollout(some[::-1]),
                "the residual connection is missing: ½ A + ½ I in each layer of the encoder": (
                    seen @ bare
                ),
                "only the last layer of the encoder counts": seen @ attention_rollout(some[-1:]),
                "only the first layer of the encoder counts": seen @ attention_rollout(some[:1]),
                "the mean of the encoder's layers; they work one after the other": (
                    seen @ attention_rollout([torch.stack(means)])
                ),
                "each head is followed on its own; a layer hands all its heads' findings on, "
                "mixed: average the heads of each layer first": (
                    torch.stack([w @ r for w, r in zip(cross, heads, strict=True)]).mean(dim=0)
                ),
            },
        )


# --- an exchange that leaves nothing behind ---------------------------------------------


class _Interrupted(Exception):
    """Raised within a block, to see what a context manager does then."""


def _enter(answer, *inputs):
    """Call the answer, which should give a context manager."""
    manager = answer(*inputs)
    hint = "; the decorator @contextmanager is missing" if hasattr(manager, "send") else ""
    expect_true(
        hasattr(manager, "__enter__") and hasattr(manager, "__exit__"),
        f"a context manager is expected, {type(manager).__name__} came{hint}",
    )
    return manager


def _within(answer, module, position, vectors, block, what="the block"):
    """Run a block within the learner's context manager, and hand on what it returned."""
    came = None
    try:
        with _enter(answer, module, position, vectors):
            came = block()
    except (NotDone, NotRight, _Interrupted):
        raise
    except Exception as error:
        where = "in" if came is None else "when leaving"
        hint = "\n  likely    the yield is missing" if "not an iterator" in str(error) else ""
        raise NotRight(f"{where} {what}: {type(error).__name__}: {error}{hint}") from None
    return came


def _exchanged(output, position, vectors):
    """The right output: other vectors at one position."""
    output = output.clone()
    output[:, position] = vectors
    return output


@exercise(11, 6)
def exchanged_vector(answer):
    """A context manager that exchanges what a module returns at one position."""
    module, x, vectors, position = nn.Linear(S, H), torch.randn(B, T, S), torch.randn(B, H), 1
    before = module(x).detach()
    right = _exchanged(before, position, vectors)
    elsewhere = before.clone()
    elsewhere[position] = vectors[position]
    came = _within(answer, module, position, vectors, lambda: module(x))
    expect(
        "in the block, what the module returns",
        came,
        right,
        {
            "nothing is exchanged: a hook has to return the new output": before,
            "position is that of a word, in the second dimension: [:, position]": elsewhere,
            "the vectors are added; they should take the place of what is there": (
                before + right - _exchanged(before, position, torch.zeros_like(vectors))
            ),
        },
    )
    expect_true(
        getattr(came, "requires_grad", False),
        "in the block, no gradient gets through: is there a detach?",
    )
    expect(
        "behind the block, what the module returns",
        module(x),
        before,
        {"the vectors are still exchanged: remove the hook after the yield": right},
    )
    _nothing_in_place(answer)
    _nothing_after_an_error(answer)
    _others_untouched(answer)


def _nothing_in_place(answer):
    """See that a module that returns its very input leaves that unchanged."""
    module, x, vectors = nn.Identity(), torch.randn(B, T, S), torch.randn(B, S)
    kept = x.clone()
    came = _within(answer, module, 3, vectors, lambda: module(x))
    expect_true(
        torch.equal(x, kept),
        "with nn.Identity, which returns its very input, that input was changed\n"
        "  likely    the hook writes into the output, which somebody else may hold: clone it first",
    )
    expect("in the block, what nn.Identity returns", came, _exchanged(kept, 3, vectors))


def _nothing_after_an_error(answer):
    """See that an error within goes on, and that nothing is left behind then."""
    module, x, vectors = nn.Linear(S, H), torch.randn(B, T, S), torch.randn(B, H)
    before = module(x)

    def stopped():
        raise _Interrupted

    try:
        _within(answer, module, 1, vectors, stopped)
    except _Interrupted:
        swallowed = False
    else:
        swallowed = True
    expect(
        "behind a block that was stopped by an error",
        module(x),
        before,
        {
            "the vectors are still exchanged: what has to happen in any case belongs into "
            "try … finally, around the yield": _exchanged(before, 1, vectors)
        },
    )
    expect_true(
        not swallowed,
        "an error in the block is swallowed, and nobody hears of it\n"
        "  likely    an except, a return in finally, or an __exit__ that returns True; use "
        "try … finally",
    )


def _others_untouched(answer):
    """See that another hook stays, and that two exchanges stand one within the other."""
    module, x, vectors = nn.Linear(S, H), torch.randn(B, T, S), torch.randn(2, B, H)
    before, calls = module(x), []
    module.register_forward_hook(lambda *_: calls.append(1))
    _within(answer, module, 1, vectors[0], lambda: module(x))
    calls.clear()
    module(x)
    expect_true(calls, "a hook that somebody else had put on the module is gone: remove only yours")

    def two():
        return _within(answer, module, 4, vectors[1], lambda: module(x)), module(x)

    what = "two blocks, one within the other"
    inner, after = _within(answer, module, 1, vectors[0], two, what)
    once = _exchanged(before, 1, vectors[0])
    expect(f"in {what}", inner, _exchanged(once, 4, vectors[1]))
    expect("behind the inner of two blocks", after, once)
    expect("behind both blocks", module(x), before)
