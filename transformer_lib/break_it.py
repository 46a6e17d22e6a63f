"""Break a Transformer that works, one change at a time, and measure what happens.

    python -m transformer_lib.break_it data/break_it.json

trains each change with three seeds, writes every result into the file at once, and goes on where
it was if it is called again. Notebook 13 shows the results.
"""

import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from transformer_lib import multi_head, training, transformer
from transformer_lib.attention import scaled_dot_product_attention
from transformer_lib.data import Batch, Batches, Pair, Vocabulary, load_en_de
from transformer_lib.decoding import Translator
from transformer_lib.embeddings import PositionalEncoding
from transformer_lib.feed_forward import ResidualConnection
from transformer_lib.multi_head import MultiHeadAttention
from transformer_lib.training import TokenLoss, TrainingConfig, mean_loss, train, warmup_schedule
from transformer_lib.transformer import Transformer, TransformerConfig

__all__ = [
    "CHANGES",
    "MODEL",
    "SEEDS",
    "TOKENS",
    "TRAINING",
    "VALID_PAIRS",
    "Change",
    "attention_over_queries",
    "attention_without_scale",
    "exact_match",
    "exchanged",
    "experiment",
    "full_rate_at_once",
    "loss_without_shift",
    "mask_after_softmax",
    "merge_without_transpose",
    "no_mask",
    "positions_left_out",
    "run_all",
    "split_without_transpose",
    "sublayer_alone",
    "sum_without_norm",
    "teacher_forced_accuracy",
]

MODEL = {
    "d_model": 128,
    "num_heads": 4,
    "num_encoder_layers": 2,
    "num_decoder_layers": 2,
    "d_ff": 512,
    "dropout": 0.0,
    "max_len": 128,
    "share_embeddings": "target",
}
TRAINING = {"epochs": 4, "warmup": 500, "factor": 0.96, "cooldown": 3, "label_smoothing": 0.1}
TOKENS = 512  # of a batch
VALID_PAIRS = 500  # how many are measured
SEEDS = (0, 1, 2)


# --- the changes ------------------------------------------------------------------------


def attention_without_scale(query, key, value, mask=None, dropout=0.0):
    """Leave the division by √d_k out."""
    return scaled_dot_product_attention(query, key, value, mask, dropout, scale=1.0)


def attention_over_queries(query, key, value, mask=None, dropout=0.0):
    """Take the softmax over the wrong axis: queries compete for a key."""
    scores = query @ key.mT / math.sqrt(query.size(-1))  # (B, H, T, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-2)
    return F.dropout(weights, dropout) @ value, weights


def mask_after_softmax(query, key, value, mask=None, dropout=0.0):
    """Let hidden keys take part in the softmax, and hide them only then."""
    scores = query @ key.mT / math.sqrt(query.size(-1))  # (B, H, T, S)
    weights = scores.softmax(dim=-1)
    if mask is not None:
        weights = weights.masked_fill(~mask, 0.0)
    return F.dropout(weights, dropout) @ value, weights


def no_mask(length, device=None):
    """Hide nothing where the causal mask hides the future."""
    return torch.ones(1, 1, length, length, dtype=torch.bool, device=device)


def loss_without_shift(self, src, tgt):
    """Let the decoder read, at each position, the very token that it has to predict."""
    labels, pad_id = tgt[:, 1:], self.model.config.pad_id
    logits, real = self.model(src, labels), labels != pad_id
    return training.label_smoothed_loss(logits[real], labels[real], self.smoothing, pad_id, "sum")


def positions_left_out(self, x, start=0):
    """Add no positions to the embeddings."""
    return self.dropout(x)


def sublayer_alone(self, x, sublayer):
    """Hand on what the sub-layer says, without the x that it was told."""
    return self.norm(self.dropout(sublayer(x)))


def sum_without_norm(self, x, sublayer):
    """Add, and do not normalise."""
    return x + self.dropout(sublayer(x))


def split_without_transpose(self, x):
    """Cut (B, T, D) into something of shape (B, H, T, d_k), mixing tokens and heads."""
    return x.reshape(x.size(0), self.num_heads, x.size(1), -1)


def merge_without_transpose(self, x):
    """Put the pieces back, (B, H, T, d_k) → (B, T, D), as they were cut."""
    return x.reshape(x.size(0), x.size(2), -1)


def full_rate_at_once(step, d_model, warmup=4000, factor=1.0):
    """Begin with the highest rate instead of warming up to it."""
    return warmup_schedule(max(step, warmup), d_model, warmup, factor)


@dataclass(frozen=True)
class Change:
    """One change to a model that works.

    Args:
        swaps: (owner, name, function): which function stands in for `owner.name`.
        model, training: settings that differ from `MODEL` and `TRAINING`.
        pairs: how many sentence pairs there are to learn from, all if None. Fewer are repeated,
            so that the number of steps stays about the same.
    """

    swaps: tuple[tuple[Any, str, Any], ...] = ()
    model: dict = field(default_factory=dict)
    training: dict = field(default_factory=dict)
    pairs: int | None = None


