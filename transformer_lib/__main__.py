"""The command line: `python -m transformer_lib translate | train | evaluate`.

Nothing is computed here; each command reads its arguments and calls the module that does it.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from torch import distributed

from transformer_lib.checkpoint import course_models, load_weights, save_checkpoint
from transformer_lib.data import Batches, Pair, load_tsv
from transformer_lib.decoding import Translator
from transformer_lib.metrics import score_translations
from transformer_lib.presets import PRESETS, Preset, make_model, make_vocabularies
from transformer_lib.text import learn_casing, restore
from transformer_lib.training import TrainingConfig, average_checkpoints, join_processes, train


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
    add_preset(command)
    command.add_argument("--out", type=Path, required=True, help="folder of the trained model")
    command.add_argument("--train", type=Path, help="your own pairs: a file, tab between sides")
    command.add_argument("--valid", type=Path, help="your own pairs to validate on")
    command.add_argument("--epochs", type=int, help="a single training of so many epochs")
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=train_preset)

    command = commands.add_parser("evaluate", help="exact match and BLEU on pairs of sentences")
    command.add_argument("--data", type=Path, help="your own pairs, instead of a preset's split")
    add_preset(command)
    command.add_argument("--split", default="test", help="train, valid, test (default) or other")
    add_model(command, None)
    command.add_argument("--alpha", type=float, help="length penalty; if not given, the preset's")
    command.set_defaults(run=evaluate)
    return top


def add_preset(command: argparse.ArgumentParser) -> None:
    """Add the option that names a preset; multi30k-tiny will do for multi30k_tiny."""
    command.add_argument("--preset", type=underscored, choices=PRESETS, default="en_de_small")


def underscored(name: str) -> str:
    """Spell a name as presets and models are spelled."""
    return name.replace("-", "_")


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
    pairs, valid, casing = read_corpus(preset, options)
    vocabularies = make_vocabularies(pairs, preset.joint_bpe)
    configs = training_configs(preset, options)
    rank, _ = join_processes()  # before the model moves: each process has a GPU of its own
    torch.manual_seed(options.seed)
    model = make_model(preset, *vocabularies).to("cuda" if torch.cuda.is_available() else "cpu")
    batches = partial(Batches, tokens=preset.tokens, max_len=model.config.max_len)
    start = time.perf_counter()
    for name, config in configs.items():
        history = train(
            model,
            batches(pairs, *vocabularies, seed=config.seed),
            config,
            validate=batches(valid, *vocabularies)(0) if valid else None,
            folder=options.out / name,
        )
        if rank == 0:  # the others get these weights when the next training begins
            epochs = sorted((options.out / name).glob("epoch-*.safetensors"))
            load_weights(model, average_checkpoints(epochs))
    if rank > 0:
        return
    card = {
        "data": options.train.name if options.train else preset.data,
        "command": f"python -m transformer_lib train --preset {options.preset}",
        "pairs": len(pairs),
        **{name: asdict(config) for name, config in configs.items()},
        "minutes": round((time.perf_counter() - start) / 60, 1),
        "machine": f"{torch.get_num_threads()} threads, torch {torch.__version__}",
        "validation": {k: v for k, v in history[-1].items() if k.startswith("valid")},
    }
    save_checkpoint(options.out, model, *vocabularies, card, casing)
    print(f"saved in {options.out}")


def read_corpus(
    preset: Preset, options: argparse.Namespace
) -> tuple[list[Pair], list[Pair] | None, dict[str, str] | None]:
    """Read pairs to train on, pairs to validate on and the casing; the last two may be None."""
    if options.train:
        pairs = load_tsv(options.train)
        return pairs, load_tsv(options.valid) if options.valid else None, None
    pairs = preset.load("train")
    valid = load_tsv(options.valid) if options.valid else preset.load("valid")
    casing = None
    if preset.ordinary:
        casing = learn_casing(pair.tgt for pair in preset.ordinary("train"))
    return pairs, valid, casing


def training_configs(preset: Preset, options: argparse.Namespace) -> dict[str, TrainingConfig]:
    """Give the preset's trainings other seeds; if epochs are asked for, one training of so many."""
    first, again = preset.training, preset.again
    if options.epochs is not None:
        cooldown = min(first.cooldown, max(options.epochs, 0))
        first, again = replace(first, epochs=options.epochs, cooldown=cooldown), None
    configs = {"training": first} | ({"again": again} if again else {})
    return {name: replace(c, seed=c.seed + options.seed) for name, c in configs.items()}


def evaluate(options: argparse.Namespace) -> None:
    """Print the scores of tokenised text as it is, and of ordinary text where there is some."""
    preset = PRESETS[options.preset]
    pairs = load_tsv(options.data) if options.data else preset.load(options.split)
    translator = Translator(options.model or options.preset)
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
    """Print what `score_translations` finds."""
    found = score_translations(got, wanted, tokenizer)
    print(f"{len(got)} pairs, exact match {found['exact']:.1%}, BLEU {found['bleu']:.2f}")
    print(found["signature"])


if __name__ == "__main__":
    sys.exit(main())
