"""Training: the learning-rate schedule, the loss, and a loop that can be killed and resumed."""

import ctypes
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from transformer_lib.checkpoint import load_training, read_tensors, save_training, save_weights
from transformer_lib.data import Batch, Batches, fingerprint
from transformer_lib.masks import padding_mask
from transformer_lib.transformer import Transformer

__all__ = [
    "TokenLoss",
    "TrainingConfig",
    "accumulate_gradients",
    "arithmetic",
    "average_checkpoints",
    "join_processes",
    "keep_freed_memory",
    "label_smoothed_loss",
    "mean_loss",
    "train",
    "warmup_schedule",
]


def warmup_schedule(step: int, d_model: int, warmup: int = 4000, factor: float = 1.0) -> float:
    """Let the learning rate rise for `warmup` steps, then fall slowly (section 5.3, equation 3).

        rate = factor · d_model^(-1/2) · min(step^(-1/2), step · warmup^(-3/2))

    Args:
        step: the number of the step, from 1.
        d_model: D, the size of a token's vector.
        warmup: the step with the highest rate.
        factor: 1 in the paper; small models like more.

    Returns:
        the learning rate of this step.

    Raises:
        ValueError: `step` or `warmup` is less than 1.
    """
    if step < 1 or warmup < 1:
        raise ValueError(f"steps count from 1, got step={step} and warmup={warmup}")
    return factor * d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)


