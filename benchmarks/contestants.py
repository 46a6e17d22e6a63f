"""The models that are compared, each in the fastest fair form that its library offers.

All get the same sizes, the same batches, the same optimizer (`Adam(fused=True)`) and a dropout of
0.1. A peer's library is imported when the peer is made, so one that is missing stops only itself.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transformer_lib import (
    PositionalEncoding,
    TokenEmbedding,
    TokenLoss,
    Transformer,
    TransformerConfig,
    beam_search,
    greedy_decode,
    padding_mask,
)
from transformer_lib.data import PAD, START

DROPOUT = 0.1
SMOOTHING = 0.1
BEAM = 4


@dataclass(frozen=True)
class Size:
    """The sizes of a model and of the batch that it reads.

    Args:
        d_model, layers, heads, vocabulary: of the model; d_ff is 4 · d_model.
        batch, length: sentences side by side, and tokens in each on both sides.
    """

    d_model: int
    layers: int
    batch: int
    length: int
    heads: int = 8
    vocabulary: int = 10_000

    @property
    def d_ff(self) -> int:
        """The size of the feed-forward network's hidden layer."""
        return 4 * self.d_model


SIZES = {"A": Size(256, 3, batch=32, length=32), "B": Size(512, 6, batch=8, length=64)}


class Contestant(nn.Module):
    """What each model must be able to do; decoding here recomputes everything in each step.

    Args:
        size: the sizes.
    """

    name: str
    given: str  # what it was given to be fast, for the report

    def __init__(self, size: Size):
        super().__init__()
        self.size = size

    def encode(self, src: Tensor) -> Tensor:
        """Read the source (B, S) into the memory."""
        raise NotImplementedError

    def decode(self, tgt: Tensor, memory: Tensor, src: Tensor) -> Tensor:
        """Read the target so far (B, T) into hidden states (B, T, D)."""
        raise NotImplementedError

    def project(self, hidden: Tensor) -> Tensor:
        """Turn hidden states (…, D) into logits (…, V)."""
        return self.output(hidden)

    def forward(self, src: Tensor, tgt: Tensor) -> Tensor:
        """Score every next token: logits (B, T, V)."""
        return self.project(self.decode(tgt, self.encode(src), src))

    def loss(self, src: Tensor, tgt: Tensor) -> Tensor:
        """Take the mean cross-entropy of a batch, with label smoothing, without padding."""
        logits = self(src, tgt[:, :-1]).flatten(0, 1)
        labels = tgt[:, 1:].flatten()
        return F.cross_entropy(logits, labels, ignore_index=PAD, label_smoothing=SMOOTHING)

    def greedy(self, src: Tensor, steps: int) -> Tensor:
        """Generate exactly `steps` tokens, each the likeliest: (B, steps)."""
        memory = self.encode(src)
        tokens = torch.full((len(src), 1), START)
        for _ in range(steps):
            hidden = self.decode(tokens, memory, src)
            newest = self.project(hidden[:, -1]).argmax(dim=-1, keepdim=True)
            tokens = torch.cat([tokens, newest], dim=1)
        return tokens[:, 1:]

    def beam(self, src: Tensor, steps: int) -> Tensor:
        """Generate exactly `steps` tokens with a beam of 4; the best of each beam (B, steps)."""
        src = src.repeat_interleave(BEAM, dim=0)  # (B·K, S)
        memory = self.encode(src)
        tokens = torch.full((len(src), 1), START)
        scores = torch.full((len(src) // BEAM, BEAM), -torch.inf)
        scores[:, 0] = 0.0  # all hypotheses of a sentence begin the same: only one counts
        for _ in range(steps):
            hidden = self.decode(tokens, memory, src)
            words = self.project(hidden[:, -1]).float().log_softmax(dim=-1)  # (B·K, V)
            total = (scores.flatten()[:, None] + words).view(len(scores), -1)  # (B, K·V)
            scores, best = total.topk(BEAM)  # (B, K), twice
            first = torch.arange(len(scores))[:, None] * BEAM
            parents, newest = first + best // words.size(1), best % words.size(1)
            tokens = torch.cat([tokens[parents.flatten()], newest.view(-1, 1)], dim=1)
        return tokens[::BEAM, 1:]


class Ours(Contestant):
    """The course's own."""

    name = "ours"
    given = "as it is: explicit attention, loss on real tokens only, key–value cache"

    def __init__(self, size: Size):
        super().__init__(size)
        layers = {"num_encoder_layers": size.layers, "num_decoder_layers": size.layers}
        self.model = Transformer(
            TransformerConfig(
                size.vocabulary,
                size.vocabulary,
                size.d_model,
                size.heads,
                **layers,
                d_ff=size.d_ff,
                dropout=DROPOUT,
            )
        )
        self.token_loss = TokenLoss(self.model, SMOOTHING)

    def encode(self, src: Tensor) -> Tensor:
        """Read the source (B, S) into the memory (B, S, D)."""
        return self.model.encode(src)

    def decode(self, tgt: Tensor, memory: Tensor, src: Tensor) -> Tensor:
        """Read the target so far (B, T) into hidden states (B, T, D), without a cache."""
        return self.model.decode(tgt, memory, memory_mask=padding_mask(src, PAD))

    def project(self, hidden: Tensor) -> Tensor:
        """Turn hidden states (…, D) into logits (…, V)."""
        return self.model.output(hidden)

    def forward(self, src: Tensor, tgt: Tensor) -> Tensor:
        """Score every next token: logits (B, T, V)."""
        return self.model(src, tgt)

    def loss(self, src: Tensor, tgt: Tensor) -> Tensor:
        """Take the mean over the real target tokens, as `accumulate_gradients` does."""
        return self.token_loss(src, tgt) / (tgt[:, 1:] != PAD).sum()

    def greedy(self, src: Tensor, steps: int) -> Tensor:
        """Generate exactly `steps` tokens: no token ends a sentence."""
        return greedy_decode(self.model, src, steps, end_id=-1)

    def beam(self, src: Tensor, steps: int) -> Tensor:
        """Generate exactly `steps` tokens with a beam of 4."""
        return beam_search(self.model, src, BEAM, max_len=steps, end_id=-1)[0]


class TorchTransformer(Contestant):
    """PyTorch's own, as its documentation wires it up."""

    name = "nn.Transformer"
    given = (
        "SDPA inside, no padding mask where nothing is padded, the causal hint, a memory computed "
        "once, the output layer on the last position when decoding; it has no cache"
    )

    def __init__(self, size: Size):
        super().__init__(size)
        self.src_embedding = TokenEmbedding(size.vocabulary, size.d_model)
        self.tgt_embedding = TokenEmbedding(size.vocabulary, size.d_model)
        self.positions = PositionalEncoding(size.d_model, dropout=DROPOUT)
        self.transformer = nn.Transformer(
            size.d_model,
            size.heads,
            size.layers,
            size.layers,
            size.d_ff,
            DROPOUT,
            batch_first=True,
        )
        self.output = nn.Linear(size.d_model, size.vocabulary, bias=False)

    def padding(self, tokens: Tensor) -> Tensor | None:
        """Mark what is padding, (B, T), if there is any; True = ignore, unlike in ours."""
        padding = tokens == PAD
        return padding if padding.any() else None

    def encode(self, src: Tensor) -> Tensor:
        """Read the source (B, S) into the memory (B, S, D)."""
        x = self.positions(self.src_embedding(src))
        return self.transformer.encoder(x, src_key_padding_mask=self.padding(src))

    def decode(self, tgt: Tensor, memory: Tensor, src: Tensor) -> Tensor:
        """Read the target so far (B, T) into hidden states (B, T, D)."""
        x = self.positions(self.tgt_embedding(tgt))
        future = nn.Transformer.generate_square_subsequent_mask(tgt.size(1), dtype=x.dtype)
        # Padding in the target lies behind all real tokens: the causal mask hides it already.
        return self.transformer.decoder(
            x,
            memory,
            tgt_mask=future,
            tgt_is_causal=True,
            memory_key_padding_mask=self.padding(src),
        )


class XTransformers(Contestant):
    """`XTransformer` of x-transformers."""

    name = "x-transformers"
    given = "flash=True (SDPA), its own loss without label smoothing, its cache"

    def __init__(self, size: Size):
        super().__init__(size)
        from x_transformers import XTransformer

        stack = {"num_tokens": size.vocabulary, "depth": size.layers, "heads": size.heads}
        stack |= {"max_seq_len": 256, "attn_dim_head": size.d_model // size.heads}
        stack |= {"attn_flash": True, "attn_dropout": DROPOUT, "ff_dropout": DROPOUT}
        both = {f"{side}_{key}": value for side in ("enc", "dec") for key, value in stack.items()}
        self.model = XTransformer(dim=size.d_model, ignore_index=PAD, **both)

    def forward(self, src: Tensor, tgt: Tensor) -> Tensor:
        """Score every next token: logits (B, T, V)."""
        mask = src != PAD
        memory = self.model.encoder(src, mask=mask, return_embeddings=True)
        return self.model.decoder.net(tgt, context=memory, context_mask=mask)

    def loss(self, src: Tensor, tgt: Tensor) -> Tensor:
        """Take its own mean cross-entropy."""
        return self.model(src, tgt, mask=src != PAD)

    def greedy(self, src: Tensor, steps: int) -> Tensor:
        """Generate exactly `steps` tokens."""
        start = torch.full((len(src), 1), START)
        return self.model.generate(src, start, steps, mask=src != PAD, temperature=0.0)

    def beam(self, src: Tensor, steps: int) -> Tensor:
        """Generate exactly `steps` tokens with a beam of 4."""
        start = torch.full((len(src), 1), START)
        mask = src != PAD
        memory = self.model.encoder(src, mask=mask, return_embeddings=True)
        source = {"context": memory, "context_mask": mask}
        return self.model.decoder.beam_search(start, steps, beams=BEAM, **source)


class Labml(Contestant):
    """The annotated Transformer of labml-nn, sequence first."""

    name = "labml-nn"
    given = "as its documentation wires it up; it has no SDPA and no cache"

    def __init__(self, size: Size):
        super().__init__(size)
        from labml_nn.transformers.feed_forward import FeedForward
        from labml_nn.transformers.mha import MultiHeadAttention
        from labml_nn.transformers.models import (
            Decoder,
            EmbeddingsWithPositionalEncoding,
            Encoder,
            EncoderDecoder,
            Generator,
            TransformerLayer,
        )

        def layer(cross: bool) -> TransformerLayer:
            attention = (size.heads, size.d_model, DROPOUT)
            return TransformerLayer(
                d_model=size.d_model,
                self_attn=MultiHeadAttention(*attention),
                src_attn=MultiHeadAttention(*attention) if cross else None,
                feed_forward=FeedForward(size.d_model, size.d_ff, DROPOUT),
                dropout_prob=DROPOUT,
            )

        self.model = EncoderDecoder(
            Encoder(layer(cross=False), size.layers),
            Decoder(layer(cross=True), size.layers),
            EmbeddingsWithPositionalEncoding(size.d_model, size.vocabulary),
            EmbeddingsWithPositionalEncoding(size.d_model, size.vocabulary),
            Generator(size.vocabulary, size.d_model),
        )

    def encode(self, src: Tensor) -> Tensor:
        """Read the source (B, S) into the memory (S, B, D)."""
        return self.model.encode(src.T, (src != PAD).T[None])

    def decode(self, tgt: Tensor, memory: Tensor, src: Tensor) -> Tensor:
        """Read the target so far (B, T) into hidden states (B, T, D)."""
        past = torch.ones(tgt.size(1), tgt.size(1), dtype=torch.bool).tril()[:, :, None]
        return self.model.decode(memory, (src != PAD).T[None], tgt.T, past).transpose(0, 1)

    def project(self, hidden: Tensor) -> Tensor:
        """Turn hidden states (…, D) into logits (…, V)."""
        return self.model.generator(hidden)


class Marian(Contestant):
    """`MarianMTModel` of transformers, with random weights."""

    name = "Marian"
    given = "attn_implementation='sdpa', its own `generate` with its cache"

    def __init__(self, size: Size):
        super().__init__(size)
        from transformers import MarianConfig, MarianMTModel

        sides = {}
        for side in ("encoder", "decoder"):
            sides |= {f"{side}_layers": size.layers, f"{side}_attention_heads": size.heads}
            sides |= {f"{side}_ffn_dim": size.d_ff}
        config = MarianConfig(
            vocab_size=size.vocabulary,
            d_model=size.d_model,
            max_position_embeddings=512,
            dropout=DROPOUT,
            attention_dropout=DROPOUT,
            activation_dropout=DROPOUT,
            activation_function="relu",
            pad_token_id=PAD,
            decoder_start_token_id=START,
            eos_token_id=None,
            forced_eos_token_id=None,
            attn_implementation="sdpa",
            **sides,
        )
        self.model = MarianMTModel(config)
        self.model.generation_config.eos_token_id = None

    def forward(self, src: Tensor, tgt: Tensor) -> Tensor:
        """Score every next token: logits (B, T, V)."""
        mask = (src != PAD).long()
        return self.model(src, mask, decoder_input_ids=tgt, use_cache=False).logits

    def greedy(self, src: Tensor, steps: int) -> Tensor:
        """Generate exactly `steps` tokens: none ends a sentence."""
        return self.generate(src, steps, beams=1)

    def beam(self, src: Tensor, steps: int) -> Tensor:
        """Generate exactly `steps` tokens with a beam of 4."""
        return self.generate(src, steps, beams=BEAM)

    def generate(self, src: Tensor, steps: int, beams: int) -> Tensor:
        """Call its own `generate`."""
        mask = (src != PAD).long()
        tokens = self.model.generate(
            src,
            attention_mask=mask,
            max_new_tokens=steps,
            num_beams=beams,
            do_sample=False,
            use_cache=True,
        )
        return tokens[:, 1:]


KINDS = (TorchTransformer, Ours, XTransformers, Labml, Marian)
CONTESTANTS: dict[str, type[Contestant]] = {kind.name: kind for kind in KINDS}
