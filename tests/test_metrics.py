"""Scores of translations: equal ones, sacreBLEU's BLEU, and which of the two lists is which."""

import math

import pytest

from transformer_lib.metrics import score_translations

WANTED = ["the cat sleeps on the mat .", "a small dog barks at the cat ."]


def test_what_is_right_scores_most():
    found = score_translations(WANTED, WANTED, "none")
    assert (found["pairs"], found["exact"]) == (2, 1.0)
    assert found["bleu"] == pytest.approx(100)
    assert "|tok:none|" in found["signature"]


def test_one_of_two_is_half():
    assert score_translations([WANTED[0], "no"], WANTED, "13a")["exact"] == 0.5


def test_what_is_short_but_right_pays_the_brevity_penalty_alone():
    short = [sentence.removesuffix(" .") for sentence in WANTED]  # 13 tokens of 15
    bleu = 100 * math.exp(1 - 15 / 13)
    assert score_translations(short, WANTED, "none")["bleu"] == pytest.approx(bleu)


def test_the_tokenizer_cuts_off_a_full_stop():
    glued = [sentence.replace(" .", ".") for sentence in WANTED]
    assert score_translations(glued, WANTED, "13a")["bleu"] == pytest.approx(100)
    assert score_translations(glued, WANTED, "none")["bleu"] < 100


@pytest.mark.parametrize(("got", "wanted"), [(1, 2), (2, 1), (0, 0)])
def test_there_is_a_translation_for_each(got, wanted):
    with pytest.raises(ValueError, match=f"{got} translations cannot be compared with {wanted}"):
        score_translations(WANTED[:got], WANTED[:wanted], "none")