def label_smoothed_loss(
    logits: Tensor,
    labels: Tensor,
    smoothing: float = 0.1,
    pad_id: int = 0,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy against softened labels, over real target positions only (section 5.4).

        loss = -Σ_v q(v) · log softmax(logits)(v)        q = (1 - ε) · [v = label] + ε / V

    Args:
        logits: (…, V), a score per token of the vocabulary.
        labels: (…), the right tokens; positions with `pad_id` do not count.
        smoothing: ε, the share of the probability that is spread over all V tokens.
        pad_id: the id that fills short sequences up.
        reduction: "mean" per real position, or "sum" over them.

    Returns:
        the loss, a scalar, in nats.

    Raises:
        ValueError: there is no real position to take the mean of.
    """
    if reduction == "mean" and not (labels != pad_id).any():
        raise ValueError(f"no real position: all {labels.numel()} labels are padding")
    return F.cross_entropy(
        logits.flatten(0, -2),  # (N, V)
        labels.flatten(),  # (N,)
        ignore_index=pad_id,
        label_smoothing=smoothing,
        reduction=reduction,
    )


@dataclass(frozen=True)
class TrainingConfig:
    """How to train; schedule, smoothing and optimizer as in the paper (sections 5.3 and 5.4).

    Args:
        epochs: how often to go through the training data.
        warmup, factor: as in `warmup_schedule`.
        cooldown: epochs at the end over which the rate also falls in a line to 0; the paper
            has none, but a short training gains a lot from it.
        label_smoothing: ε in `label_smoothed_loss`.
        clip: the longest gradient, as a norm over all weights; longer ones are shortened.
        accumulate: how many batches make one step of the optimizer.
        precision: as in `arithmetic`.
        seed: of dropout's random numbers.
        save_every: steps from one saved state to the next.
        keep: of how many last epochs to keep the weights, for `average_checkpoints`.

    Raises:
        ValueError: a number is out of its range.
    """

    epochs: int = 10
    warmup: int = 4000
    factor: float = 1.0
    cooldown: int = 0
    label_smoothing: float = 0.1
    clip: float = 1.0
    accumulate: int = 1
    precision: str = "auto"
    seed: int = 0
    save_every: int = 500
    keep: int = 10

    def __post_init__(self):
        """Check each value."""
        for name in ("epochs", "warmup", "accumulate", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("factor", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if not 0 <= self.cooldown <= self.epochs:
            raise ValueError(
                f"cooldown must be at least 0 and at most epochs={self.epochs}, got {self.cooldown}"
            )
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(
                f"label_smoothing must be at least 0 and below 1, got {self.label_smoothing}"
            )


class TokenLoss(nn.Module):
    """The loss of a model on a batch, summed over the real target tokens.

    Args:
        model: the model.
        smoothing: ε in `label_smoothed_loss`; 0 gives the plain cross-entropy.
    """

    def __init__(self, model: Transformer, smoothing: float = 0.0):
        super().__init__()
        self.model = model
        self.smoothing = smoothing

    def forward(self, src: Tensor, tgt: Tensor) -> Tensor:
        """Read src (B, S) and tgt (B, T) from start to end token; return a scalar."""
        pad_id = self.model.config.pad_id
        inputs, labels = tgt[:, :-1], tgt[:, 1:]  # at each position, the token after it
        src_mask = padding_mask(src, pad_id)
        memory = self.model.encode(src, src_mask)
        hidden = self.model.decode(inputs, memory, memory_mask=src_mask)  # (B, T - 1, D)

        # The logits are by far the largest tensor, so padding does not get that far, and they
        # are made in slices small enough for the processor's cache.
        real = labels != pad_id
        slices = zip(hidden[real].split(512), labels[real].split(512), strict=True)
        return sum(
            label_smoothed_loss(self.model.output(h), y, self.smoothing, pad_id, "sum")
            for h, y in slices
        )


def mean_loss(model: Transformer, batches: Sequence[Batch], smoothing: float = 0.0) -> float:
    """Measure a model on batches: cross-entropy per real target token, without dropout.

    Args:
        model: the model; left in the mode that it was in.
        batches: pairs of src (B, S) and tgt (B, T).
        smoothing: ε in `label_smoothed_loss`.

    Returns:
        the mean in nats; its exponential is the perplexity.

    Raises:
        ValueError: there is no real target token to take the mean of.
    """
    training, device = model.training, model.output.weight.device
    loss, tokens = TokenLoss(model, smoothing).eval(), 0
    total = torch.zeros((), device=device)
    with torch.no_grad():
        for src, tgt in batches:
            total += loss(src.to(device), tgt.to(device))
            tokens += int((tgt[:, 1:] != model.config.pad_id).sum())
    model.train(training)
    if not tokens:
        raise ValueError("no batches to measure the loss on")
    return total.item() / tokens


@contextmanager
def arithmetic(precision: str, device: torch.device) -> Iterator[str]:
    """Within, float32 matrix products are as fast as `precision` allows; after, as before.

    Args:
        precision: "float32" changes nothing; "medium" lets float32 products be computed as
            fast as the machine can (TF32 on a GPU, on some CPUs bfloat16); "bfloat16" is for
            autocast; "auto" takes bfloat16 where the machine is fast in it, else medium.
        device: where the model is.

    Yields:
        the choice: "float32", "medium" or "bfloat16".

    Raises:
        ValueError: the precision is none of these four.
    """
    if precision not in ("float32", "medium", "bfloat16", "auto"):
        raise ValueError(f"precision must be float32, medium, bfloat16 or auto, got {precision!r}")
    if precision == "auto":
        cpu = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            fast = device.type == "cpu" and (cpu.get("avx512_bf16") or cpu.get("amx_bf16"))
        precision = "bfloat16" if fast else "medium"
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError:  # set through PyTorch's newer switches: that choice stays
        before = None
    if before is None or precision == "float32":
        yield precision
        return
    torch.set_float32_matmul_precision("medium")
    try:
        yield precision
    finally:
        torch.set_float32_matmul_precision(before)


def keep_freed_memory() -> None:
    """Have the process keep memory that it frees, where the C library is glibc (Linux).

    Each step frees hundreds of tensors, and the next one wants as many again. By default their
    memory goes back to the system in between and comes again page by page, filled with zeros.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(-3, 2**25)  # M_MMAP_THRESHOLD: tensors of up to 32 MB come from the heap,
        mallopt(-1, 2**30)  # M_TRIM_THRESHOLD: and up to 1 GB of it stays when free


def join_processes() -> tuple[int, int]:
    """Join the other processes that torchrun started, if it did.

    Returns:
        the rank of this process, and the number of processes: (0, 1) if it is alone.
    """
    if not distributed.is_available():
        return 0, 1
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not distributed.is_initialized():
        gpu = torch.cuda.is_available()
        if gpu:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        distributed.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo")
    if not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def accumulate_gradients(
    loss: nn.Module, batches: Sequence[Batch], pad_id: int = 0, precision: str = "float32"
) -> Tensor:
    """Add to each weight's gradient that of several batches, as if they were one large batch.

    The loss is the mean over all real target tokens, not a mean of means. Where several
    processes train together, each takes its share of every batch.

    Args:
        loss: a `TokenLoss`, or a `DistributedDataParallel` around it.
        batches: pairs of src (B, S) and tgt (B, T).
        pad_id: the id that fills short sequences up.
        precision: "bfloat16" multiplies matrices in bfloat16.

    Returns:
        the loss, a scalar; of all processes together.
    """
    rank, world = join_processes()
    device = next(loss.parameters()).device
    tokens = sum(int((tgt[:, 1:] != pad_id).sum()) for _, tgt in batches)  # of all processes
    total = torch.zeros((), device=device, dtype=next(loss.parameters()).dtype)
    for src, tgt in batches:
        src, tgt = src[rank::world].to(device), tgt[rank::world].to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            share = loss(src, tgt) / tokens
        # DistributedDataParallel takes the mean over the processes, but the sum is wanted.
        (share * world).backward()
        total += share.detach()
    if world > 1:
        distributed.all_reduce(total)
    return total


def train(
    model: Transformer,
    batches: Callable[[int], Sequence[Batch]],
    config: TrainingConfig | None = None,
    validate: Callable[[Transformer], dict] | Sequence[Batch] | Batches | None = None,
    folder: str | Path | None = None,
    on_step: Callable[[dict], None] | None = None,
    progress: bool = True,
) -> list[dict]:
    """Train a model with Adam (section 5.3).

    With a folder, the state of the training is kept there: killed at any moment and called
    again, `train` ends with the same weights as if nothing had happened. Dropout's random
    numbers follow from seed and step, so they need no saving. Where torchrun has started
    several processes, they share every batch, and the first one saves.

    Args:
        model: trained in place; in eval mode afterwards.
        batches: gives the list of batches of an epoch (0, 1, …), pairs of src (B, S) and
            tgt (B, T); for the same epoch always the same list.
        config: how to train.
        validate: what to do after each epoch: batches to take the `mean_loss` of, or a
            function of the model that returns a dictionary of figures.
        folder: where to keep `latest.safetensors`, the state, and each epoch's weights.
        on_step: called after each step with its row of the history.
        progress: whether to show a bar.

    Returns:
        the history, a row per step: step, epoch, loss, gradient_norm, learning_rate; the last
        row of an epoch also holds the figures of the validation, `valid_loss` for batches.

    Raises:
        FloatingPointError: loss or gradient is infinite or NaN; names the step and its batches.
        ValueError: an epoch has no batches, or the folder holds another training: of another
            model, on other data, or with other settings.
    """
    keep_freed_memory()
    config, (rank, world) = config or TrainingConfig(), join_processes()
    device, pad_id = model.output.weight.device, model.config.pad_id
    loss: nn.Module = TokenLoss(model, config.label_smoothing)
    adam = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98), eps=1e-9, fused=True)

    free = ["save_every", "keep"]  # may change when a training goes on
    free += [] if config.cooldown else ["epochs"]
    kind = {name: value for name, value in asdict(config).items() if name not in free}
    kind |= asdict(model.config)
    state = {"config": kind, "step": 0, "epoch": 0, "position": 0, "history": []}
    latest = Path(folder, "latest.safetensors") if folder else None
    if latest:
        kind["batches"] = fingerprint(batches(0))  # another corpus would be another training
    if latest and latest.exists():
        state = load_training(latest, model, adam, kind)
    if rank > 0:
        latest = None  # one process saves for all
    if isinstance(validate, Batches):
        validate = validate(0)  # the same batches after each epoch
    if world > 1:
        with warnings.catch_warnings(action="ignore"):  # PyTorch 2.13 renames the argument
            loss = DistributedDataParallel(loss, broadcast_buffers=False)

    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(gpus), arithmetic(config.precision, device) as precision:
        for epoch in range(state["epoch"], config.epochs):
            todo = list(batches(epoch))
            if not todo:
                raise ValueError(f"epoch {epoch} has no batches")
            starts = range(state["position"], len(todo), config.accumulate)
            title = f"epoch {epoch + 1}/{config.epochs} in {precision} on {device.type}"
            for start in (bar := tqdm(starts, title, disable=not progress or rank > 0)):
                chosen, step = todo[start : start + config.accumulate], state["step"] + 1
                rate = warmup_schedule(step, model.config.d_model, config.warmup, config.factor)
                if config.cooldown:
                    to_go = config.epochs - epoch - start / len(todo)
                    rate *= min(1.0, to_go / config.cooldown)
                adam.param_groups[0]["lr"] = rate
                torch.manual_seed(hash((config.seed, step, rank)))  # what dropout will draw

                model.train()
                adam.zero_grad()
                mean = accumulate_gradients(loss, chosen, pad_id, precision).item()
                norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip).item()
                if not math.isfinite(mean) or not math.isfinite(norm):
                    shapes = [(tuple(src.shape), tuple(tgt.shape)) for src, tgt in chosen]
                    raise FloatingPointError(
                        f"loss {mean}, gradient norm {norm} at step {step}: epoch {epoch}, "
                        f"batch {start} and on, (src, tgt) of shapes {shapes}"
                    )
                adam.step()

                row = {"step": step, "epoch": epoch, "loss": mean}
                row |= {"gradient_norm": norm, "learning_rate": rate}
                state["history"].append(row)
                state |= {"step": step, "position": start + len(chosen)}
                if latest and step % config.save_every == 0:
                    save_training(latest, model, adam, state)
                if on_step:
                    on_step(row)
                bar.set_postfix(loss=f"{mean:.3f}", refresh=False)

            if validate is not None:
                model.eval()
                with torch.autocast(device.type, torch.bfloat16, precision == "bfloat16"):
                    figures = validate(model) if callable(validate) else mean_loss(model, validate)
                if not isinstance(figures, dict):
                    figures = {"valid_loss": figures}
                state["history"][-1] |= {name: float(value) for name, value in figures.items()}
            state |= {"epoch": epoch + 1, "position": 0}
            if latest:
                save_weights(latest.parent, model, epoch + 1, config.keep)
                save_training(latest, model, adam, state)
    model.eval()
    return state["history"]


def average_checkpoints(paths: Sequence[str | Path]) -> dict[str, Tensor]:
    """Take the mean of a model's weights at several moments (section 6.1).

    Args:
        paths: files that `train` keeps, `epoch-….safetensors`; the paper takes the last 5.

    Returns:
        the mean of each weight by name, ready for `load_weights`.

    Raises:
        ValueError: there are no files, one is damaged, or they are not of the same model.
    """
    if not paths:
        raise ValueError("no checkpoints to average")
    mean: dict[str, Tensor] = {}
    for path in paths:
        tensors, _ = read_tensors(path)
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        if mean and shapes != {name: tensor.shape for name, tensor in mean.items()}:
            raise ValueError(f"{path} and {paths[0]} are not of the same model")
        for name, tensor in tensors.items():
            mean[name] = mean.get(name, 0.0) + tensor.double() / len(paths)
    return {name: mean[name].to(tensor.dtype) for name, tensor in tensors.items()}
