"""The Transformer of "Attention Is All You Need", one module per notebook of the course."""

from transformer_lib.attention import check_mask, scaled_dot_product_attention
from transformer_lib.attention_maps import (
    align_words,
    alignment_error_rate,
    ask_for_weights,
    attention_modules,
    attention_rollout,
    head_importance,
    mask_heads,
    record_attention,
    silence,
    stack_cross_attention,
)
from transformer_lib.decoder import Decoder, DecoderLayer
from transformer_lib.decoding import (
    CrossAttentionCache,
    IncrementalDecoder,
    SelfAttentionCache,
    Translation,
    Translator,
    beam_search,
    evaluating,
    greedy_decode,
    length_limits,
    length_penalty,
)
from transformer_lib.embeddings import PositionalEncoding, TokenEmbedding, sinusoidal_encoding
from transformer_lib.encoder import Encoder, EncoderLayer
from transformer_lib.feed_forward import Dropout, FeedForward, ResidualConnection
from transformer_lib.masks import causal_mask, padding_mask
from transformer_lib.multi_head import MultiHeadAttention
from transformer_lib.training import (
    TokenLoss,
    TrainingConfig,
    accumulate_gradients,
    arithmetic,
    average_checkpoints,
    join_processes,
    keep_freed_memory,
    label_smoothed_loss,
    mean_loss,
    train,
    warmup_schedule,
)
from transformer_lib.transformer import Transformer, TransformerConfig

__all__ = [
    "CrossAttentionCache",
    "Decoder",
    "DecoderLayer",
    "Dropout",
    "Encoder",
    "EncoderLayer",
    "FeedForward",
    "IncrementalDecoder",
    "MultiHeadAttention",
    "PositionalEncoding",
    "ResidualConnection",
    "SelfAttentionCache",
    "TokenEmbedding",
    "TokenLoss",
    "TrainingConfig",
    "Transformer",
    "TransformerConfig",
    "Translation",
    "Translator",
    "accumulate_gradients",
    "align_words",
    "alignment_error_rate",
    "arithmetic",
    "ask_for_weights",
    "attention_modules",
    "attention_rollout",
    "average_checkpoints",
    "beam_search",
    "causal_mask",
    "check_mask",
    "evaluating",
    "greedy_decode",
    "head_importance",
    "join_processes",
    "keep_freed_memory",
    "label_smoothed_loss",
    "length_limits",
    "length_penalty",
    "mask_heads",
    "mean_loss",
    "padding_mask",
    "record_attention",
    "scaled_dot_product_attention",
    "silence",
    "sinusoidal_encoding",
    "stack_cross_attention",
    "train",
    "warmup_schedule",
]
