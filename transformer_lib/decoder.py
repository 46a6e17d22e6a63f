"""The decoder: every target token looks at those before it, and at the whole source."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from transformer_lib.feed_forward import FeedForward, ResidualConnection
from transformer_lib.multi_head import MultiHeadAttention

__all__ = ["Decoder", "DecoderLayer"]


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention, feed-forward, each in a residual connection (3.1).

    Args:
        d_model: D, the size of a token's vector.
        num_heads: H, the number of attention heads.
        d_ff: the size of the feed-forward network's hidden layer.
        dropout: used in attention, feed-forward and residual connections alike.
        norm_first: pre-norm instead of the paper's post-norm.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        d_ff: int,
        dropout: float = 0.0,
        norm_first: bool = False,
    ):
        super().__init__()
        self.self_attention = MultiHeadAttention(d_model, num_heads, dropout)
        self.self_attention_residual = ResidualConnection(d_model, dropout, norm_first)
        self.cross_attention = MultiHeadAttention(d_model, num_heads, dropout)
        self.cross_attention_residual = ResidualConnection(d_model, dropout, norm_first)
        self.feed_forward = FeedForward(d_model, d_ff, dropout)
        self.feed_forward_residual = ResidualConnection(d_model, dropout, norm_first)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        cache: tuple[Callable, Callable] | None = None,
    ) -> Tensor:
        """Transform x (B, T, D) → (B, T, D).

        Args:
            x: (B, T, D), the target so far.
            memory: (B, S, D), the encoder's output.
            tgt_mask: which target tokens a target token may attend to, (B, 1, T, T).
            memory_mask: which source tokens it may attend to, (B, 1, 1, S).
            cache: while decoding, one for self-attention and one for cross-attention.
        """
        self_cache, cross_cache = cache or (None, None)
        x = self.self_attention_residual(
            x, lambda x: self.self_attention(x, x, x, tgt_mask, cache=self_cache)[0]
        )
        x = self.cross_attention_residual(
            x, lambda x: self.cross_attention(x, memory, memory, memory_mask, cache=cross_cache)[0]
        )
        return self.feed_forward_residual(x, self.feed_forward)


class Decoder(nn.Module):
    """A stack of decoder layers; with pre-norm, a layer norm at its end (section 3.1).

    Args:
        num_layers: N, the number of layers.
        d_model, num_heads, d_ff, dropout, norm_first: as in `DecoderLayer`.
    """

    def __init__(
        self,
        num_layers: int,
        d_model: int,
        num_heads: int,
        d_ff: int,
        dropout: float = 0.0,
        norm_first: bool = False,
    ):
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(d_model, num_heads, d_ff, dropout, norm_first) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(d_model) if norm_first else nn.Identity()

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        caches: Sequence[tuple[Callable, Callable]] | None = None,
    ) -> Tensor:
        """Transform x (B, T, D) → (B, T, D); arguments as in `DecoderLayer`, a cache per layer."""
        for layer, cache in zip(self.layers, caches or [None] * len(self.layers), strict=True):
            x = layer(x, memory, tgt_mask, memory_mask, cache)
        return self.norm(x)
