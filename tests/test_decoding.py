"""Decoding: against a plain loop, a plain beam search, and all sentences there are."""

import itertools
import math
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from transformer_lib import Transformer, TransformerConfig, attention_modules
from transformer_lib.checkpoint import save_checkpoint
from transformer_lib.data import END, PAD, SPECIAL_TOKENS, START, UNKNOWN, Vocabulary
from transformer_lib.decoding import (
    CrossAttentionCache,
    IncrementalDecoder,
    Translation,
    Translator,
    beam_search,
    evaluating,
    greedy_decode,
    length_limits,
    length_penalty,
)
from transformer_lib.parity import compare
from transformer_lib.text import restore, tokenise

B, H, D_K, S, T, D_FF, V_SRC, V_TGT = 5, 2, 3, 7, 11, 13, 17, 19
NORMS = pytest.mark.parametrize("norm_first", [False, True], ids=["post-norm", "pre-norm"])
TYINGS = pytest.mark.parametrize("share_embeddings", [False, "target", True])
ALPHAS = pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0, 3.0])
LENGTHS = (4, 7, 2, 5, 1)  # of the source sentences


def tiny_model(seed=0, end_bias=None, **changes):
    """Make an untrained model, in train mode.

    As such models soon repeat themselves for ever, with `end_bias` the logits get waves, so
    that each history leads elsewhere, and sentences of many lengths end. Waves magnify
    rounding: hence float64.
    """
    torch.manual_seed(seed)
    sizes = {
        "src_vocab_size": V_SRC,
        "tgt_vocab_size": V_TGT,
        "d_model": H * D_K,
        "num_heads": H,
        "num_encoder_layers": 1,
        "num_decoder_layers": 2,
        "d_ff": D_FF,
        "dropout": 0.3,
        "max_len": 90,
        "norm_first": True,
    }
    if changes.get("share_embeddings") is True:
        sizes["src_vocab_size"] = V_TGT
    model = Transformer(TransformerConfig(**{**sizes, **changes}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    if not model.config.share_embeddings:
        nn.init.normal_(model.output.weight)
    if end_bias is not None:
        model.output.register_forward_hook(lambda module, args, x: x + 2 * (10 * x).sin())
        prefer(model.double(), END, end_bias)
    return model


def prefer(model, token, by):
    """Add `by` to the logit of a token, whatever the state; minus infinity forbids it."""

    def add(module, args, logits):
        logits = logits.clone()
        logits[..., token] += by
        return logits

    model.output.register_forward_hook(add)


def sources(vocab_size=V_SRC, lengths=LENGTHS):
    src = torch.full((len(lengths), max(lengths)), PAD)
    for row, length in enumerate(lengths):
        src[row, :length] = torch.randint(3, vocab_size, (length,))
    return src


def beam_1(model, src, **changes):
    return beam_search(model, src, beam=1, **changes)[0]


def without_padding(row):
    return row[row != PAD].tolist()


def plain_log_probs(model, src, prefix):
    """Log-probabilities of the next word, with no cache and no batch: all is read again."""
    with torch.no_grad():
        log_probs = model(src[None], torch.tensor([[START, *prefix]]))[0, -1].log_softmax(-1)
    log_probs[PAD] = -math.inf
    return log_probs


def plain_greedy(model, src, limit):
    src, words = src[src != PAD], []
    while len(words) < limit and END not in words:
        words.append(int(plain_log_probs(model, src, words).argmax()))
    return words


def plain_penalty(words, alpha):
    return ((5 + len(words)) / 6) ** alpha


def plain_beam(model, src, beam, alpha, limit):
    """Beam search as a list of (words, log-probability), which never stops before the limit."""
    src, live, ended = src[src != PAD], [([], 0.0)], []
    for _ in range(limit):
        grown = [
            ([*words, word], log_p + p)
            for words, log_p in live
            for word, p in enumerate(plain_log_probs(model, src, words).tolist())
        ]
        best = sorted(grown, key=lambda hypothesis: -hypothesis[1])[:beam]
        ended += [h for h in best if h[0][-1] == END and h[1] > -math.inf]
        live = [h for h in best if h[0][-1] != END]
    scored = [(log_p / plain_penalty(words, alpha), words) for words, log_p in ended or live]
    return max(scored)[::-1]


def all_sentences(model, src, alpha, limit):
    """Score every sentence of at most `limit` words that ends; return the best and its score."""
    src, scored = src[src != PAD], []
    words = [w for w in range(model.config.tgt_vocab_size) if w not in (PAD, END)]
    for length in range(limit):
        sentences = [[*start, END] for start in itertools.product(words, repeat=length)]
        tgt = torch.tensor([[START, *sentence] for sentence in sentences])
        with torch.no_grad():
            logits = model(src.expand(len(tgt), -1), tgt[:, :-1])
        log_p = logits.log_softmax(-1).gather(2, tgt[:, 1:, None]).sum(dim=(1, 2))
        penalty = plain_penalty(sentences[0], alpha)
        scored += zip((log_p / penalty).tolist(), sentences, strict=True)
    return max(scored)[::-1]


# --- The cache ------------------------------------------------------------------------


@NORMS
@TYINGS
def test_cached_logits_equal_uncached_ones(share_embeddings, norm_first):
    model = tiny_model(norm_first=norm_first, share_embeddings=share_embeddings)
    src, tgt = sources(), torch.randint(1, V_TGT, (B, T))
    with evaluating(model):
        expected = model(src, torch.cat([torch.full((B, 1), START), tgt], dim=1))
        decoder = IncrementalDecoder(model, src, T + 1)
        steps = [decoder.step(torch.full((B,), START))]
        steps += [decoder.step(tgt[:, t]) for t in range(T)]
    assert compare("logits", torch.stack(steps, dim=1), expected) < 1e-5


def test_a_cache_that_is_full_says_so():
    model = tiny_model()
    with evaluating(model):
        decoder = IncrementalDecoder(model, sources(), 2)
        for _ in range(2):
            decoder.step(torch.full((B,), START))
        with pytest.raises(ValueError, match="3 tokens, but this cache keeps max_len=2"):
            decoder.step(torch.full((B,), START))


SELECTIONS = {
    "fewer": [4, 1],
    "another order": [3, 0, 2, 4, 1],
    "more": [0, 0, 1, 1, 2, 2, 4, 4],
    "by mask": [True, False, True, True, False],
}


@pytest.mark.parametrize("rows", SELECTIONS.values(), ids=SELECTIONS)
def test_selected_rows_go_on_as_before(rows):
    model, src, tgt = tiny_model(), sources(), torch.randint(1, V_TGT, (B, T))
    rows = torch.tensor(rows)
    with evaluating(model):
        expected = model(src, tgt)
        decoder = IncrementalDecoder(model, src, T)
        for t in range(T):
            logits = decoder.step(tgt[:, t])
            assert compare(f"step {t}", logits, expected[:, t]) < 1e-5
            if t in (0, 4):  # the second time, of what is left
                decoder.select(rows)
                tgt, expected = tgt[rows], expected[rows]
                rows = torch.arange(len(tgt) // 2)


def test_rows_of_the_same_sources_are_selected_without_copying_them():
    model, src, tgt = tiny_model(), sources()[:2], torch.randint(1, V_TGT, (4, T))
    with evaluating(model):
        decoder = IncrementalDecoder(model, src, T)
        decoder.step(torch.full((2,), START))
        decoder.select(torch.tensor([0, 0, 1, 1]))
        before = decoder.caches[0][1].computed[0].data_ptr()
        decoder.step(tgt[:, 0])
        decoder.select(torch.tensor([1, 0, 3, 3]), same_sources=True)
        history = tgt[:, :1][torch.tensor([1, 0, 3, 3])]
        logits = decoder.step(tgt[:, 1])
        inputs = torch.cat([torch.full((4, 1), START), history, tgt[:, 1:2]], dim=1)
        expected = model(src.repeat_interleave(2, dim=0), inputs)[:, -1]
    assert compare("logits", logits, expected) < 1e-5
    assert decoder.caches[0][1].computed[0].data_ptr() == before


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_caches_hold_the_dtype_of_the_model_and_one_row_per_token(dtype):
    model = tiny_model().to(dtype)
    with evaluating(model):
        decoder = IncrementalDecoder(model, sources(), T)
        for _ in range(3):
            decoder.step(torch.full((B,), START))
    for self_cache, cross_cache in decoder.caches:
        assert self_cache.buffer.dtype == cross_cache.computed[0].dtype == dtype
        assert self_cache.buffer.shape == (2, B, H, T, D_K)
        assert cross_cache.computed[1].shape == (B, H, S, D_K)


@contextmanager
def watching(module):
    """Note the shape of the first argument of each call."""
    shapes = []
    note = lambda module, args: shapes.append(tuple(args[0].shape))  # noqa: E731
    hook = module.register_forward_pre_hook(note)
    yield shapes
    hook.remove()


@pytest.mark.parametrize("search", [greedy_decode, beam_search])
def test_the_source_is_read_once_and_each_step_reads_one_token(search, monkeypatch):
    model = tiny_model(num_decoder_layers=1)
    prefer(model, END, -math.inf)
    layer = model.decoder.layers[0]
    selected, select = [], CrossAttentionCache.select
    monkeypatch.setattr(
        CrossAttentionCache, "select", lambda s, rows: selected.append(len(rows)) or select(s, rows)
    )
    with (
        watching(model.encoder) as encoder,
        watching(layer.cross_attention.w_k) as memory,
        watching(layer.self_attention.w_k) as tokens,
        watching(model.output) as output,
    ):
        search(model, sources(), max_len=6)
    k = 4 if search is beam_search else 1
    assert encoder == [(B, S, H * D_K)] == memory
    assert tokens == [(B, 1, H * D_K)] + 5 * [(B * k, 1, H * D_K)]
    assert output == [(B, H * D_K)] + 5 * [(B * k, H * D_K)]
    # Once when the beam spreads, and once when all is over.
    assert selected == ([B] if search is greedy_decode else [B * k, 0])


def test_finished_sentences_leave_the_batch():
    model = tiny_model(seed=3, end_bias=1.0)
    src = sources()
    with watching(model.output) as output:
        tokens = greedy_decode(model, src)
    lengths = [len(without_padding(row)) for row in tokens]
    assert len(set(lengths)) > 2
    steps = range(1, max(lengths) + 1)
    assert [rows for rows, _ in output] == [sum(n >= t for n in lengths) for t in steps]


# --- Greedy decoding ------------------------------------------------------------------


@NORMS
@TYINGS
def test_greedy_equals_the_plain_loop(share_embeddings, norm_first):
    changes = {"norm_first": norm_first, "share_embeddings": share_embeddings}
    model = tiny_model(end_bias=1.0, **changes).eval()
    src = sources()
    tokens = greedy_decode(model, src, max_len=12)
    assert tokens.dtype == torch.long
    assert [without_padding(row) for row in tokens] == [plain_greedy(model, row, 12) for row in src]


@pytest.mark.parametrize("seed", range(4))
def test_a_batch_gives_what_each_sentence_gives_alone(seed):
    model, src = tiny_model(seed, end_bias=1.0), sources()
    for search in (greedy_decode, lambda *args: beam_search(*args)[0]):
        together = [without_padding(row) for row in search(model, src)]
        alone = [without_padding(search(model, row[row != PAD][None])[0]) for row in src]
        assert together == alone


def test_what_is_returned_ends_with_the_end_token_then_padding():
    model, src = tiny_model(seed=3, end_bias=1.0), sources()
    for tokens in (greedy_decode(model, src, 14), beam_search(model, src, max_len=14)[0]):
        lengths = (tokens != PAD).sum(dim=1)
        assert tokens.size(1) == lengths.max()
        assert lengths.min() < lengths.max()
        for row, length in zip(tokens, lengths, strict=True):
            assert (row[length:] == PAD).all()
            assert (row[: length - 1] != END).all()
            assert length == 14 or row[length - 1] == END


def test_padding_is_never_generated():
    model, src = tiny_model(), sources()
    prefer(model, PAD, 100.0)
    prefer(model, END, -math.inf)
    for tokens in (greedy_decode(model, src, 5), beam_search(model, src, max_len=5)[0]):
        assert tokens.shape == (B, 5)
        assert (tokens != PAD).all()


@pytest.mark.parametrize("search", [greedy_decode, beam_1])
def test_without_an_end_the_limit_is_the_length_of_the_source_and_50(search):
    model, src = tiny_model(num_decoder_layers=1), sources(lengths=(3, 1))
    prefer(model, END, -math.inf)
    assert [len(without_padding(row)) for row in search(model, src)] == [53, 51]
    model = tiny_model(max_len=52)
    prefer(model, END, -math.inf)
    assert [len(without_padding(row)) for row in search(model, src)] == [52, 51]
    with watching(model.output) as output:
        assert search(model, src, max_len=1).shape == (2, 1)
    assert len(output) == 1


def test_limits():
    src = sources()
    assert length_limits(tiny_model(), src).tolist() == [54, 57, 52, 55, 51]
    assert length_limits(tiny_model(max_len=53), src).tolist() == [53, 53, 52, 53, 51]
    assert length_limits(tiny_model(), src, 8).tolist() == [8] * B
    assert length_limits(tiny_model(max_len=7), src, 8).tolist() == [7] * B


def test_start_and_end_tokens_can_be_others():
    model, src = tiny_model(end_bias=0.0).eval(), sources()
    prefer(model, 7, 3.0)
    first = [
        int(model(row[row != PAD][None], torch.tensor([[5]]))[0, -1, 1:].argmax()) + 1
        for row in src
    ]
    for tokens in (
        greedy_decode(model, src, start_id=5, end_id=7),
        beam_search(model, src, beam=1, start_id=5, end_id=7)[0],
    ):
        assert tokens[:, 0].tolist() == first
        assert ((tokens == 7).sum(dim=1) == 1).any()
        assert (tokens[:, 1:][tokens[:, :-1] == 7] == PAD).all()


# --- Beam search ----------------------------------------------------------------------


@ALPHAS
@pytest.mark.parametrize("seed", range(3))
def test_a_beam_of_1_is_greedy(seed, alpha):
    model, src = tiny_model(seed, end_bias=1.0), sources()
    tokens, _ = beam_search(model, src, beam=1, alpha=alpha, max_len=12)
    assert torch.equal(tokens, greedy_decode(model, src, max_len=12))


def test_a_beam_of_1_is_greedy_where_words_tie():
    model, src = tiny_model(end_bias=1.0).bfloat16(), sources()
    model.output.weight.data[8:] = model.output.weight.data[7]
    tokens, scores = beam_search(model, src, beam=1, max_len=12)
    assert torch.equal(tokens, greedy_decode(model, src, max_len=12))
    assert scores.dtype == torch.float32


@ALPHAS
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("end_bias", [-2.0, 0.0, 2.0])
def test_a_wide_beam_equals_all_sentences(end_bias, seed, alpha):
    vocab_size, limit = 5, 4
    model = tiny_model(seed, end_bias, tgt_vocab_size=vocab_size).eval()
    src = sources()[:3]
    tokens, scores = beam_search(model, src, vocab_size ** (limit - 1), alpha, max_len=limit)
    for row, score, sentence in zip(tokens, scores, src, strict=True):
        words, expected = all_sentences(model, sentence, alpha, limit)
        assert without_padding(row) == words
        assert score.item() == pytest.approx(expected, abs=1e-5)


@ALPHAS
@pytest.mark.parametrize("beam", [2, 4, 7])
@pytest.mark.parametrize("seed", range(2))
def test_beam_search_equals_the_plain_one(seed, beam, alpha):
    model, src = tiny_model(seed, end_bias=1.0, tgt_vocab_size=7).eval(), sources()
    tokens, scores = beam_search(model, src, beam, alpha, max_len=8)
    for row, score, sentence in zip(tokens, scores, src, strict=True):
        words, expected = plain_beam(model, sentence, beam, alpha, 8)
        assert without_padding(row) == words
        assert score.item() == pytest.approx(expected, abs=1e-5)


def test_hypotheses_that_never_end_are_returned_with_their_scores():
    model, src = tiny_model().eval(), sources()
    prefer(model, END, -math.inf)
    tokens, scores = beam_search(model, src, beam=3, max_len=4)
    for row, score, sentence in zip(tokens, scores, src, strict=True):
        words, expected = plain_beam(model, sentence, 3, 0.6, 4)
        assert END not in words
        assert row.tolist() == words
        assert score.item() == pytest.approx(expected, abs=1e-5)


def test_one_that_ended_wins_over_likelier_ones_that_did_not():
    model, src = tiny_model(end_bias=-1.0, tgt_vocab_size=5), sources()
    tokens, scores = beam_search(model, src, 25, 0.0, max_len=2)
    assert (tokens == END).any(dim=1).all()
    prefer(model, END, -math.inf)
    assert (beam_search(model, src, 25, 0.0, max_len=2)[1] > scores).any()


def test_the_search_stops_when_nobody_can_win_any_more():
    model, src = tiny_model(end_bias=2.0), sources()
    steps = []
    for alpha in (0.0, 1.0, 3.0):
        with watching(model.output) as output:
            beam_search(model, src, alpha=alpha, max_len=40)
        steps.append(len(output))
        assert output[-1][0] < output[1][0]  # sentence by sentence
    assert steps == sorted(steps)
    assert steps[0] < 10


def test_penalty():
    # The values of (5 + length) / 6 are 1 and 2; the end token counts.
    assert length_penalty(1, 0.6) == 1
    assert length_penalty(7, 0.6) == pytest.approx(2**0.6)
    assert length_penalty(7, 0.0) == 1
    torch.testing.assert_close(
        length_penalty(torch.tensor([1, 7, 13]), 2.0), torch.tensor([1.0, 4.0, 9.0])
    )


def test_the_same_input_gives_the_same_result_even_where_all_words_tie():
    model, src = tiny_model(), sources()
    nn.init.zeros_(model.output.weight)
    first, scores = beam_search(model, src, max_len=6)
    again, same_scores = beam_search(model, src, max_len=6)
    assert torch.equal(first, again)
    assert torch.equal(scores, same_scores)
    alone, _ = beam_search(model, src[2:3, :2], max_len=6)
    assert without_padding(first[2]) == without_padding(alone[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_finds_a_sentence_nearly_as_likely(dtype):
    model, src = tiny_model(), sources()
    _, expected = beam_search(model, src, max_len=9)
    tokens, scores = beam_search(model.to(dtype), src, max_len=9)
    assert scores.dtype == torch.float32
    assert (scores - expected).abs().max() < 0.3
    assert greedy_decode(model, src, max_len=9).dtype == tokens.dtype == torch.long


# --- Leaves nothing behind ------------------------------------------------------------


SEARCHES = pytest.mark.parametrize("search", [greedy_decode, beam_search])


@SEARCHES
def test_each_module_keeps_its_mode_and_dropout_is_off(search):
    model, src = tiny_model(), sources()
    model.encoder.eval()  # as someone who trains the decoder alone would do
    modes = [module.training for module in model.modules()]
    results = [search(model, src, max_len=6) for _ in range(2)]
    tokens, same = (r if search is greedy_decode else r[0] for r in results)
    assert torch.equal(tokens, same)
    assert [module.training for module in model.modules()] == modes
    assert model.decoder.training


@SEARCHES
def test_modes_come_back_after_an_error(search):
    model = tiny_model()
    with pytest.raises(ValueError, match="token ids must be between 0 and 16, got 5 to 99"):
        search(model, torch.tensor([[5, 99]]))
    assert all(module.training for module in model.modules())
    assert not torch.is_inference_mode_enabled()


@SEARCHES
def test_no_random_number_is_drawn_and_the_result_can_be_trained_on(search):
    model, src, before = tiny_model(), sources(), torch.get_rng_state()
    result = search(model, src, max_len=6)
    tokens = result if search is greedy_decode else result[0]
    assert torch.equal(torch.get_rng_state(), before)
    model(src, tokens).sum().backward()  # which refuses tensors made in inference mode


# --- Errors ---------------------------------------------------------------------------


@SEARCHES
@pytest.mark.parametrize(
    ("src", "changes", "message"),
    [
        (torch.zeros(0, 3, dtype=torch.long), {}, r"neither of them 0, got shape \(0, 3\)"),
        (torch.zeros(3, 0, dtype=torch.long), {}, r"neither of them 0, got shape \(3, 0\)"),
        (torch.tensor([4, 5]), {}, r"src must be \(B, S\), .* got shape \(2,\)"),
        (torch.tensor([[4, 5], [PAD, PAD]]), {}, "row 1 of src is empty: nothing but pad_id=0"),
        (torch.tensor([[4, 5]]), {"max_len": 0}, "max_len must be at least 1, got 0"),
        (torch.full((1, 91), 5), {}, "a sequence of 91 tokens is longer than max_len=90"),
    ],
)
def test_bad_input_is_an_error(search, src, changes, message):
    with pytest.raises(ValueError, match=message):
        search(tiny_model(), src, **changes)


@pytest.mark.parametrize("changes", [{"beam": 0}, {"alpha": -0.1}, {"alpha": math.nan}])
def test_bad_numbers_are_an_error(changes):
    beam, alpha = changes.get("beam", 4), changes.get("alpha", 0.6)
    message = f"beam must be at least 1 and alpha at least 0, got {beam} and {alpha}"
    with pytest.raises(ValueError, match=message):
        beam_search(tiny_model(), sources(), **changes)


@SEARCHES
def test_nan_is_an_error(search):
    model = tiny_model()
    nn.init.constant_(model.decoder.layers[1].self_attention.w_o.bias, math.nan)
    with pytest.raises(FloatingPointError, match="step 1 gives NaN"):
        search(model, sources())
    assert model.training


# --- Text -----------------------------------------------------------------------------

WORDS = ("the a dog cat sleeps eats not never", "der die ein Hund Katze schläft frisst nicht nie")
ENGLISH, GERMAN = (Vocabulary([*SPECIAL_TOKENS, *words.split()]) for words in WORDS)
TEXTS = ["the dog sleeps", "", "a cat", "the dog never eats the cat", "  ", "cat", "the wug eats"]


@pytest.fixture
def translator():
    sizes = {"src_vocab_size": len(ENGLISH), "tgt_vocab_size": len(GERMAN), "max_len": 20}
    model = tiny_model(seed=1, **sizes)
    return Translator((model, ENGLISH, GERMAN))


@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_many_texts_are_translated_as_each_alone(translator, beam, batch_size):
    translations = translator.translate(TEXTS, beam=beam, batch_size=batch_size)
    assert translations == [translator.translate(text, beam=beam) for text in TEXTS]
    assert translations[1] == translations[4] == ""
    assert len(set(translations)) > 3
    assert translator.translate([]) == []


def test_translating_is_encoding_searching_and_decoding(translator):
    src = torch.tensor([[*ENGLISH.encode(TEXTS[0]), END]])
    model = translator.model
    for beam, alpha, max_len in ((1, 0.6, None), (2, 0.6, None), (4, 2.0, 5)):
        tokens, _ = beam_search(model, src, beam, alpha, max_len)
        expected = GERMAN.decode(tokens[0].tolist())
        assert translator.translate(TEXTS[0], beam, alpha, max_len) == expected
    tokens, _ = beam_search(model, src, 4, 0.6)
    assert translator.translate(TEXTS[0]) == GERMAN.decode(tokens[0].tolist())


def test_a_beam_of_1_takes_the_short_way(translator, monkeypatch):
    monkeypatch.setattr("transformer_lib.decoding.beam_search", None)
    assert translator.translate("a dog", beam=1)


def test_texts_of_like_length_go_together(translator):
    with watching(translator.model.encoder) as encoder:
        translator.translate(TEXTS, batch_size=2)
    assert [shape[:2] for shape in encoder] == [(2, 3), (2, 4), (1, 7)]


@pytest.mark.parametrize("beam", [1, 3])
def test_attention_says_where_each_token_looked(translator, beam):
    translations = translator.translate(TEXTS, beam=beam, attention=True)
    assert [t.text for t in translations] == translator.translate(TEXTS, beam=beam)
    layers = len(translator.model.decoder.layers)
    for text, translation in zip(TEXTS, translations, strict=True):
        assert isinstance(translation, Translation)
        _, src_tokens, tgt_tokens, maps = translation
        attention = translation.attention
        assert attention.shape == (layers, H, len(tgt_tokens), len(src_tokens))
        if not text.strip():
            assert attention.numel() == 0
            continue
        source, target = len(src_tokens), len(tgt_tokens)
        sizes = {
            "encoder.layers.0.self_attention": (H, source, source),
            "decoder.layers.1.self_attention": (H, target, target),
            "decoder.layers.0.cross_attention": (H, target, source),
        }
        assert {name: tuple(maps[name].shape) for name in sizes} == sizes
        assert list(maps) == list(attention_modules(translator.model))
        assert src_tokens == [*text.split(), "</s>"]
        words = [token for token in tgt_tokens if token not in ("<s>", "</s>")]
        assert words == translation.text.split()
        torch.testing.assert_close(attention.sum(-1), torch.ones(attention.shape[:3]))
        alone = translator.translate(text, beam=beam, attention=True)
        torch.testing.assert_close(maps, alone.maps)


def test_attention_is_that_of_the_steps(translator):
    [translation] = translator.translate(["the dog never sleeps"], attention=True)
    model, src = translator.model, torch.tensor([[*ENGLISH.encode("the dog never sleeps"), END]])
    tokens = [GERMAN.to_dict()["tokens"].index(token) for token in translation.tgt_tokens]
    with evaluating(model):
        memory = model.encode(src)
        for t in range(len(tokens)):
            # The formula by hand, for the last layer: its input is what its residual is given.
            layer, seen = model.decoder.layers[-1].cross_attention, []
            hook = layer.register_forward_pre_hook(lambda module, args, s=seen: s.append(args[0]))
            model.decode(torch.tensor([[START, *tokens[:t]]]), memory)
            hook.remove()
            q = layer.split_heads(layer.w_q(seen[0][:, -1:]))
            k, _ = layer.keys_values(memory, memory)
            expected = (q @ k.transpose(2, 3) / math.sqrt(D_K)).softmax(-1)[0, :, 0]
            torch.testing.assert_close(translation.attention[-1, :, t], expected)


def test_attention_leaves_no_hook_and_no_mode_behind(translator):
    model = translator.model
    translator.translate("the dog", attention=True)
    model.decoder.layers[1].feed_forward = None
    with pytest.raises(TypeError):
        translator.attention_maps(torch.tensor([[5]]), torch.tensor([[5]]))
    for module in model.modules():
        assert not module._forward_pre_hooks
        assert not module._forward_hooks
        assert module.training


def test_attention_can_be_drawn_whatever_the_precision(translator):
    translator.model.bfloat16()
    for weights in translator.translate("the dog", attention=True).maps.values():
        assert weights.dtype == torch.float32
        assert not weights.is_inference()
        assert not weights.requires_grad


CASING = {"hund": "Hund", "katze": "Katze", "ein": "EIN"}
CUT = "der die ein hund katze schläft frisst nicht &quot; ,"  # as the model below writes
CUT_ENGLISH = Vocabulary([*SPECIAL_TOKENS, *WORDS[0].split(), "&amp;"])  # as it reads


@pytest.fixture
def of_ordinary_text():
    vocabulary = Vocabulary([*SPECIAL_TOKENS, *CUT.split()])
    sizes = {"src_vocab_size": len(CUT_ENGLISH), "tgt_vocab_size": len(vocabulary), "max_len": 20}
    return Translator((tiny_model(seed=2, **sizes), CUT_ENGLISH, vocabulary, {}, CASING))


@pytest.mark.parametrize("beam", [1, 3])
def test_with_casing_text_is_read_and_written_as_people_write(of_ordinary_text, beam):
    ordinary = ["The dog sleeps", "a CAT", "The cat  never eats", " ", "the dog & the cat"]
    cut = [tokenise(text, "en") for text in ordinary]
    assert cut[2:] == ["the cat never eats", "", "the dog &amp; the cat"]
    written = of_ordinary_text.translate(cut, beam=beam, tokenised=True)
    assert {word for text in written for word in text.split()} <= {*CUT.split(), "<unk>"}
    translated = of_ordinary_text.translate(ordinary, beam=beam)
    assert translated == [restore(text, CASING) for text in written]
    assert translated != written
    assert of_ordinary_text.translate(ordinary[0], beam=beam) == translated[0]


def test_attention_is_about_the_tokens_that_the_model_sees(of_ordinary_text):
    shown = of_ordinary_text.translate("The dog & the CAT eat", attention=True)
    cut = of_ordinary_text.translate("the dog &amp; the cat eat", attention=True, tokenised=True)
    assert shown.src_tokens == ["the", "dog", "&amp;", "the", "cat", "eat", "</s>"]
    assert shown.text == restore(cut.text, CASING) != cut.text
    assert shown[1:3] == cut[1:3]
    torch.testing.assert_close(shown.maps, cut.maps, rtol=0, atol=0)


def test_without_casing_text_is_in_the_models_own_form(translator):
    assert translator.casing is None
    for text in ("The dog", "the dog &amp; cat"):
        as_it_is = translator.translate(text, attention=True)
        assert as_it_is.src_tokens[:-1] == translator.src_vocabulary.tokens(text)
        assert as_it_is.text == translator.translate(text, tokenised=True)


def test_an_unknown_word_is_read_as_such_and_shown_as_written(translator):
    assert translator.read("the wug") == [4, UNKNOWN, END]
    assert translator.translate("the wug") == translator.translate("the blicket")
    assert translator.translate("a wug", attention=True).src_tokens == ["a", "wug", "</s>"]


def test_bad_texts_are_errors(translator):
    with pytest.raises(ValueError, match=r"21 tokens, .* max_len=20: 'dog dog"):
        translator.translate(["a cat", "dog " * 20])
    assert translator.translate("dog " * 19)
    for text in (["a cat", 7], [None]):
        with pytest.raises(TypeError, match=f"a text must be a string, got {text[-1]}"):
            translator.translate(text)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        translator.translate("a cat", batch_size=0)


def test_a_checkpoint_is_loaded_from_its_folder(translator, tmp_path):
    expected = [translator.translate(text) for text in TEXTS]
    for hooks in (m._forward_hooks for m in translator.model.modules()):
        assert not hooks  # they would not be saved
    save_checkpoint(tmp_path, translator.model, ENGLISH, GERMAN, {})
    for folder in (tmp_path, str(tmp_path)):
        assert Translator(folder).translate(TEXTS) == expected


def test_casing_is_loaded_with_the_model(of_ordinary_text, tmp_path):
    model, vocabulary = of_ordinary_text.model, of_ordinary_text.tgt_vocabulary
    save_checkpoint(tmp_path, model, CUT_ENGLISH, vocabulary, {}, CASING)
    texts = ["The dog sleeps.", "A cat!"]
    assert Translator(tmp_path).translate(texts) == of_ordinary_text.translate(texts)


def test_the_device_is_the_models(translator):
    assert Translator((translator.model, ENGLISH, GERMAN), device="cpu").translate("a dog")
    moved = Translator((translator.model, ENGLISH, GERMAN), device="meta")
    assert moved.model.output.weight.is_meta
