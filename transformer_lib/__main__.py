"""The command line: `python -m transformer_lib translate | train | evaluate`.

Nothing is computed here; each command reads its arguments and calls the module that does it.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from transformer_lib.checkpoint import course_models, load_weights, save_checkpoint
from transformer_lib.data import (
    Batches,
    BPEVocabulary,
    Pair,
    Vocabulary,
    load_en_de,
    load_multi30k,
    load_tsv,
)
from transformer_lib.decoding import Translator
from transformer_lib.feed_forward import FeedForward
from transformer_lib.multi_head import MultiHeadAttention
from transformer_lib.text import learn_casing, restore
from transformer_lib.training import TrainingConfig, average_checkpoints, join_processes, train
from transformer_lib.transformer import Transformer, TransformerConfig


@dataclass(frozen=True)
class Preset:
    """A corpus, a model and a training that fit each other.

    Args:
        data: what the corpus is, for the model's card.
        load: gives the pairs of a split, tokenised.
        ordinary: gives them as ordinary text; None if there are only tokenised ones.
        joint_bpe: size of one BPE vocabulary for both languages; None for a word vocabulary each.
        model: sizes of the model, less those of the vocabularies.
        tokens: the budget of a batch.
        training: how to train.
        paper_dropout: drop elements only where section 5.4 says so: of what sub-layers give out
            and of embeddings with positions, but not of attention weights and hidden units.
        alpha: the length penalty, chosen on the validation split.
    """

    data: str
    load: Callable[[str], list[Pair]]
    ordinary: Callable[[str], list[Pair]] | None
    joint_bpe: int | None
    model: dict[str, Any]
    tokens: int
    training: TrainingConfig
    paper_dropout: bool = False
    alpha: float = 0.6


PRESETS = {
    # 1.43 makes the highest rate 0.004.
    "en-de-small": Preset(
        "the course's own English–German corpus, data/en_de/train.tsv",
        load_en_de,
        None,
        None,
        {"d_model": 128, "num_heads": 4, "num_encoder_layers": 3, "num_decoder_layers": 3}
        | {"d_ff": 512, "max_len": 256, "norm_first": True, "share_embeddings": "target"},
        1024,
        TrainingConfig(epochs=36, warmup=1000, factor=1.43, cooldown=18, keep=5),
    ),
    # Transformer-Tiny of Wu et al. 2021; 2.53 makes the highest rate 0.005.
    "multi30k-tiny": Preset(
        "Multi30k, English–German, lower-cased and tokenised (for research and education)",
        lambda split: load_multi30k(split, tokenised=True),
        load_multi30k,
        10_000,
        {"d_model": 128, "num_heads": 4, "num_encoder_layers": 4, "num_decoder_layers": 4}
        | {"d_ff": 256, "dropout": 0.3, "norm_first": True, "share_embeddings": True},
        4096,
        TrainingConfig(epochs=75, warmup=2000, factor=2.53, cooldown=35, keep=10),
        paper_dropout=True,
        alpha=1.4,
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 1 after an error that the message explains."""
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except (OSError, ValueError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    finally:
        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()  # that a training joined
    return 0


def parser() -> argparse.ArgumentParser:
    """Describe the three commands."""
    top = argparse.ArgumentParser(
        "python -m transformer_lib",
        description='The Transformer of "Attention Is All You Need", from scratch.',
    )
    commands = top.add_subparsers(required=True, metavar="command")

    command = commands.add_parser("translate", help="translate a text, or lines from the input")
    command.add_argument("text", nargs="*", help="sentences; none reads lines from the input")
    add_model(command, "en_de_small")
    command.add_argument("--alpha", type=float, default=0.6, help="strength of the length penalty")
    command.set_defaults(run=translate)

    command = commands.add_parser("train", help="train a model; go on from its last saved state")
    command.add_argument("--preset", choices=PRESETS, default="en-de-small")
    command.add_argument("--out", type=Path, required=True, help="folder of the trained model")
    command.add_argument("--train", type=Path, help="your own pairs: a file, tab between sides")
    command.add_argument("--valid", type=Path, help="your own pairs to validate on")
    command.add_argument("--epochs", type=int, help="instead of the preset's")
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=train_preset)

    command = commands.add_parser("evaluate", help="exact match and BLEU on pairs of sentences")
    command.add_argument("--data", type=Path, help="your own pairs, instead of a preset's split")
    command.add_argument("--preset", choices=PRESETS, default="en-de-small")
    command.add_argument("--split", default="test", help="train, valid, test (default) or other")
    add_model(command, None)
    command.add_argument("--alpha", type=float, help="length penalty; if not given, the preset's")
    command.set_defaults(run=evaluate)
    return top


def add_model(command: argparse.ArgumentParser, default: str | None) -> None:
    """Add the options of the commands that translate; without default, the preset names a model."""
    names, otherwise = ", ".join(course_models()), default or "the one of the preset's name"
    text = f"one of the course's ({names}), or a folder; {otherwise} if not given"
    command.add_argument("--model", default=default, help=text)
    command.add_argument("--beam", type=int, default=4, help="hypotheses kept; 1 is greedy")


def translate(options: argparse.Namespace) -> None:
    """Print a translation for each text."""
    translator = Translator(options.model)
    for text in options.text or map(str.strip, sys.stdin):
        print(translator.translate(text, options.beam, options.alpha), flush=True)


