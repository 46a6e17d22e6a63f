"""The comparisons: training, reading and decoding, on random tokens and on real text.

Every contestant is a name and a precision: "ours, bfloat16". In training, bfloat16 is autocast; in
reading and decoding, the weights are cast.
"""

import random
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.contestants import CONTESTANTS, Contestant, Size
from benchmarks.measure import Comparison, cpu_ms, in_turns
from benchmarks.report import fast_precision
from transformer_lib import arithmetic
from transformer_lib.data import END, PAD, START, Batch, Batches, Pair, Vocabulary, pad_rows

CPU = torch.device("cpu")
DTYPES = {"float32": torch.float32, "medium": torch.float32, "bfloat16": torch.bfloat16}
PRECISIONS = tuple(DTYPES)
PRODUCTS = 20
PRODUCTS_FLOPS = PRODUCTS * 2 * 1024**3
# The first is the measure of all. The precisions that ours has are given to it, too.
ENTRANTS = [("nn.Transformer", p) for p in PRECISIONS] + [("ours", p) for p in PRECISIONS]
ENTRANTS += [(name, "float32") for name in CONTESTANTS if name not in ("nn.Transformer", "ours")]
ENTRANTS += [("Marian", "medium"), ("x-transformers", "medium")]
WITHOUT_CACHE = ("nn.Transformer", "labml-nn")


def random_batch(size: Size) -> Batch:
    """Draw sentences of one length, without padding; the target has a start token more."""
    generator = torch.Generator().manual_seed(0)
    shape = (size.batch, size.length + 1)
    src, tgt = (torch.randint(4, size.vocabulary, shape, generator=generator) for _ in range(2))
    tgt[:, 0] = START
    return Batch(src[:, 1:], tgt)


class TrainingStep:
    """One step of training: loss, gradients, clipping, Adam.

    Args:
        model: what is trained.
        precision: "float32", "medium" or "bfloat16" (autocast).
    """

    def __init__(self, model: Contestant, precision: str):
        self.model, self.precision = model.train(), precision
        parameters = model.parameters()
        self.adam = torch.optim.Adam(parameters, 1e-4, betas=(0.9, 0.98), eps=1e-9, fused=True)

    def __call__(self, src: Tensor, tgt: Tensor) -> float:
        """Take a step on src (B, S) and tgt (B, T + 1); return the loss."""
        self.adam.zero_grad()
        with arithmetic(self.precision, CPU):
            with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
                loss = self.model.loss(src, tgt)
            loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.adam.step()
        return loss.item()


def in_eval(model: Contestant, precision: str, act: Callable) -> Callable:
    """Make a function that does something with a model in eval mode, in some precision."""
    if precision == "bfloat16":
        model = model.bfloat16()
    model.eval()

    def run():
        with arithmetic(precision, CPU), torch.inference_mode():
            return act(model)

    return run


def everyone(
    prepare: Callable[[Contestant, str], Callable],
    size: Size,
    entrants: Sequence[tuple[str, str]],
) -> dict[str, Callable]:
    """Make what each entrant does; the model is made in its first run, so errors show there.

    Args:
        prepare: of a model and a precision, a function to run.
        size: of the models.
        entrants: names and precisions.
    """

    def entrant(name: str, precision: str) -> Callable:
        ready = []

        def run():
            if not ready:
                torch.manual_seed(0)
                ready.append(prepare(CONTESTANTS[name](size), precision))
            return ready[0]()

        return run

    return {f"{name}, {precision}": entrant(name, precision) for name, precision in entrants}


def training(size: Size, label: str) -> Comparison:
    """Compare one training step."""
    batch = random_batch(size)

    def prepare(model: Contestant, precision: str) -> Callable:
        step = TrainingStep(model, precision)
        return lambda: step(*batch)

    return in_turns(f"training step, {label}", everyone(prepare, size, ENTRANTS))


def forward(size: Size, label: str) -> Comparison:
    """Compare reading a batch: token ids in, all logits out."""
    src, tgt = random_batch(size)

    def prepare(model: Contestant, precision: str) -> Callable:
        return in_eval(model, precision, lambda model: model(src, tgt[:, :-1]))

    return in_turns(f"forward, {label}", everyone(prepare, size, ENTRANTS))


def decoding(size: Size, label: str, how: str) -> Comparison:
    """Compare the generation of as many tokens as the source has; `how` is "greedy" or "beam"."""
    src, _ = random_batch(size)

    def prepare(model: Contestant, precision: str) -> Callable:
        return in_eval(model, precision, lambda model: getattr(model, how)(src, size.length))

    what = "greedy decoding" if how == "greedy" else "beam search (4)"
    entrants = ENTRANTS
    if how == "beam":  # four times greedy decoding for those without a cache: one is enough
        entrants = [e for e in ENTRANTS if e == ENTRANTS[0] or e[0] not in WITHOUT_CACHE]
    return in_turns(f"{what}, {label}", everyone(prepare, size, entrants))


