"""Plausible wrong answers to notebook 10: label → (answer, part of the verdict)."""

import heapq
import math
from itertools import product

import torch

from transformer_lib import length_penalty


def continuations(log_p, words, beam, by=None, swap=False):
    V = words.size(1)
    log_p, best = (log_p[:, None] + words).flatten().topk(beam)
    parents, newest = best // (by or V), best % (by or V)
    return (log_p, newest, parents) if swap else (log_p, parents, newest)


def best_of_each(log_p, words, beam):
    total, newest = (log_p[:, None] + words).max(dim=1)
    if len(log_p) == 1:
        return continuations(log_p, words, beam)
    return total, torch.arange(len(log_p)), newest


def words_alone(log_p, words, beam):
    return continuations(torch.zeros_like(log_p), words, beam)


def multiplied(log_p, words, beam):
    if len(log_p) == 1:
        return continuations(log_p, words, beam)
    found, best = (log_p[:, None] * words).flatten().topk(beam)
    return found, best // words.size(1), best % words.size(1)


def smallest(log_p, words, beam):
    found, best = (log_p[:, None] + words).flatten().topk(beam, largest=False)
    return found, best // words.size(1), best % words.size(1)


def by_beam(log_p, words, beam):
    return continuations(log_p, words, beam, by=len(log_p) if len(log_p) > 1 else None)


def flat(log_p, words, beam):
    found, parents, _ = continuations(log_p, words, beam)
    return found, parents, (log_p[:, None] + words).flatten().topk(beam).indices


def probabilities(log_p, words, beam):
    found, parents, newest = continuations(log_p, words, beam)
    return found.exp(), parents, newest


def two_things(log_p, words, beam):
    return (log_p[:, None] + words).flatten().topk(beam)


def beam_with(divisor, stop=False, choose=None):
    """Beam search with a divisor of its own: (words, limit, α) → number."""

    def search(options, end, beam, limit, alpha):
        live, ended = [([], 0.0)], []
        for _ in range(limit):
            grown = [([*words, w], log_p + p) for words, log_p in live for w, p in options(words)]
            best = sorted(grown, key=lambda hypothesis: -hypothesis[1])[:beam]
            ended += [h for h in best if h[0][-1] == end]
            live = [h for h in best if h[0][-1] != end]
            if stop and ended:
                break
        ended = ended or live
        chosen = max(ended, key=lambda h: h[1] / (choose or divisor)(h[0], limit, alpha))
        return chosen[0], chosen[1] / divisor(chosen[0], limit, alpha)

    return search


def own(words, limit, alpha):
    return length_penalty(len(words), alpha)


def of_the_limit(words, limit, alpha):
    return length_penalty(limit, alpha)


def without_end(words, limit, alpha):
    return length_penalty(len(words) - (words[-1] == "</s>"), alpha)


def plain_length(words, limit, alpha):
    return len(words) ** alpha


def times(words, limit, alpha):
    return 1 / length_penalty(len(words), alpha)


def log_p_returned(options, end, beam, limit, alpha):
    words, score = beam_with(own)(options, end, beam, limit, alpha)
    return words, score * length_penalty(len(words), alpha)


def nothing_ended(options, end, beam, limit, alpha):
    words, score = beam_with(own)(options, end, beam, limit, alpha)
    if words[-1] != end:
        raise ValueError("max() iterable argument is empty")
    return words, score


def not_divided_at_the_end(options, end, beam, limit, alpha):
    words, score = beam_with(own)(options, end, beam, limit, alpha)
    return words, score if words[-1] == end else score * length_penalty(len(words), alpha)


def greedy(options, end, limit):
    words, log_p = [], 0.0
    while len(words) < limit and end not in words:
        word, p = max(options(words), key=lambda option: option[1])
        words, log_p = [*words, word], log_p + p
    return words, log_p


def a_beam(width):
    def search(options, end, limit):
        return beam_with(own)(options, end, width, limit, 0)

    return search


def best_first(options, end, limit, room=0, exponent=False):
    heap = [(0.0, [])]
    while True:
        cost, words = heapq.heappop(heap)
        if words and words[-1] == end:
            return words, math.exp(-cost) if exponent else -cost
        if len(words) < limit + room:
            for word, p in options(words):
                heapq.heappush(heap, (cost - p, [*words, word]))


def everything(options, end, limit):
    best = ([], -math.inf)

    def go_on(words, log_p):
        nonlocal best
        for word, p in options(words):
            if word == end:
                best = max(best, ([*words, word], log_p + p), key=lambda h: h[1])
            elif len(words) + 1 < limit:
                go_on([*words, word], log_p + p)

    go_on([], 0.0)
    return best


def cut_off(options, end, limit):
    words, log_p = best_first(options, end, limit)
    return words[:-1], log_p


