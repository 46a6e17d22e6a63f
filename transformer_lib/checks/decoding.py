"""Checkers for notebook 10, decoding."""

import heapq
import math

import torch

from transformer_lib.checks.judging import (
    NotRight,
    exercise,
    expect,
    expect_choice,
    expect_number,
    expect_true,
    unpack,
)
from transformer_lib.decoding import length_penalty

__all__ = [
    "best_continuations",
    "bleu_on_paper",
    "bug_behind_the_differences",
    "colder_search",
    "likeliest_sentence",
    "mended_beam",
]

END = "</s>"


@exercise(10, 1)
def bleu_on_paper(answer):
    """The BLEU of one translation that is longer than its reference."""

    def root(*shares):
        return 100 * math.prod(shares) ** 0.25

    bleu = root(7 / 9, 6 / 8, 4 / 7, 3 / 6)
    expect_number(
        answer,
        bleu,
        {
            "the second Milch was counted, but the reference has only one": (
                root(8 / 9, 6 / 8, 4 / 7, 3 / 6)
            ),
            "there is no prize for being longer than the reference: the penalty is at most 1": (
                bleu * math.exp(1 - 7 / 9)
            ),
            "the penalty is for translations that are shorter than the reference": (
                bleu * math.exp(1 - 9 / 7)
            ),
            "that is the mean of the four; BLEU takes the fourth root of their product": (
                100 * (7 / 9 + 6 / 8 + 4 / 7 + 3 / 6) / 4
            ),
            "the fourth root of the product is missing": 100 / 6,
            "that is the square root of the product; take it once more": 100 * (1 / 6) ** 0.5,
            "on the scale from 0 to 100, please": bleu / 100,
            "divided by the n-grams of the reference; a precision divides by the translation's": (
                root(7 / 7, 6 / 6, 4 / 5, 3 / 4)
            ),
        },
        tolerance=0.15,
    )


@exercise(10, 2)
def colder_search(answer):
    """What a low temperature changes in what greedy and beam search find."""
    expect_choice(
        answer,
        "b",
        {
            "a": "the order of the words stays the same in each step, but a sentence's probability "
            "is a product over steps, and each step is sharpened by another amount: work out both "
            "ways through the tree",
            "c": "greedy looks at the order of the words in one step alone: does that change?",
            "d": "greedy looks at the order of the words in one step alone: does that change?",
        },
    )


@exercise(10, 3)
def bug_behind_the_differences(answer):
    """Which bug makes the differences between cached and uncached logits."""
    expect_choice(
        answer,
        "c",
        {
            "a": "the first token does stand first, so the first step would be right in each row",
            "b": "in the first step there is no past to forget, so it would be right in each row",
            "d": "that is no bug: the source does not change; and here one sentence is right",
        },
    )


@exercise(10, 4)
def best_continuations(answer):
    """The likeliest continuations of a sentence's hypotheses: log P, parents, newest words."""
    names = "log_p", "parents", "newest"
    words = torch.tensor([[0.1, 0.15, 0.3, 0.4, 0.05]]).log()
    log_p, parents, newest = unpack(answer(torch.zeros(1), words, 2), *names)
    last = torch.tensor([0.05, 0.1]).log()
    expect(
        "one hypothesis, the two likeliest words: their log-probabilities",
        log_p,
        torch.tensor([0.4, 0.3]).log(),
        {
            "these are the two least likely": last,
            "the likeliest comes first": torch.tensor([0.3, 0.4]).log(),
            "these are probabilities, not their logarithms": torch.tensor([0.4, 0.3]),
        },
    )
    swapped = "parents and newest words are swapped"
    expect(
        "their parent is hypothesis 0, twice",
        parents,
        torch.tensor([0, 0]),
        {swapped: torch.tensor([3, 2])},
    )
    expect("the words are 3 and 2", newest, torch.tensor([3, 2]))

    log_p = torch.tensor([-0.5, -1.0, -3.0])
    row = [0.6, 0.12, 0.1, 0.11, 0.07], [0.05, 0.06, 0.8, 0.05, 0.04]
    words = torch.tensor([[0.1, 0.15, 0.3, 0.4, 0.05], *row]).log()
    total = log_p[:, None] + words
    right, flat = total.flatten().topk(3)
    found, parents, newest = unpack(answer(log_p, words, 3), *names)
    product = (log_p[:, None] * words).flatten()
    expect(
        "three hypotheses, the three likeliest continuations: their log-probabilities",
        found,
        right,
        {
            "the best of each hypothesis; two of the three best may have the same parent": (
                total.amax(dim=1)
            ),
            "the hypotheses' own log-probabilities are not added": words.flatten().topk(3).values,
            "the three best belong to one hypothesis: look through all of them": (
                total[0].topk(3).values
            ),
            "log-probabilities are added, not multiplied": product.topk(3).values,
            "the smallest products are no better: add": product.topk(3, largest=False).values,
            "these are log-probabilities of the words alone; add the parent's": (
                words.flatten()[flat]
            ),
        },
    )
    expect(
        "their parents",
        parents,
        flat // 5,
        {
            swapped: flat % 5,
            "the index must be divided by the number of words V, not by the number of hypotheses": (
                flat // 3
            ),
            "this is the index in the flattened table; divide it by V": flat,
        },
    )
    expect(
        "their newest words",
        newest,
        flat % 5,
        {
            "the word is the remainder after division by the number of words V": flat % 3,
            "this is the index in the flattened table; take the remainder by V": flat,
        },
    )