def speeds() -> str:
    """Measure how fast the machine multiplies matrices now; say it in words.

    Where others compute at the same time, these are lower, and the fast precisions lose most.
    """
    words = []
    for precision in PRECISIONS:
        values = [cpu_ms(partial(products, precision)) for _ in range(5)]
        words.append(f"{precision} {PRODUCTS_FLOPS / min(values) / 1e6:.0f}")
    return ", ".join(words) + " GFLOP/s"


def products(precision: str) -> None:
    """Multiply large square matrices in some precision."""
    a, b = torch.ones(2, 1024, 1024, dtype=DTYPES[precision])
    with arithmetic(precision, CPU):
        for _ in range(PRODUCTS):
            a @ b


def machine_limit(size: Size, label: str) -> list[Comparison]:
    """Compare our training step with its matrix products alone, at the machine's best speed.

    The products are counted while a step runs. The best speed is that of a product of two large
    square matrices, measured in the same rounds.
    """
    batch, found = random_batch(size), []
    # Where bfloat16 is slow, a large product in it is no limit: small ones take other paths.
    for precision in dict.fromkeys(["medium", fast_precision()]):
        step = TrainingStep(CONTESTANTS["ours"](size), precision)
        with FlopCounterMode(display=False) as counter:
            step(*batch)
        flops = counter.get_total_flops()
        runs = {
            "matrix products alone": partial(products, precision),
            "ours": lambda step=step: step(*batch),
        }
        comparison = in_turns(f"training step against the machine's limit, {label}", runs)
        scale = flops / PRODUCTS_FLOPS
        limit = [scale * value for value in comparison.values["matrix products alone"]]
        comparison.values["matrix products alone"] = limit
        found.append(named(comparison, precision))
    return found


def named(comparison: Comparison, precision: str) -> Comparison:
    """Write the precision behind each contestant's name."""
    comparison.values = {f"{who}, {precision}": v for who, v in comparison.values.items()}
    return comparison


def random_batches(
    pairs: Sequence[Pair], src_vocabulary: Vocabulary, tgt_vocabulary: Vocabulary, size: int = 128
) -> list[Batch]:
    """Cut the shuffled pairs into batches of `size`, whatever their lengths."""
    pairs = random.Random(0).sample(pairs, len(pairs))
    batches = []
    for first in range(0, len(pairs), size):
        some = pairs[first : first + size]
        src = pad_rows([[*src_vocabulary.encode(pair.src), END] for pair in some])
        tgt = pad_rows([[START, *tgt_vocabulary.encode(pair.tgt), END] for pair in some])
        batches.append(Batch(src, tgt))
    return batches


def real_text(
    corpus: str,
    pairs: Sequence[Pair],
    vocabularies: tuple[Vocabulary, Vocabulary],
    size: Size,
    per_turn: int = 4000,
) -> Comparison:
    """Compare the time that a real target token takes in training on a corpus.

    Args:
        corpus: its name, for the report.
        pairs: its sentences.
        vocabularies: of source and target.
        size: of the models, but for the vocabulary.
        per_turn: real target tokens that each trains on in a turn, at least.
    """
    vocabulary = max(map(len, vocabularies))
    size = Size(size.d_model, size.layers, size.batch, size.length, size.heads, vocabulary)
    ours = Batches(pairs, *vocabularies)(0)
    kinds = {"random batches": random_batches(pairs, *vocabularies), "our batches": ours}
    auto = fast_precision()
    entrants = [("nn.Transformer", "random batches", "float32")]
    entrants += [("nn.Transformer", "our batches", p) for p in ("float32", auto)]
    entrants += [("ours", "our batches", p) for p in ("float32", auto)]
    runs = {}
    for name, kind, precision in entrants:
        step = TrainingStep(CONTESTANTS[name](size), precision)
        runs[f"{name}, {kind}, {precision}"] = some_tokens(step, kinds[kind], per_turn)
    what = f"training on {corpus}, per 1,000 real target tokens"
    return in_turns(what, runs, measure=cpu_ms_per_1000_tokens)


def some_tokens(step: TrainingStep, batches: list[Batch], enough: int) -> Callable[[], int]:
    """Make a function that trains on the next batches until it has seen enough tokens."""
    position = 0

    def run() -> int:
        nonlocal position
        tokens = 0
        while tokens < enough:
            batch = batches[position % len(batches)]
            step(*batch)
            tokens += int((batch.tgt[:, 1:] != PAD).sum())
            position += 1
        return tokens

    return run


def cpu_ms_per_1000_tokens(run: Callable[[], int]) -> float:
    """Run what returns a number of tokens; return the ms that 1,000 of them took."""
    tokens = []
    milliseconds = cpu_ms(lambda: tokens.append(run()))
    return 1000 * milliseconds / tokens[0]