CHANGES = {
    "nothing changed": Change(),
    "no √d_k": Change(((multi_head, "scaled_dot_product_attention", attention_without_scale),)),
    "no positional encoding": Change(((PositionalEncoding, "forward", positions_left_out),)),
    "softmax over the queries": Change(
        ((multi_head, "scaled_dot_product_attention", attention_over_queries),)
    ),
    "mask after the softmax": Change(
        ((multi_head, "scaled_dot_product_attention", mask_after_softmax),)
    ),
    "no causal mask": Change(((transformer, "causal_mask", no_mask),)),
    "targets not shifted": Change(((TokenLoss, "forward", loss_without_shift),)),
    "no residuals": Change(((ResidualConnection, "forward", sublayer_alone),)),
    "no layer norm": Change(((ResidualConnection, "forward", sum_without_norm),)),
    "no warm-up": Change(((training, "warmup_schedule", full_rate_at_once),)),
    "no label smoothing": Change(training={"label_smoothing": 0.0}),
    "one head": Change(model={"num_heads": 1}),
    "heads split without transpose": Change(
        (
            (MultiHeadAttention, "split_heads", split_without_transpose),
            (MultiHeadAttention, "merge_heads", merge_without_transpose),
        )
    ),
    "embeddings not tied": Change(model={"share_embeddings": False}),
    "dropout": Change(model={"dropout": 0.1}),
    "2,000 pairs": Change(pairs=2_000),
    "2,000 pairs, dropout": Change(model={"dropout": 0.1}, pairs=2_000),
}


# --- the experiment ---------------------------------------------------------------------


@contextmanager
def exchanged(owner: Any, name: str, function: Any) -> Iterator[None]:
    """Within, `owner.name` is another function; afterwards it is what it was."""
    before = getattr(owner, name)
    setattr(owner, name, function)
    try:
        yield
    finally:
        setattr(owner, name, before)


def teacher_forced_accuracy(model: Transformer, batches: Sequence[Batch]) -> float:
    """Say which share of tokens a model predicts right, given all the right ones before.

    Inputs and labels are those of its own training, so a mistake made there is made here.
    """
    counts = []

    def count(logits, labels, *_):
        counts.append(((logits.argmax(dim=-1) == labels).sum().item(), len(labels)))
        return logits.new_zeros(())

    with exchanged(training, "label_smoothed_loss", count):
        mean_loss(model, batches)
    right, total = map(sum, zip(*counts, strict=True))
    return right / total


def experiment(name: str, seed: int, epochs: int | None = None, progress: bool = False) -> dict:
    """Train with one of the `CHANGES`, and measure what came of it.

    Args:
        name: of the change.
        seed: of the first weights, the order of the batches, and dropout.
        epochs: instead of those in `TRAINING`, for a quick look.
        progress: whether to show a bar.

    Returns:
        change, seed, and: steps and loss, the mean training loss of 50 steps each; valid_loss
        after the last epoch, accuracy (teacher-forced) and exact (the share of validation
        sentences decoded greedily without a mistake); minutes.
    """
    change, start = CHANGES[name], time.perf_counter()
    pairs, valid = load_en_de("train"), load_en_de("valid")[:VALID_PAIRS]
    english = Vocabulary.from_sentences(pair.src for pair in pairs)
    german = Vocabulary.from_sentences(pair.tgt for pair in pairs)
    repeats = max(1, len(pairs) // (change.pairs or len(pairs)))
    settings = TRAINING | change.training | {"seed": seed}
    if epochs:
        settings |= {"epochs": epochs, "cooldown": min(epochs, settings["cooldown"])}
    once = Batches(pairs[: change.pairs], english, german, TOKENS, seed)

    def batches(epoch):
        return [batch for n in range(repeats) for batch in once(epoch * repeats + n)]

    with ExitStack() as stack:
        for swap in change.swaps:
            stack.enter_context(exchanged(*swap))
        torch.manual_seed(seed)
        model = Transformer(TransformerConfig(len(english), len(german), **MODEL | change.model))
        history = train(model, batches, TrainingConfig(**settings), progress=progress)
        check = Batches(valid, english, german, TOKENS)(0)
        result = {
            "valid_loss": round(mean_loss(model, check), 4),
            "accuracy": round(teacher_forced_accuracy(model, check), 4),
            "exact": round(exact_match(Translator((model, english, german)), valid), 4),
        }
    losses = torch.tensor([row["loss"] for row in history]).split(50)
    steps = [50 * (i + 1) for i in range(len(losses))]
    curve = {"steps": steps, "loss": [round(part.mean().item(), 4) for part in losses]}
    minutes = round((time.perf_counter() - start) / 60, 2)
    return {"change": name, "seed": seed} | curve | result | {"minutes": minutes}


def exact_match(translator: Translator, pairs: Sequence[Pair]) -> float:
    """Return the share of sentences translated without a mistake, greedily."""
    texts = translator.translate([pair.src for pair in pairs], beam=1)
    return sum(text == pair.tgt for text, pair in zip(texts, pairs, strict=True)) / len(pairs)


def run_all(path: Path) -> None:
    """Run every change with every seed, and write each result down as it comes."""
    about = {"command": f"python -m transformer_lib.break_it {path}", "torch": torch.__version__}
    about |= {"model": MODEL, "training": TRAINING, "tokens": TOKENS, "valid_pairs": VALID_PAIRS}
    content = {"about": about, "runs": []}
    if path.exists():
        content = json.loads(path.read_text("utf-8"))
        if content["about"] != about:
            raise SystemExit(f"{path} holds results of other settings: remove it first")
    done = {(result["change"], result["seed"]) for result in content["runs"]}
    torch.set_num_threads(1)
    for seed in SEEDS:
        for name in CHANGES:
            if (name, seed) not in done:
                result = experiment(name, seed)
                content["runs"].append(result)
                part = path.with_suffix(".part")
                part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
                os.replace(part, path)
                figures = {k: result[k] for k in ("accuracy", "exact", "minutes")}
                print(f"{name}, seed {seed}: {figures}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m transformer_lib.break_it RESULTS.json")
    run_all(Path(sys.argv[1]))
