"""Set our layers beside PyTorch's: the same weights in both, then compare the numbers."""

import copy

import torch
from torch import Tensor, nn

__all__ = ["compare", "compare_gradients", "copy_weights"]


@torch.no_grad()
def copy_weights(theirs: nn.Module, ours: nn.Module) -> None:
    """Copy the weights of one of PyTorch's modules into ours.

    Args:
        theirs: an `nn.MultiheadAttention`, `nn.TransformerEncoderLayer`, `…DecoderLayer`,
            `nn.TransformerEncoder`, `…Decoder`, `nn.Transformer`, or any module whose
            parameters have the same names as ours.
        ours: the module of this package that does the same.

    Raises:
        RuntimeError, ValueError: sizes, numbers of heads or numbers of layers differ.
    """
    match theirs:
        case nn.MultiheadAttention():
            if theirs.num_heads != ours.num_heads:  # the weights would fit all the same
                raise ValueError(f"ours has {ours.num_heads} heads, theirs {theirs.num_heads}")
            # PyTorch keeps the three input projections in one matrix, one below the other.
            projections = (ours.w_q, ours.w_k, ours.w_v)
            for projection, weight in zip(projections, theirs.in_proj_weight.chunk(3), strict=True):
                projection.weight.copy_(weight)
            if theirs.in_proj_bias is not None:
                for projection, bias in zip(projections, theirs.in_proj_bias.chunk(3), strict=True):
                    projection.bias.copy_(bias)
            copy_weights(theirs.out_proj, ours.w_o)
        case nn.TransformerEncoderLayer():
            copy_weights(theirs.self_attn, ours.self_attention)
            copy_weights(theirs.norm1, ours.self_attention_residual.norm)
            copy_weights(theirs.linear1, ours.feed_forward.w_1)
            copy_weights(theirs.linear2, ours.feed_forward.w_2)
            copy_weights(theirs.norm2, ours.feed_forward_residual.norm)
        case nn.TransformerDecoderLayer():
            copy_weights(theirs.self_attn, ours.self_attention)
            copy_weights(theirs.norm1, ours.self_attention_residual.norm)
            copy_weights(theirs.multihead_attn, ours.cross_attention)
            copy_weights(theirs.norm2, ours.cross_attention_residual.norm)
            copy_weights(theirs.linear1, ours.feed_forward.w_1)
            copy_weights(theirs.linear2, ours.feed_forward.w_2)
            copy_weights(theirs.norm3, ours.feed_forward_residual.norm)
        case nn.TransformerEncoder() | nn.TransformerDecoder():
            for their_layer, our_layer in zip(theirs.layers, ours.layers, strict=True):
                copy_weights(their_layer, our_layer)
            if theirs.norm is not None:
                copy_weights(theirs.norm, ours.norm)
        case nn.Transformer():
            copy_weights(theirs.encoder, ours.encoder)
            copy_weights(theirs.decoder, ours.decoder)
        case _:
            ours.load_state_dict(theirs.state_dict())


def compare(name: str, ours: Tensor, theirs: Tensor) -> float:
    """Print and return the largest difference between two tensors of the same shape.

    Args:
        name: what is compared, for the printed line.
        ours, theirs: the two tensors.

    Returns:
        max |ours - theirs|; NaN if either holds one.

    Raises:
        ValueError: the shapes differ.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"{name}: ours is {tuple(ours.shape)}, theirs {tuple(theirs.shape)}")
    difference = (ours - theirs).abs().max().item()
    print(f"{name:<28} {tuple(ours.shape)!s:<18} max |difference| = {difference:.0e}")
    return difference


def compare_gradients(name: str, ours: nn.Module, theirs: nn.Module) -> float:
    """Print and return the largest difference between the gradients of the same weights.

    Args:
        name: what is compared, for the printed line.
        ours, theirs: modules that `copy_weights` can pair, after a backward pass through each.

    Returns:
        max |ours - theirs| over all weights; NaN if a gradient holds one.
    """
    # Gradients have the shape of their weights: put theirs in the weights' place, and copy those.
    carrier, expected = copy.deepcopy(theirs), copy.deepcopy(ours)
    for weight, original in zip(carrier.parameters(), theirs.parameters(), strict=True):
        weight.data = original.grad
    copy_weights(carrier, expected)
    pairs = zip(ours.parameters(), expected.parameters(), strict=True)
    differences = torch.cat([(a.grad - b).abs().flatten() for a, b in pairs])
    difference = differences.max().item()
    print(f"{name:<28} {f'{len(differences):,} weights':<18} max |difference| = {difference:.0e}")
    return difference
