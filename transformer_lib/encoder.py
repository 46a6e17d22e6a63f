"""The encoder: every source token looks at every other, layer after layer."""

from torch import Tensor, nn

from transformer_lib.feed_forward import FeedForward, ResidualConnection
from transformer_lib.multi_head import MultiHeadAttention

__all__ = ["Encoder", "EncoderLayer"]


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward, each in a residual connection (section 3.1).

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
        self.feed_forward = FeedForward(d_model, d_ff, dropout)
        self.feed_forward_residual = ResidualConnection(d_model, dropout, norm_first)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Transform x (B, S, D) → (B, S, D); mask as in `MultiHeadAttention`."""
        x = self.self_attention_residual(x, lambda x: self.self_attention(x, x, x, mask)[0])
        return self.feed_forward_residual(x, self.feed_forward)


class Encoder(nn.Module):
    """A stack of encoder layers; with pre-norm, a layer norm at its end (section 3.1).

    Args:
        num_layers: N, the number of layers.
        d_model, num_heads, d_ff, dropout, norm_first: as in `EncoderLayer`.
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
            EncoderLayer(d_model, num_heads, d_ff, dropout, norm_first) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(d_model) if norm_first else nn.Identity()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Transform x (B, S, D) into the memory (B, S, D)."""
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)
