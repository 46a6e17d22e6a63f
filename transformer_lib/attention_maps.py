"""Look into a model: record attention, turn it into alignments, follow it, switch heads off."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from transformer_lib.multi_head import MultiHeadAttention

__all__ = [
    "align_words",
    "alignment_error_rate",
    "ask_for_weights",
    "attention_modules",
    "attention_rollout",
    "head_importance",
    "mask_heads",
    "record_attention",
    "silence",
    "stack_cross_attention",
]


def attention_modules(model: nn.Module) -> dict[str, MultiHeadAttention]:
    """Find every `MultiHeadAttention` in a model, by its name.

    Raises:
        ValueError: there is none, or the model is compiled: its code is fixed by then.
    """
    modules = dict(model.named_modules())
    if any(hasattr(m, "_orig_mod") or m._compiled_call_impl is not None for m in modules.values()):
        raise ValueError("a compiled model hides its attention: call it as before torch.compile")
    found = {name: m for name, m in modules.items() if isinstance(m, MultiHeadAttention)}
    if not found:
        raise ValueError(f"there is no MultiHeadAttention in {type(model).__name__}")
    return found


@contextmanager
def record_attention(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Within: each attention of the model leaves its weights in the dictionary, by its name.

        with record_attention(model) as maps:
            model(src, tgt)
        maps["decoder.layers.0.cross_attention"]  # (B, H, T, S)

    The model computes what it would compute without. The weights are those before dropout; where
    an attention runs several times, the last ones stay. Afterwards, the model is as it was.

    Args:
        model: any module with `MultiHeadAttention` in it.

    Yields:
        name → (B, H, T, S), detached, in the order in which they were computed.

    Raises:
        ValueError: the model has no attention, or is compiled.
        RuntimeError: no attention ran within.
    """
    maps: dict[str, Tensor] = {}
    hooks = []
    try:
        for name, module in attention_modules(model).items():
            hooks += ask_for_weights(module, partial(maps.__setitem__, name))
        yield maps
    finally:
        for hook in hooks:
            hook.remove()
    if not maps:
        raise RuntimeError(
            "no attention ran: call the model within, as it was before torch.compile"
        )


def ask_for_weights(module: MultiHeadAttention, keep: Callable[[Tensor], None]) -> list:
    """Hook into one attention: whenever it runs, hand its weights (B, H, T, S) to `keep`.

    Returns:
        the hooks, to be removed.
    """
    asked = []  # whether the caller wants the weights, too

    def before(this, args, kwargs):
        if this is not module:  # a deep copy takes hooks along
            return None
        if torch.compiler.is_compiling():  # compiled code would keep this hook for good
            raise RuntimeError("a hook must not be compiled")
        if len(args) > 4:  # query, key, value, mask, need_weights
            asked.append(args[4])
            return (*args[:4], True, *args[5:]), kwargs
        asked.append(kwargs.get("need_weights", False))
        return args, {**kwargs, "need_weights": True}

    def after(this, args, output):
        if this is not module:
            return None
        keep(output[1].detach())
        return output if asked.pop() else (output[0], None)

    # Of two recordings, one within the other, the inner one sees the output first.
    return [
        module.register_forward_pre_hook(before, with_kwargs=True),
        module.register_forward_hook(after, prepend=True),
    ]


def stack_cross_attention(maps: Mapping[str, Tensor]) -> Tensor:
    """Stack what `record_attention` found in the decoder's cross-attention, layer by layer.

    Args:
        maps: name → (…, H, T, S).

    Returns:
        (…, layers, H, T, S).

    Raises:
        ValueError: there is no cross-attention among the names.
    """
    layers = [weights for name, weights in maps.items() if name.endswith("cross_attention")]
    if not layers:
        raise ValueError(f"no cross-attention among {list(maps)}")
    return torch.stack(layers, dim=-4)


def align_words(weights: Tensor, at_input: bool = False) -> set[tuple[int, int]]:
    """Link each target word to the source word that gets the largest of its weights.

    Row t of a decoder's cross-attention reads target token t - 1 and writes token t. So a word
    stands in two rows: the one that writes it, and the next one, which has read it. Chen et al.
    (2020, arXiv:2004.14837) found that the second aligns better.

    Args:
        weights: (T, S) of one head, or the mean of several. Both sides end with the end token,
            which is no word: it is never linked.
        at_input: whether to take each word's link from the row that has read it.

    Returns:
        links (i, j) of source word i and target word j, one for each of the T - 1 words.

    Raises:
        ValueError: weights are not a matrix, or a side has no word.
    """
    if weights.dim() != 2 or min(weights.shape) < 2:
        raise ValueError(
            f"weights must be (T, S) with an end token each, got {tuple(weights.shape)}"
        )
    rows = weights[1:] if at_input else weights[:-1]
    best = rows[:, :-1].argmax(dim=1)  # (T - 1,)
    return {(i, j) for j, i in enumerate(best.tolist())}


