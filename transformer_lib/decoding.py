"""Decoding: from a source sentence to a target sentence, one token after the other."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from transformer_lib.attention_maps import (
    attention_modules,
    record_attention,
    stack_cross_attention,
)
from transformer_lib.checkpoint import Checkpoint, load_checkpoint
from transformer_lib.data import END, START, pad_rows
from transformer_lib.masks import padding_mask
from transformer_lib.text import restore, tokenise
from transformer_lib.transformer import Transformer

__all__ = [
    "CrossAttentionCache",
    "IncrementalDecoder",
    "SelfAttentionCache",
    "Translation",
    "Translator",
    "beam_search",
    "evaluating",
    "greedy_decode",
    "length_limits",
    "length_penalty",
]


class SelfAttentionCache:
    """Keeps the keys and values of all target tokens so far; each step adds those of the newest.

    Args:
        max_len: L, the number of tokens that there will be at most.
    """

    def __init__(self, max_len: int):
        self.max_len, self.length = max_len, 0

    def __call__(self, attention: nn.Module, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write down the new tokens (B, T, D), return all so far (B, H, length, d_k), twice.

        Raises:
            ValueError: there are more than max_len.
        """
        k, v = attention.keys_values(key, value)  # (B, H, T, d_k), twice
        if self.length == 0:
            self.buffer = k.new_empty(2, *k.shape[:2], self.max_len, k.size(3))  # (2, B, H, L, d_k)
        start, self.length = self.length, self.length + k.size(2)
        if self.length > self.max_len:
            raise ValueError(f"{self.length} tokens, but this cache keeps max_len={self.max_len}")
        self.buffer[0, :, :, start : self.length] = k
        self.buffer[1, :, :, start : self.length] = v
        k, v = self.buffer[:, :, :, : self.length]
        return k, v

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch, in this order; a row may come more than once."""
        so_far = self.buffer[:, rows, :, : self.length]
        self.buffer = so_far.new_empty(*so_far.shape[:3], self.max_len, so_far.size(4))
        self.buffer[:, :, :, : self.length] = so_far


class CrossAttentionCache:
    """Computes the memory's keys and values in the first step; they never change."""

    def __init__(self):
        self.computed = None

    def __call__(self, attention: nn.Module, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values (B, H, S, d_k) of the memory (B, S, D)."""
        if self.computed is None:
            k, v = attention.keys_values(key, value)
            # One copy here, or matrix products would copy them in each step.
            self.computed = k.contiguous(), v.contiguous()
        return self.computed

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch, in this order; a row may come more than once."""
        k, v = self.computed
        self.computed = k[rows], v[rows]


class IncrementalDecoder:
    """Reads the source once, then one target token per row and step; computes nothing twice.

    Args:
        model: the model, in eval mode.
        src: (B, S) source token ids.
        max_len: the number of steps that there will be at most.
    """

    def __init__(self, model: Transformer, src: Tensor, max_len: int):
        self.model, self.length = model, 0
        self.memory_mask = padding_mask(src, model.config.pad_id)  # (B, 1, 1, S)
        self.memory = model.encode(src, self.memory_mask)  # (B, S, D)
        self.caches = [
            (SelfAttentionCache(max_len), CrossAttentionCache()) for _ in model.decoder.layers
        ]

    def step(self, tokens: Tensor) -> Tensor:
        """Read the newest token of each row (B,); return the logits of the next one (B, V).

        Raises:
            FloatingPointError: the model computes NaN.
        """
        hidden = self.model.decode(
            tokens[:, None],
            self.memory,
            memory_mask=self.memory_mask,
            caches=self.caches,
            start=self.length,
        )  # (B, 1, D)
        self.length += 1
        if hidden.isnan().any():
            raise FloatingPointError(f"step {self.length} gives NaN: look at the model's weights")
        return self.model.output(hidden[:, 0])

    def select(self, rows: Tensor, same_sources: bool = False) -> None:
        """Keep these rows, in this order; with `same_sources` each still has the same source."""
        for self_cache, cross_cache in self.caches:
            self_cache.select(rows)
            if not same_sources:
                cross_cache.select(rows)
        if not same_sources:
            self.memory, self.memory_mask = self.memory[rows], self.memory_mask[rows]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within: no dropout, no gradients. After: each module in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes:
            module.training = training


def length_limits(model: Transformer, src: Tensor, max_len: int | None = None) -> Tensor:
    """Say how many tokens may be generated for each source: its length + 50 (section 6.1).

    Args:
        model: whose own max_len is never exceeded.
        src: (B, S) source token ids.
        max_len: one limit for all instead.

    Returns:
        long (B,).

    Raises:
        ValueError: there is no sentence, a sentence is empty, or max_len is below 1.
    """
    if src.dim() != 2 or src.numel() == 0:
        raise ValueError(f"src must be (B, S), neither of them 0, got shape {tuple(src.shape)}")
    if max_len is not None and max_len < 1:
        raise ValueError(f"max_len must be at least 1, got {max_len}")
    lengths = (src != model.config.pad_id).sum(dim=1)
    if not lengths.all():
        row = lengths.argmin().item()
        raise ValueError(f"row {row} of src is empty: nothing but pad_id={model.config.pad_id}")
    limits = lengths + 50 if max_len is None else torch.full_like(lengths, max_len)
    return limits.clamp(max=model.config.max_len)


def greedy_decode(
    model: Transformer,
    src: Tensor,
    max_len: int | None = None,
    start_id: int = START,
    end_id: int = END,
) -> Tensor:
    """Take the likeliest token, again and again, until it is the end token.

    A batch takes as many steps as its longest translation, but a finished sentence leaves it.

    Args:
        model: any mode; no dropout is applied, and the mode is left as it was.
        src: (B, S) source token ids, right-padded.
        max_len: how many tokens to generate at most, the end token included; the source's
            length + 50 if None. Never more than the model's max_len.
        start_id, end_id: the tokens that begin and end a target sentence.

    Returns:
        token ids (B, T) without the start token, with the end token (missing where max_len
        came first), then padding; T is the length of the longest. Padding is never generated.

    Raises:
        ValueError: there is no sentence, a sentence is empty or too long, or max_len is below 1.
        FloatingPointError: the model computes NaN.
    """
    pad_id, limits = model.config.pad_id, length_limits(model, src, max_len)
    tokens = torch.full((len(src), int(limits.max())), pad_id, device=src.device)
    with evaluating(model):
        decoder = IncrementalDecoder(model, src, tokens.size(1))
        sentences = torch.arange(len(src), device=src.device)  # those still in the batch
        newest = torch.full_like(sentences, start_id)
        while len(sentences) > 0:
            logits = decoder.step(newest)  # (B, V)
            logits[:, pad_id] = -torch.inf
            newest = logits.topk(1).indices[:, 0]  # argmax, with ties broken as in beam search
            tokens[sentences, decoder.length - 1] = newest

            going_on = (newest != end_id) & (decoder.length < limits[sentences])
            if not going_on.all():
                sentences, newest = sentences[going_on], newest[going_on]
                decoder.select(going_on)
    return tokens[:, : decoder.length]


def length_penalty(length: int | Tensor, alpha: float) -> float | Tensor:
    """What a log-probability is divided by, so that long sentences have a chance (section 6.1).

        penalty = ((5 + length) / 6)^alpha        (Wu et al. 2016, arXiv:1609.08144, equation 14)

    Args:
        length: the number of generated tokens, the end token included.
        alpha: 0 compares plain probabilities; the larger, the longer the sentences.
    """
    return ((5 + length) / 6) ** alpha


def beam_search(
    model: Transformer,
    src: Tensor,
    beam: int = 4,
    alpha: float = 0.6,
    max_len: int | None = None,
    start_id: int = START,
    end_id: int = END,
) -> tuple[Tensor, Tensor]:
    """Follow several hypotheses at once, and return the best that ended (section 6.1).

        score = log P(tokens | source) / length_penalty

    Each step keeps the `beam` likeliest continuations. Those that end leave the beam; the best
    of them waits until no hypothesis can overtake it any more, at whatever length.

    Args:
        model, src, max_len, start_id, end_id: as in `greedy_decode`.
        beam: K, how many hypotheses to follow; with 1, this is greedy decoding.
        alpha: the strength of the length penalty; far above 1, some sentences run on.

    Returns:
        token ids (B, T) as from `greedy_decode`, and the scores (B,). Where no hypothesis
        ended within max_len, the likeliest one as it stands.

    Raises:
        ValueError: as `greedy_decode`, or beam is below 1, or alpha below 0.
    """
    if beam < 1 or not alpha >= 0:
        raise ValueError(f"beam must be at least 1 and alpha at least 0, got {beam} and {alpha}")
    pad_id, limits = model.config.pad_id, length_limits(model, src, max_len)
    tokens = torch.full((len(src), int(limits.max())), pad_id, device=src.device)
    scores = torch.full((len(src),), -torch.inf, device=src.device)
    with evaluating(model):
        decoder = IncrementalDecoder(model, src, tokens.size(1))
        sentences = torch.arange(len(src), device=src.device)  # those still in the batch
        hypotheses = torch.full((len(src), 1, 1), start_id, device=src.device)  # (B, K, 1 + length)
        log_p = torch.zeros(len(src), 1, device=src.device)  # (B, K), -inf where one has ended
        while len(sentences) > 0:
            # The likeliest of all continuations of all hypotheses of a sentence.
            logits = decoder.step(hypotheses[:, :, -1].flatten()).float()  # (B·K, V)
            words = logits.log_softmax(dim=-1).unflatten(0, log_p.shape)  # (B, K, V)
            words[:, :, pad_id] = -torch.inf
            total = (log_p[:, :, None] + words).flatten(1)  # (B, K·V)
            log_p, best = total.topk(min(beam, total.size(1)))  # (B, K), twice
            parents, newest = best // words.size(2), best % words.size(2)
            rows = torch.arange(len(sentences), device=src.device)[:, None]  # (B, 1)
            hypotheses = torch.cat([hypotheses[rows, parents], newest[:, :, None]], dim=2)

            # Does one that ends here beat those that ended before? Where the limit comes and
            # none has ended, the likeliest counts as it stands.
            length, limit = decoder.length, limits[sentences]
            ended = newest == end_id
            score = log_p / length_penalty(length, alpha)
            ended_score = score.masked_fill(~ended, -torch.inf)
            none = torch.maximum(ended_score.amax(dim=1), scores[sentences]).isneginf()
            counts = torch.where((none & (length == limit))[:, None], score, ended_score)
            record, winner = counts.max(dim=1)
            new = record > scores[sentences]
            scores[sentences[new]] = record[new]
            tokens[sentences[new], :length] = hypotheses[new, winner[new], 1:]

            # Can one that goes on still win? log_p never rises, so the best that it can hope
            # for is to keep it up to the limit, where the divisor is largest.
            log_p = log_p.masked_fill(ended, -torch.inf)
            hope = log_p.amax(dim=1) / length_penalty(limit, alpha)
            going_on = (length < limit) & (hope > scores[sentences])
            kept = (rows * words.size(1) + parents)[going_on].flatten()
            decoder.select(kept, same_sources=going_on.all() and len(kept) == len(logits))
            sentences, hypotheses, log_p = (x[going_on] for x in (sentences, hypotheses, log_p))
    return tokens[:, : int((tokens != pad_id).sum(dim=1).max())], scores


class Translation(NamedTuple):
    """A text translated, and where each of its T tokens looked.

    Both lists of tokens end with the end token (tgt_tokens only if it came before max_len).
    `maps` holds the weights of each attention of the model by its name, as `record_attention`
    does, but for this one text: (H, T, S) or, in self-attention, (H, S, S) and (H, T, T), in
    float32 on the CPU. Row t of the decoder's maps is the step that chose token t.
    """

    text: str
    src_tokens: list[str]
    tgt_tokens: list[str]
    maps: dict[str, Tensor]

    @property
    def attention(self) -> Tensor:
        """The cross-attention of all decoder layers and heads (layers, H, T, S)."""
        return stack_cross_attention(self.maps)


class Translator:
    """Translates text with a trained model, for one thread at a time.

    Args:
        checkpoint: a folder or a name, as in `load_checkpoint`; or, to try a model in memory,
            the tuple (model, source vocabulary, target vocabulary). With a table of casing,
            it reads ordinary English and writes ordinary German, although the model knows only
            tokenised, lower-cased text.
        device: where to move the model; None leaves it where it is.
    """

    def __init__(self, checkpoint: str | Path | tuple, device: torch.device | str | None = None):
        if isinstance(checkpoint, str | Path):
            checkpoint = load_checkpoint(checkpoint)
        checkpoint = Checkpoint(*checkpoint)
        self.model, self.casing = checkpoint.model, checkpoint.casing
        self.src_vocabulary = checkpoint.src_vocabulary
        self.tgt_vocabulary = checkpoint.tgt_vocabulary
        if device is not None:
            self.model.to(device)

    def translate(
        self,
        text: str | Sequence[str],
        beam: int = 4,
        alpha: float = 0.6,
        max_len: int | None = None,
        attention: bool = False,
        batch_size: int = 64,
        tokenised: bool = False,
    ) -> str | list[str] | Translation | list[Translation]:
        """Translate one text or many, each as if it were alone; an empty text stays empty.

        A word that the vocabulary lacks is read as `<unk>`: the model knows that there is a
        word, but not which.

        Args:
            text: a sentence, or several.
            beam, alpha, max_len: as in `beam_search`; with a beam of 1, `greedy_decode`.
            attention: whether to return, instead of each text alone, a `Translation`.
            batch_size: how many sentences to translate at once.
            tokenised: whether both sides are in the model's own form, whatever its casing.

        Returns:
            the translation of the one text, or the list of all.

        Raises:
            TypeError: a text is not a string.
            ValueError: a text has too many tokens for the model, or a number is out of range.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        texts = [text] if isinstance(text, str) else list(text)
        for one in texts:
            if not isinstance(one, str):
                raise TypeError(f"a text must be a string, got {one!r}")
        ordinary = self.casing is not None and not tokenised
        if ordinary:
            texts = [tokenise(text, "en") for text in texts]
        sources = [self.read(text) for text in texts]
        names = attention_modules(self.model) if attention else {}
        nothing = {name: torch.zeros(module.num_heads, 0, 0) for name, module in names.items()}
        results = [Translation("", [], [], nothing) if attention else ""] * len(sources)
        # Sentences of like length go together: little padding, and few steps to wait for others.
        order = sorted(range(len(sources)), key=lambda number: len(sources[number]))
        order = [number for number in order if len(sources[number]) > 1]  # END alone is empty
        for first in range(0, len(order), batch_size):
            numbers = order[first : first + batch_size]
            src = pad_rows([sources[n] for n in numbers]).to(self.model.output.weight.device)
            if beam == 1:
                tgt = greedy_decode(self.model, src, max_len)
            else:
                tgt, _ = beam_search(self.model, src, beam, alpha, max_len)
            maps = self.attention_maps(src, tgt) if attention else {}
            for row, (number, ids) in enumerate(zip(numbers, tgt.tolist(), strict=True)):
                weights = {name: of_all[row] for name, of_all in maps.items()}
                results[number] = self.write(texts[number], ids, weights, ordinary)
        return results[0] if isinstance(text, str) else results

    def read(self, text: str) -> list[int]:
        """Turn a text in the model's own form into token ids, the end token included."""
        ids, longest = [*self.src_vocabulary.encode(text), END], self.model.config.max_len
        if len(ids) > longest:
            raise ValueError(
                f"a text of {len(ids)} tokens, the end token included, is too long for the "
                f"model's max_len={longest}: {text[:40]!r}…"
            )
        return ids

    def write(
        self, src_text: str, ids: list[int], maps: dict[str, Tensor], ordinary: bool
    ) -> str | Translation:
        """Turn token ids into a text; with maps, cut to size, into a `Translation`."""
        text = self.tgt_vocabulary.decode(ids)
        text = restore(text, self.casing) if ordinary else text
        if not maps:
            return text
        names = self.tgt_vocabulary.to_dict()["tokens"]
        src_tokens = [*self.src_vocabulary.tokens(src_text), names[END]]
        tgt_tokens = [names[i] for i in ids if i != self.model.config.pad_id]
        cut = {}
        for name, weights in maps.items():  # without the padding
            queries = src_tokens if name.startswith("encoder") else tgt_tokens
            keys = tgt_tokens if name.startswith("decoder") and "self" in name else src_tokens
            cut[name] = weights[:, : len(queries), : len(keys)].clone().float().cpu()
        return Translation(text, src_tokens, tgt_tokens, cut)

    def attention_maps(self, src: Tensor, tgt: Tensor) -> dict[str, Tensor]:
        """Read src (B, S) and its finished translation tgt (B, T) once more, all steps at once.

        Returns:
            the weights of each attention, (B, H, T, S) for cross-attention, by its name.
        """
        start = torch.full_like(tgt[:, :1], START)
        with record_attention(self.model) as maps, evaluating(self.model):
            self.model(src, torch.cat([start, tgt[:, :-1]], dim=1))
        return maps