@exercise(10, 5)
def mended_beam(answer):
    """Beam search with plain lists and a length penalty, mended."""

    def forever(words):
        return [("doch", math.log(0.9)), (END, math.log(0.1))]

    short, long = ["ja", END], ["doch", "doch", "doch", "doch", END]
    p = {"short": math.log(0.6 * 0.5), "long": math.log(0.4 * 0.9**4)}
    words, score = _hypothesis(answer(_two_ways, END, 2, 6, 0))
    expect_true(words == short, f"with α = 0, {_say(short)} is the likeliest; {_say(words)} came")
    expect("its score, with α = 0", score, torch.tensor(p["short"]))
    words, score = _hypothesis(answer(_two_ways, END, 2, 6, 1))
    if words == short:
        times = torch.tensor(p["short"]) * length_penalty(2, 1)
        problem = (
            "multiplied by the penalty: log-probabilities are negative, so that favours short ones"
            if abs(score - times) < 1e-4
            else "each must be divided by the penalty of its own length; and do not stop at the "
            "first that ends"
        )
        raise NotRight(f"with α = 1, {_say(long)} wins; {_say(words)} came\n  likely    {problem}")
    expect_true(words == long, f"with α = 1, {_say(long)} wins; {_say(words)} came")
    expect(
        "its score, with α = 1",
        score,
        torch.tensor(p["long"] / length_penalty(5, 1)),
        {
            f"the length counts {END}, too": torch.tensor(p["long"] / length_penalty(4, 1)),
            "chosen by its own length, but scored by that of the limit": (
                torch.tensor(p["long"] / length_penalty(6, 1))
            ),
            "divided by the length; the penalty is ((5 + length) / 6)^α": (
                torch.tensor(p["long"] / 5)
            ),
            "that is its log-probability; return the score": torch.tensor(p["long"]),
        },
    )
    never = "where nothing has ended, the likeliest hypothesis counts as it stands"
    try:
        words, score = _hypothesis(answer(forever, END, 1, 3, 1))
    except NotRight as problem:
        raise NotRight(f"{never}; {problem}") from None
    expect_true(words == ["doch"] * 3, f"{never}: doch doch doch; {_say(words)} came")
    expect(
        f"{never}, divided by its penalty, too",
        score,
        torch.tensor(3 * math.log(0.9) / length_penalty(3, 1)),
        {"that is its log-probability; return the score": torch.tensor(3 * math.log(0.9))},
    )