def train_preset(options: argparse.Namespace) -> None:
    """Train on a preset's corpus or one's own; save the mean of the last epochs' weights."""
    preset = PRESETS[options.preset]
    pairs = load_tsv(options.train) if options.train else preset.load("train")
    valid = load_tsv(options.valid) if options.valid else None
    if valid is None and not options.train:
        valid = preset.load("valid")
    casing = None
    if preset.ordinary and not options.train:
        casing = learn_casing(pair.tgt for pair in preset.ordinary("train"))
    src_vocabulary, tgt_vocabulary = make_vocabularies(pairs, preset.joint_bpe)
    sizes = TransformerConfig(len(src_vocabulary), len(tgt_vocabulary), **preset.model)

    settings = asdict(preset.training) | {"seed": options.seed}
    if options.epochs is not None:
        settings["epochs"] = options.epochs
        settings["cooldown"] = min(settings["cooldown"], max(options.epochs, 0))
    config = TrainingConfig(**settings)
    rank, _ = join_processes()  # before the model moves: each process has a GPU of its own
    torch.manual_seed(options.seed)
    model = Transformer(sizes).to("cuda" if torch.cuda.is_available() else "cpu")
    if preset.paper_dropout:
        drop_as_in_the_paper(model)
    state, start = options.out / "training", time.perf_counter()
    vocabularies = src_vocabulary, tgt_vocabulary
    history = train(
        model,
        Batches(pairs, *vocabularies, tokens=preset.tokens, seed=options.seed),
        config,
        validate=Batches(valid, *vocabularies, tokens=preset.tokens)(0) if valid else None,
        folder=state,
    )
    if rank > 0:
        return
    load_weights(model, average_checkpoints(sorted(state.glob("epoch-*.safetensors"))))
    card = {
        "data": options.train.name if options.train else preset.data,
        "command": f"python -m transformer_lib train --preset {options.preset}",
        "pairs": len(pairs),
        "training": asdict(config),
        "minutes": round((time.perf_counter() - start) / 60, 1),
        "machine": f"{torch.get_num_threads()} threads, torch {torch.__version__}",
        "validation": {k: v for k, v in history[-1].items() if k.startswith("valid")},
    }
    save_checkpoint(options.out, model, *vocabularies, card, casing)
    print(f"saved in {options.out}")


def drop_as_in_the_paper(model: Transformer) -> None:
    """Drop no attention weights and no hidden units (section 5.4)."""
    for module in model.modules():
        if isinstance(module, MultiHeadAttention):
            module.dropout = 0.0
        elif isinstance(module, FeedForward):
            module.dropout.p = 0.0


def make_vocabularies(pairs: list[Pair], joint_bpe: int | None) -> tuple[Vocabulary, Vocabulary]:
    """Make a vocabulary of words for each side, or one of BPE pieces for both."""
    sources, targets = [pair.src for pair in pairs], [pair.tgt for pair in pairs]
    if joint_bpe is None:
        return Vocabulary.from_sentences(sources), Vocabulary.from_sentences(targets)
    both = BPEVocabulary.from_sentences(sources + targets, joint_bpe)
    return both, both


def evaluate(options: argparse.Namespace) -> None:
    """Print the scores of tokenised text as it is, and of ordinary text where there is some."""
    preset = PRESETS[options.preset]
    pairs = load_tsv(options.data) if options.data else preset.load(options.split)
    translator = Translator(options.model or options.preset.replace("-", "_"))
    tokenised = not (options.data and translator.casing)  # who has such a model has ordinary text
    sources = [pair.src for pair in pairs]
    alpha = preset.alpha if options.alpha is None else options.alpha
    got = translator.translate(sources, options.beam, alpha, tokenised=tokenised)
    print_scores(got, [pair.tgt for pair in pairs], "none" if tokenised else "13a")
    if preset.ordinary and translator.casing and not options.data:
        print("The same translations as ordinary text:")
        restored = [restore(text, translator.casing) for text in got]
        print_scores(restored, [pair.tgt for pair in preset.ordinary(options.split)], "13a")


def print_scores(got: list[str], wanted: list[str], tokenizer: str) -> None:
    """Print what `scores` finds."""
    found = scores(got, wanted, tokenizer)
    print(f"{len(got)} pairs, exact match {found['exact']:.1%}, BLEU {found['bleu']:.2f}")
    print(found["signature"])


def scores(got: list[str], wanted: list[str], tokenizer: str) -> dict[str, Any]:
    """Compare translations with what they should be.

    Args:
        got, wanted: the translations and what they should be.
        tokenizer: sacreBLEU's for BLEU: "13a", or "none" for text that is tokenised already.

    Returns:
        pairs, their number; exact, the share of equal ones; bleu, 0 to 100; its signature.
    """
    from sacrebleu.metrics import BLEU

    exact = sum(a == b for a, b in zip(got, wanted, strict=True)) / len(got)
    metric = BLEU(tokenize=tokenizer, force=True)  # tokenised text is no mistake
    bleu = metric.corpus_score(got, [wanted]).score
    signature = str(metric.get_signature())
    return {"pairs": len(got), "exact": exact, "bleu": bleu, "signature": signature}


if __name__ == "__main__":
    sys.exit(main())
