"""The Transformer of "Attention Is All You Need", one module per notebook of the course."""

from transformer_lib.attention import scaled_dot_product_attention
from transformer_lib.decoder import Decoder, DecoderLayer
from transformer_lib.embeddings import PositionalEncoding, TokenEmbedding, sinusoidal_encoding
from transformer_lib.encoder import Encoder, EncoderLayer
from transformer_lib.feed_forward import FeedForward, ResidualConnection
from transformer_lib.masks import causal_mask, padding_mask
from transformer_lib.multi_head import MultiHeadAttention
from transformer_lib.transformer import Transformer, TransformerConfig

__all__ = [
    "Decoder",
    "DecoderLayer",
    "Encoder",
    "EncoderLayer",
    "FeedForward",
    "MultiHeadAttention",
    "PositionalEncoding",
    "ResidualConnection",
    "TokenEmbedding",
    "Transformer",
    "TransformerConfig",
    "causal_mask",
    "padding_mask",
    "scaled_dot_product_attention",
    "sinusoidal_encoding",
]