@exercise(10, 6)
def likeliest_sentence(answer):
    """The likeliest sentence of all, for sure, and without looking at all."""
    asked = 0

    def counted(language):
        nonlocal asked
        asked = 0

        def options(words):
            nonlocal asked
            asked += 1
            if asked > 3000:
                raise NotRight(
                    f"{language.__doc__.rstrip('.')}: it asked for more than 3000 continuations\n"
                    "  likely    it goes on with beginnings that cannot win "
                    "any more, or with unlikely ones first"
                )
            return language(tuple(words))

        return options

    for language, limit in ((_ja_and_doch, 3), (_a_limit, 2), (_a_hidden_way, 4), (_a_long, 12)):
        best, log_p = _best_first(language, limit)
        words, came = _hypothesis(answer(counted(language), END, limit))
        title = language.__doc__.rstrip(".")
        likely = {
            ("ja", END): "that is greedy's answer",
            ("doch", "doch", END): f"that is longer than the limit, which counts {END}, too",
            best[:-1]: f"a sentence ends with {END}",
        }.get(tuple(words))
        if language is _a_hidden_way and not likely:
            likely = "the way to it has an unlikely beginning, and was given up"
        expect_true(
            words == list(best),
            f"{title}: {_say(best)} is the likeliest; {_say(words)} came"
            + (f"\n  likely    {likely}" if likely else ""),
        )
        expect(
            f"{title}: its log-probability",
            came,
            torch.tensor(log_p),
            {"that is the probability; its logarithm is wanted": torch.tensor(math.exp(log_p))},
        )


# --- languages, and what is right in them -----------------------------------------------


def _logs(**shares):
    """Options with their log-probabilities; `end` stands for the end token."""
    return [(END if word == "end" else word, math.log(p)) for word, p in shares.items()]


def _two_ways(words):
    """A short answer that is likely, and a long one that is nearly as likely."""
    if not words:
        return _logs(ja=0.6, doch=0.4)
    if tuple(words) == ("ja",):
        return _logs(ja=0.3, doch=0.2, end=0.5)
    if set(words) == {"doch"} and len(words) < 5:
        return _logs(ja=0.06, doch=0.9, end=0.04) if len(words) < 4 else _logs(ja=0.1, end=0.9)
    return _logs(ja=0.35, doch=0.34, end=0.31)


def _ja_and_doch(words):
    """The language of ja and doch."""
    table = {(): (0.5, 0.4, 0.1), ("ja",): (0.3, 0.3, 0.4), ("doch",): (0.05, 0.05, 0.9)}
    ja, doch, end = table.get(words, (0, 0, 1))
    return _logs(ja=ja, doch=doch, end=end) if ja else _logs(end=1.0)


def _a_limit(words):
    """A language whose likeliest sentence is too long."""
    table = {(): _logs(doch=0.7, end=0.3), ("doch",): _logs(doch=0.99, end=0.01)}
    return table.get(words, _logs(end=1.0))


def _a_hidden_way(words):
    """A language whose best sentence begins with an unlikely word."""
    ways = [str(n) for n in range(99)]  # likelier than doch, but leading nowhere
    if not words:
        return [*((way, math.log(0.01)) for way in ways), *_logs(doch=0.009, end=0.001)]
    if words[0] == "doch":
        return _logs(doch=0.99, end=0.01) if len(words) < 3 else _logs(end=1.0)
    return [(way, math.log(0.01)) for way in [*ways, END]]


def _a_long(words):
    """A language of long sentences."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    right = [*"transformer", END][min(len(words), 11)]
    return [(w, math.log(0.8 if w == right else 0.2 / 26)) for w in [*letters, END]]


def _best_first(language, limit):
    """The likeliest sentence and its log-probability: go on with the likeliest beginning."""
    heap = [(0.0, ())]
    while True:
        cost, words = heapq.heappop(heap)
        if words and words[-1] == END:
            return words, -cost
        if len(words) < limit:
            for word, p in language(words):
                heapq.heappush(heap, (cost - p, (*words, word)))


def _hypothesis(came):
    """Take (words, number) apart."""
    words, number = unpack(came, "words", "number")
    expect_true(
        isinstance(words, list | tuple) and all(isinstance(word, str) for word in words),
        f"a list of words and a number are expected, {words!r} came first",
    )
    try:
        return list(words), float(number)
    except (TypeError, ValueError, RuntimeError):
        raise NotRight(
            f"a list of words and a number are expected, {number!r} came second"
        ) from None


def _say(words):
    """Words as a sentence."""
    return " ".join(words) or "nothing"
