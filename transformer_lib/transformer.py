"""The whole model: token ids in, a score for every word of the vocabulary out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from transformer_lib.decoder import Decoder
from transformer_lib.embeddings import PositionalEncoding, TokenEmbedding
from transformer_lib.encoder import Encoder
from transformer_lib.masks import causal_mask, padding_mask

__all__ = ["Transformer", "TransformerConfig"]


@dataclass(frozen=True)
class TransformerConfig:
    """The sizes of a Transformer; the defaults are those of the paper's base model (table 3).

    Args:
        src_vocab_size, tgt_vocab_size: number of different source and target tokens.
        d_model: D, the size of a token's vector.
        num_heads: H, attention heads in each attention.
        num_encoder_layers, num_decoder_layers: N, layers in each stack.
        d_ff: size of the feed-forward network's hidden layer.
        dropout: one rate for all dropouts (P_drop in the paper).
        max_len: the longest sequence, in tokens.
        norm_first: pre-norm, with a final norm on each stack, instead of the paper's post-norm.
        share_embeddings: True ties source, target and output (the paper's section 3.4),
            "target" ties target and output alone, False ties nothing.
        pad_id: the token id that fills short sequences up.

    Raises:
        ValueError: a size is below 1, d_model is odd or not divisible by num_heads, dropout
            is not in [0, 1), or all three matrices are tied with different vocabulary sizes.
    """

    src_vocab_size: int
    tgt_vocab_size: int
    d_model: int = 512
    num_heads: int = 8
    num_encoder_layers: int = 6
    num_decoder_layers: int = 6
    d_ff: int = 2048
    dropout: float = 0.1
    max_len: int = 5000
    norm_first: bool = False
    share_embeddings: bool | Literal["target"] = False
    pad_id: int = 0

    def __post_init__(self):
        """Check the values against each other."""
        for name, value in vars(self).items():
            if name not in ("dropout", "norm_first", "share_embeddings", "pad_id") and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.d_model % self.num_heads or self.d_model % 2:
            raise ValueError(
                f"d_model={self.d_model} must be even and divisible by num_heads={self.num_heads}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        if not (isinstance(self.share_embeddings, bool) or self.share_embeddings == "target"):
            raise ValueError(
                f"share_embeddings must be False, True or 'target', got {self.share_embeddings!r}"
            )
        if self.share_embeddings is True and self.src_vocab_size != self.tgt_vocab_size:
            raise ValueError(
                f"share_embeddings needs one vocabulary, got src_vocab_size="
                f"{self.src_vocab_size} and tgt_vocab_size={self.tgt_vocab_size}"
            )


class Transformer(nn.Module):
    """The encoder–decoder of "Attention Is All You Need" (section 3, figure 1).

    Args:
        config: the sizes.
    """

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        sizes = (config.d_model, config.num_heads, config.d_ff, config.dropout, config.norm_first)

        self.src_embedding = TokenEmbedding(config.src_vocab_size, config.d_model)
        self.tgt_embedding = TokenEmbedding(config.tgt_vocab_size, config.d_model)
        self.positional_encoding = PositionalEncoding(
            config.d_model, config.max_len, config.dropout
        )
        self.encoder = Encoder(config.num_encoder_layers, *sizes)
        self.decoder = Decoder(config.num_decoder_layers, *sizes)
        self.output = nn.Linear(config.d_model, config.tgt_vocab_size, bias=False)
        # So small that all words start equally likely: the first loss is about ln V.
        nn.init.normal_(self.output.weight, std=1 / config.d_model)

        if config.share_embeddings is True:
            self.src_embedding = self.tgt_embedding
        if config.share_embeddings:
            self.output.weight = self.tgt_embedding.weight

    def forward(self, src: Tensor, tgt: Tensor) -> Tensor:
        """Score every next token, given the source and the target tokens so far.

        Args:
            src: (B, S) source token ids.
            tgt: (B, T) target token ids, shifted right: they begin with the start token.

        Returns:
            logits (B, T, V): at each position, a score per token of the target vocabulary.

        Raises:
            ValueError: a sequence is empty or longer than max_len, or a token id is unknown.
        """
        src_mask = padding_mask(src, self.config.pad_id)
        memory = self.encode(src, src_mask)
        return self.output(self.decode(tgt, memory, memory_mask=src_mask))  # (B, T, V)

    def encode(self, src: Tensor, src_mask: Tensor | None = None) -> Tensor:
        """Read the source (B, S) into the memory (B, S, D); hides padding if no mask is given."""
        if src_mask is None:
            src_mask = padding_mask(src, self.config.pad_id)
        x = self.positional_encoding(self.src_embedding(src))  # (B, S, D)
        return self.encoder(x, src_mask)

    def decode(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        caches: Sequence[tuple[Callable, Callable]] | None = None,
        start: int = 0,
    ) -> Tensor:
        """Read the target so far, with the memory at hand.

        Args:
            tgt: (B, T) target token ids.
            memory: (B, S, D) from `encode`.
            tgt_mask: (B, 1, T, T); hides padding and the future if None.
            memory_mask: (B, 1, 1, S), the source's padding mask; None hides nothing.
            caches: while decoding, the caches of each layer; `tgt` then holds new tokens only.
            start: the position of the first token in `tgt`.

        Returns:
            hidden states (B, T, D); `output` turns them into logits.
        """
        if tgt_mask is None:
            tgt_mask = padding_mask(tgt, self.config.pad_id) & causal_mask(tgt.size(1), tgt.device)
        x = self.positional_encoding(self.tgt_embedding(tgt), start)  # (B, T, D)
        return self.decoder(x, memory, tgt_mask, memory_mask, caches)