def alignment_error_rate(
    predicted: Sequence[Collection[tuple[int, int]]],
    sure: Sequence[Collection[tuple[int, int]]],
    possible: Sequence[Collection[tuple[int, int]]],
) -> float:
    """Compare predicted links with those that people would draw (Och and Ney 2003, section 5).

        AER = 1 - (|A ∩ S| + |A ∩ P|) / (|A| + |S|)

    A holds the predicted links, S the sure ones, P the possible ones; sure links count as
    possible, too. 0 is best: every sure link found, and nothing that is not possible.

    Args:
        predicted, sure, possible: for each sentence, its links (i, j): word i of the source
            belongs to word j of the target.

    Returns:
        the rate over all sentences together, between 0 and 1.

    Raises:
        ValueError: the three do not have as many sentences, or there is no link at all.
    """
    if not len(predicted) == len(sure) == len(possible):
        counts = f"{len(predicted)} predicted, {len(sure)} sure, {len(possible)} possible"
        raise ValueError(f"as many sentences are needed everywhere, got {counts}")
    right = total = 0
    for a, s, p in zip(map(set, predicted), map(set, sure), map(set, possible), strict=True):
        right += len(a & s) + len(a & (p | s))
        total += len(a) + len(s)
    if total == 0:
        raise ValueError("there is no link, neither predicted nor sure")
    return 1 - right / total


def attention_rollout(layers: Sequence[Tensor]) -> Tensor:
    """Follow attention down through all layers of a stack (Abnar and Zuidema 2020).

        rollout = Ã_N … Ã_2 Ã_1,   Ã = ½ (mean of the heads) + ½ I

    The residual connection carries each token's own vector past the attention: the ½ I.

    Args:
        layers: the self-attention weights (…, H, T, T) of each layer, the lowest first.

    Returns:
        (…, T, T): row t says from which tokens position t of the top layer is made, if mixing
        were all that layers do. Rows sum to 1.

    Raises:
        ValueError: there is no layer, or weights are not square.
    """
    if not layers:
        raise ValueError("rollout needs at least one layer")
    rolled = None
    for weights in layers:
        if weights.dim() < 3 or weights.size(-1) != weights.size(-2):
            raise ValueError(f"self-attention is (…, H, T, T), got {tuple(weights.shape)}")
        same = torch.eye(weights.size(-1), dtype=weights.dtype, device=weights.device)
        mixed = (weights.mean(dim=-3) + same) / 2  # (…, T, T)
        rolled = mixed if rolled is None else mixed @ rolled
    return rolled


@contextmanager
def mask_heads(model: nn.Module, heads: Mapping[str, Collection[int]]) -> Iterator[None]:
    """Within: some heads are silent; the others see and say what they did before.

    What a silent head would hand to W^O is 0. Afterwards, the model is as it was.

    Args:
        model: any module with `MultiHeadAttention` in it.
        heads: name of an attention → its heads to silence, counted from 0.

    Raises:
        ValueError: an attention or a head does not exist, or the model is compiled.
        RuntimeError: one of these attentions did not run within.
    """
    modules, hooks = attention_modules(model), []
    for name, chosen in heads.items():
        if name not in modules:
            raise ValueError(f"no attention named {name!r}; there are {', '.join(modules)}")
        count = modules[name].num_heads
        if wrong := [head for head in chosen if not 0 <= head < count]:
            raise ValueError(f"{name} has heads 0 to {count - 1}, not {wrong}")
    ran: set[str] = set()
    try:
        for name, chosen in heads.items():
            hooks.append(silence(modules[name], list(chosen), partial(ran.add, name)))
        yield
    finally:
        for hook in hooks:
            hook.remove()
    if missing := heads.keys() - ran:
        raise RuntimeError(
            f"{', '.join(sorted(missing))} did not run: call the model within, as it was before "
            "torch.compile"
        )


def silence(
    module: MultiHeadAttention, heads: list[int], ran: Callable[[], None]
) -> torch.utils.hooks.RemovableHandle:
    """Hook into one attention: what these heads hand to W^O becomes 0; `ran` is told each time.

    Returns:
        the hook, to be removed.
    """

    def before(this, args):
        if this is not module.w_o:  # a deep copy takes hooks along
            return None
        if torch.compiler.is_compiling():  # compiled code would keep this hook for good
            raise RuntimeError("a hook must not be compiled")
        ran()
        x = args[0].unflatten(-1, (module.num_heads, -1)).clone()  # (B, T, H, d_k)
        x[:, :, heads] = 0.0
        return (x.flatten(-2),)

    return module.w_o.register_forward_pre_hook(before)


def head_importance(model: nn.Module, measure: Callable[[], float]) -> dict[str, list[float]]:
    """Say how much worse a model does without each of its heads, one at a time.

    Args:
        model: any module with `MultiHeadAttention` in it.
        measure: gives a figure of how well the model does, larger is better; it is called once
            for the whole model and once for each head.

    Returns:
        name of an attention → for each of its heads, the figure of the whole model minus the
        one without this head. Above 0: the head helps.
    """
    whole, importance = measure(), {}
    for name, module in attention_modules(model).items():
        importance[name] = []
        for head in range(module.num_heads):
            with mask_heads(model, {name: [head]}):
                importance[name].append(whole - measure())
    return importance
