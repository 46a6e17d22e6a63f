"""Ordinary text, and the tokenised lower-case text that published translation results are about.

    A man isn't riding a bike.      ⇄      a man isn &apos;t riding a bike .

Cutting and joining is the work of Moses (Koehn et al. 2007), in the Python of sacremoses. What
lower case loses is put back from a table of how each word is usually written.
"""

import functools
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

__all__ = ["check_casing", "learn_casing", "restore", "tokenise"]


def tokenise(text: str, language: str) -> str:
    """Normalise the punctuation of a text, cut it into tokens and write it in lower case.

    Args:
        text: a sentence as people write it.
        language: "en" or "de", whose abbreviations keep their dots.

    Returns:
        the tokens with a space between; quotes, "&" and brackets stand as "&quot;" and the like.
    """
    return " ".join(_cased_tokens(text, language)).lower()


def restore(text: str, casing: dict[str, str]) -> str:
    """Turn tokenised, lower-cased German into ordinary text: undo `tokenise`, nearly.

    Args:
        text: tokens with a space between.
        casing: from `learn_casing`. A sentence begins with a capital without it, too.

    Returns:
        the text, punctuation where it belongs, words in their usual case.
    """
    tokens = text.split()
    if not tokens:
        return ""
    words = []
    for before, token, starts in zip(["", *tokens], tokens, _starts(tokens), strict=False):
        word = casing.get(f"{before} {token}") or casing.get(token, token)
        words.append(word[0].upper() + word[1:] if starts else word)
    return _moses("MosesDetokenizer", "de").detokenize(words)


def learn_casing(sentences: Iterable[str]) -> dict[str, str]:
    """Collect how German words are usually written, from words that don't start a sentence.

    Args:
        sentences: ordinary German text.

    Returns:
        the usual form of a lower-cased word, {"frau": "Frau"}, where it is not in lower case;
        and after another word, {"eine junge": "junge"}, where that makes a difference.
    """
    counts = defaultdict(Counter)
    for sentence in sentences:
        cased = _cased_tokens(sentence, "de")
        for before, token, starts in zip(["", *cased], cased, _starts(cased), strict=False):
            if not starts:
                counts[token.lower()][token] += 1
                counts[f"{before} {token}".lower()][token] += 1

    # Of forms that are equally frequent, the first in the alphabet, so that nothing is random.
    usual = {key: min(c, key=lambda form: (-c[form], form)) for key, c in counts.items()}
    casing = {}
    for key in sorted(usual, key=lambda key: (" " in key, key)):  # words before pairs
        word = key.split(" ")[-1]
        if usual[key] != casing.get(word, word):
            casing[key] = usual[key]
    return casing


def check_casing(casing: Any) -> None:
    """Check that a table can do nothing to a text but change the case of its letters.

    Raises:
        ValueError: it is no dictionary, or has an entry that is of another kind.
    """
    if not isinstance(casing, dict):
        raise ValueError(f"a casing table must be a dictionary, got {type(casing).__name__}")
    for key, form in casing.items():
        words = str(key).split(" ")
        if not isinstance(form, str) or not 1 <= len(words) <= 2 or form.lower() != words[-1]:
            raise ValueError(f"{str(form)[:40]!r} is not {str(key)[:40]!r} in another case")


def _starts(tokens: Sequence[str]) -> Iterator[bool]:
    """Say of each token whether it is the first word of a sentence."""
    starting = True
    for token in tokens:
        is_word = token[0].isalnum()  # so quotes and dashes don't count
        yield starting and is_word
        starting = not is_word and (starting or token in ".!?")


def _cased_tokens(text: str, language: str) -> list[str]:
    text = unicodedata.normalize("NFC", text)  # "ü" may have been typed as two characters
    normal = _moses("MosesPunctNormalizer", language).normalize(text)
    return _moses("MosesTokenizer", language).tokenize(normal)


@functools.cache
def _moses(tool: str, language: str) -> Any:
    import sacremoses

    return getattr(sacremoses, tool)(language)
