"""How good are translations? Exact match and BLEU, with the signature that says which BLEU."""

from typing import Any

__all__ = ["score_translations"]


def score_translations(got: list[str], wanted: list[str], tokenizer: str) -> dict[str, Any]:
    """Compare translations with what they should be.

    Args:
        got, wanted: the translations and what they should be.
        tokenizer: sacreBLEU's for BLEU: "13a", or "none" for text that is tokenised already.

    Returns:
        pairs, their number; exact, the share of equal ones; bleu, 0 to 100; its signature.

    Raises:
        ValueError: there are no translations, or not as many as there should be.
    """
    from sacrebleu.metrics import BLEU

    if not 0 < len(got) == len(wanted):
        raise ValueError(f"{len(got)} translations cannot be compared with {len(wanted)}")
    exact = sum(a == b for a, b in zip(got, wanted, strict=True)) / len(got)
    metric = BLEU(tokenize=tokenizer, force=True)  # tokenised text is no mistake
    bleu = metric.corpus_score(got, [wanted]).score
    signature = str(metric.get_signature())
    return {"pairs": len(got), "exact": exact, "bleu": bleu, "signature": signature}