WRONG = {
    "bleu_on_paper": {
        "Milch counted twice": (66.1, "the second Milch"),
        "a prize for length": (79.8, "no prize for being longer"),
        "lengths swapped": (48.0, "shorter than the reference"),
        "mean": (65.0, "the mean of the four"),
        "product": (16.7, "the fourth root of the product is missing"),
        "square root": (40.8, "once more"),
        "0 to 1": (0.64, "from 0 to 100"),
        "by the reference": (88.0, "divided by the n-grams of the reference"),
        "any other": (50, "it is larger"),
    },
    "colder_search": {
        "neither": ("a", "each step is sharpened by another amount"),
        "greedy": ("c", "one step alone"),
        "both": ("d", "one step alone"),
    },
    "bug_behind_the_differences": {
        "position 0": ("a", "first token does stand first"),
        "no past": ("b", "no past to forget"),
        "computed once": ("d", "that is no bug"),
        "a word": ("mask", "is expected"),
    },
    "best_continuations": {
        "one of each": (best_of_each, "two of the three best may have the same parent"),
        "words alone": (words_alone, "own log-probabilities are not added"),
        "multiplied": (multiplied, "added, not multiplied"),
        "smallest": (smallest, "the two least likely"),
        "divided by the beam": (by_beam, "not by the number of hypotheses"),
        "swapped": (lambda *a: continuations(*a, swap=True), "are swapped"),
        "flat": (flat, "index in the flattened table"),
        "probabilities": (probabilities, "not their logarithms"),
        "two things": (two_things, "a tuple (log_p, parents, newest) is expected"),
    },
    "mended_beam": {
        "the limit's penalty": (beam_with(of_the_limit), "penalty of its own length"),
        "multiplied": (beam_with(times), "multiplied by the penalty"),
        "without the end": (beam_with(without_end), "the length counts </s>, too"),
        "divided by the length": (beam_with(plain_length), "the penalty is ((5 + length) / 6)^α"),
        "the first that ends": (beam_with(own, stop=True), "do not stop at the first that ends"),
        "scored by the limit": (beam_with(of_the_limit, choose=own), "scored by that of the limit"),
        "log P": (log_p_returned, "that is its log-probability; return the score"),
        "nothing ended": (nothing_ended, "where nothing has ended"),
        "log P, nothing ended": (not_divided_at_the_end, "where nothing has ended"),
        "words alone": (
            lambda *a: beam_with(own)(*a)[0],
            "a list of words and a number are expected",
        ),
    },
    "likeliest_sentence": {
        "greedy": (greedy, "that is greedy's answer"),
        "a beam of 4": (a_beam(4), "an unlikely beginning, and was given up"),
        "a beam of 50": (a_beam(50), "an unlikely beginning, and was given up"),
        "everything": (everything, "cannot win any more"),
        "no limit": (lambda *a: best_first(*a, room=99), "longer than the limit"),
        "one word too many": (lambda *a: best_first(*a, room=1), "longer than the limit"),
        "a probability": (lambda *a: best_first(*a, exponent=True), "its logarithm is wanted"),
        "without the end": (cut_off, "a sentence ends with </s>"),
    },
}

# Solutions written otherwise than the notebook's, all of them right.


def with_lists(log_p, words, beam):
    total = [
        (float(log_p[k] + words[k, v]), k, v)
        for k, v in product(range(words.size(0)), range(words.size(1)))
    ]
    return [list(column) for column in zip(*sorted(total, reverse=True)[:beam], strict=True)]


def tuples(options, end, beam, limit, alpha):
    live, best, score = {(): 0.0}, None, -math.inf
    for step in range(1, limit + 1):
        grown = {(*h, w): p + q for h, p in live.items() for w, q in options(h)}
        live = dict(sorted(grown.items(), key=lambda item: item[1], reverse=True)[:beam])
        for words in [words for words in live if words[-1] == end]:
            p = live.pop(words) / ((5 + step) / 6) ** alpha
            best, score = (words, p) if p > score else (best, score)
    if best is None:
        best = max(live, key=live.get)
        score = live[best] / length_penalty(limit, alpha)
    return best, score


def deep_first(options, end, limit):
    best = ([], -math.inf)

    def go_on(words, log_p):
        nonlocal best
        for word, p in sorted(options(words), key=lambda option: -option[1]):
            if log_p + p <= best[1]:
                break
            if word == end:
                best = ([*words, word], log_p + p)
            elif len(words) + 1 < limit:
                go_on([*words, word], log_p + p)

    go_on([], 0.0)
    return best


ALSO_RIGHT = {
    "bleu_on_paper": {"one decimal": 63.9, "all digits": 63.894310424627285},
    "colder_search": {"a capital": "B"},
    "best_continuations": {"loops and lists": with_lists},
    "mended_beam": {"another loop": tuples},
    "likeliest_sentence": {"deep first": deep_first, "lists": best_first},
}
