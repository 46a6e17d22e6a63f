"""From nothing to 95 % exact match on our corpus; and whether fast precisions cost quality.

    python -m benchmarks.learning       about 10 minutes; writes PRECISION.md

The time to 95 % is part of `make bench`.
"""

import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.measure import Comparison
from benchmarks.report import fast_precision, machine
from transformer_lib import (
    TrainingConfig,
    Transformer,
    TransformerConfig,
    Translator,
    mean_loss,
    train,
)
from transformer_lib.data import Batches, Pair, Vocabulary, load_en_de

# A model like that of notebook 09, but wider and trained for an epoch more, to be on the safe side.
SIZES = {"d_model": 128, "num_heads": 4, "num_encoder_layers": 2, "num_decoder_layers": 2}
SIZES |= {"d_ff": 512, "dropout": 0.0, "max_len": 256, "norm_first": True}
SIZES |= {"share_embeddings": "target"}
RECIPE = TrainingConfig(epochs=10, warmup=800, factor=0.96, cooldown=7, keep=3)
SHORT = replace(RECIPE, epochs=4, cooldown=3)  # far enough to see a difference
SEEDS = 3
HEAD = """\
# Do fast precisions cost quality?

Written by `python -m benchmarks.learning`: a model like notebook 09's, with d_model = 128 and
d_ff = 512, on the course's corpus, four epochs, the same three seeds in each precision. Loss is the
mean per token of the test set, exact the share of it translated right in every word, greedily.

"""


def from_nothing(
    pairs: list[Pair], test: list[Pair], recipe: TrainingConfig
) -> tuple[float, float, float]:
    """Train a model that has seen nothing, and let it translate the test set greedily.

    Args:
        pairs: what to train on.
        test: what to translate.
        recipe: how to train; its seed is that of the weights and of the batches, too.

    Returns:
        the processor time of the training in seconds, the share of exact translations, and the
        mean loss per token of the test set.
    """
    english = Vocabulary.from_sentences(pair.src for pair in pairs)
    german = Vocabulary.from_sentences(pair.tgt for pair in pairs)
    torch.manual_seed(recipe.seed)
    begin = time.process_time()
    model = Transformer(TransformerConfig(len(english), len(german), **SIZES))
    train(model, Batches(pairs, english, german, tokens=512, seed=recipe.seed), recipe)
    seconds = time.process_time() - begin
    got = Translator((model, english, german)).translate([pair.src for pair in test], beam=1)
    exact = sum(g == pair.tgt for g, pair in zip(got, test, strict=True)) / len(test)
    return seconds, exact, mean_loss(model, Batches(test, english, german)(0))


def learning(enough: float = 0.95) -> Comparison:
    """Measure the time that it takes to translate `enough` of the test set right in every word."""
    seconds, exact, _ = from_nothing(load_en_de("train"), load_en_de("test"), RECIPE)
    found = Comparison(f"from nothing to {enough:.0%} exact match", "s")
    if exact >= enough:
        found.values[f"ours, {exact:.1%}"] = [seconds]
    else:
        found.failures["ours"] = f"only {exact:.1%} after {seconds:.0f} s"
    return found


def by_precision(pairs: list[Pair], test: list[Pair], recipe: TrainingConfig) -> list[str]:
    """Train with each precision and seed, in turns; return the lines of a table in Markdown."""
    lines = ["| precision | seed | loss | exact | seconds |", "|---|--:|--:|--:|--:|"]
    for seed in range(SEEDS):
        for precision in ("float32", fast_precision()):
            run = replace(recipe, seed=seed, precision=precision)
            seconds, exact, loss = from_nothing(pairs, test, run)
            lines.append(f"| {precision} | {seed} | {loss:.4f} | {exact:.1%} | {seconds:.0f} |")
            print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Train, print and write."""
    torch.set_num_threads(1)
    lines = by_precision(load_en_de("train"), load_en_de("test"), SHORT)
    page = HEAD + machine() + "\n\n" + "\n".join(lines) + "\n"
    Path(__file__).with_name("PRECISION.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
