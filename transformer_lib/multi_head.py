"""Multi-head attention: several small attentions side by side, each with its own view."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from transformer_lib.attention import check_mask, scaled_dot_product_attention

__all__ = ["MultiHeadAttention"]


class MultiHeadAttention(nn.Module):
    """H attentions of size d_k = d_model / H in parallel (section 3.2.2).

        head_h = Attention(query W_h^Q, key W_h^K, value W_h^V)
        output = Concat(head_1, …, head_H) W^O

    Args:
        d_model: D, the size of a token's vector.
        num_heads: H; must divide d_model.
        dropout: probability of dropping an attention weight in training.
        bias: whether the four projections add a bias.

    Raises:
        ValueError: num_heads does not divide d_model.
    """

    # From about this many queries and keys on, torch's fused attention is faster than the
    # formula, and it never stores the (T, S) weights.
    fused_length = 512

    def __init__(self, d_model: int, num_heads: int, dropout: float = 0.0, bias: bool = True):
        super().__init__()
        if num_heads < 1 or d_model % num_heads != 0:
            raise ValueError(f"d_model={d_model} is not divisible by num_heads={num_heads}")
        self.num_heads = num_heads
        self.dropout = dropout
        self.w_q = nn.Linear(d_model, d_model, bias=bias)
        self.w_k = nn.Linear(d_model, d_model, bias=bias)
        self.w_v = nn.Linear(d_model, d_model, bias=bias)
        self.w_o = nn.Linear(d_model, d_model, bias=bias)
        for projection in (self.w_q, self.w_k, self.w_v, self.w_o):
            nn.init.xavier_uniform_(projection.weight)
            if bias:
                nn.init.zeros_(projection.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None = None,
        need_weights: bool = False,
        cache: Callable | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend with every head at once.

        Args:
            query: (B, T, D).
            key, value: (B, S, D). In self-attention all three are the same tensor.
            mask: bool, True = may attend, four dimensions that broadcast to (B, H, T, S).
            need_weights: whether to return the weights as well.
            cache: while decoding, gives the keys and values of all tokens so far.

        Returns:
            output (B, T, D), and the weights of each head (B, H, T, S) or None.

        Raises:
            TypeError: the mask is not bool.
            ValueError: a sequence is empty, or the mask does not fit (B, H, T, S).
        """
        q = self.split_heads(self.w_q(query))  # (B, H, T, d_k)
        if cache is None:
            k, v = self.keys_values(key, value)  # (B, H, S, d_k), twice
        else:
            k, v = cache(self, key, value)
        dropout = self.dropout if self.training else 0.0

        if need_weights or q.size(2) * k.size(2) < self.fused_length**2:
            heads, weights = scaled_dot_product_attention(q, k, v, mask, dropout)
        else:
            heads, weights = self.fused_attention(q, k, v, mask, dropout), None

        output = self.w_o(self.merge_heads(heads))  # (B, T, D)
        return output, weights if need_weights else None

    def keys_values(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Project keys and values (B, S, D) and split them into heads (B, H, S, d_k)."""
        return self.split_heads(self.w_k(key)), self.split_heads(self.w_v(value))

    def split_heads(self, x: Tensor) -> Tensor:
        """(B, T, D) → (B, H, T, d_k): cut each token's vector into H pieces."""
        if x.dim() != 3:
            raise ValueError(f"query, key and value must be (B, T, D), got shape {tuple(x.shape)}")
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def merge_heads(self, x: Tensor) -> Tensor:
        """(B, H, T, d_k) → (B, T, D): lay each token's pieces side by side again."""
        return x.transpose(1, 2).flatten(-2)

    def fused_attention(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float
    ) -> Tensor:
        """Compute the formula of `scaled_dot_product_attention` without storing the weights."""
        if k.size(2) != v.size(2):
            raise ValueError(f"{k.size(2)} keys, but {v.size(2)} values")
        if mask is None:
            return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        batch, (num_heads, length, d_k) = max(q.size(0), k.size(0)), q.shape[1:]
        check_mask(mask, (batch, num_heads, length, k.size(2)))

        # PyTorch turns each element of the mask into four bytes. So it gets 256 queries at a
        # time, and only the keys up to the last that any of them may attend to.
        mask = mask.expand(-1, -1, length, k.size(2))  # (B, H, T, S); B and H may be 1
        heads = q.new_empty(batch, length, num_heads, d_k)  # so that merge_heads copies nothing
        heads = heads.transpose(1, 2)  # (B, H, T, d_k)
        for start in range(0, length, 256):
            rows = slice(start, start + 256)
            allowed = mask[:, :, rows]
            used = allowed.any(dim=2).flatten(0, 1).any(dim=0).nonzero()
            end = int(used.max()) + 1 if len(used) else 1  # none: any key, and zeros below
            first = k[:, :, :end], v[:, :, :end], allowed[..., :end]
            mixed = F.scaled_dot_product_attention(q[:, :, rows], *first, dropout)
            heads[:, :, rows] = mixed.masked_fill(~allowed.any(dim=-1, keepdim=True), 0.0)
        return heads
