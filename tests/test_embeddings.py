"""Token vectors and positions: scale, closed-form values, rotation, limits."""

import math

import pytest
import torch

from transformer_lib import PositionalEncoding, TokenEmbedding, sinusoidal_encoding

B, T, V, D, MAX_LEN = 3, 7, 13, 2 * 5, 17


# --- TokenEmbedding -------------------------------------------------------------------


def test_an_embedding_is_the_tokens_row_times_the_root_of_d_model():
    embedding = TokenEmbedding(V, D)
    tokens = torch.randint(V, (B, T))
    vectors = embedding(tokens)
    assert vectors.shape == (B, T, D)
    torch.testing.assert_close(vectors[2, 5], embedding.weight[tokens[2, 5]] * math.sqrt(D))


def test_token_vectors_start_with_standard_deviation_one():
    embedding = TokenEmbedding(1009, 2 * 31)
    vectors = embedding(torch.arange(1009)[None])
    assert vectors.std().item() == pytest.approx(1, abs=0.02)
    assert vectors.mean().item() == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(("worst", "lowest", "highest"), [(V, 1, V), (-1, -1, 1)])
def test_an_unknown_token_id_is_an_error(worst, lowest, highest):
    tokens = torch.tensor([[1, worst, 1]])
    with pytest.raises(ValueError, match=f"between 0 and 12, got {lowest} to {highest}"):
        TokenEmbedding(V, D)(tokens)


# --- sinusoidal_encoding --------------------------------------------------------------


def test_every_entry_is_the_papers_formula():
    encoding = sinusoidal_encoding(T, D)
    assert encoding.shape == (T, D)
    assert encoding.dtype == torch.float32
    for position in range(T):
        for i in range(D // 2):
            angle = position / 10000 ** (2 * i / D)
            assert encoding[position, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert encoding[position, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_far_positions_are_as_exact_as_near_ones():
    encoding = sinusoidal_encoding(5000, D)
    angle = 4999 / 10000 ** (2 / D)
    assert encoding[4999, 2].item() == pytest.approx(math.sin(angle), abs=1e-7)


def test_moving_by_k_positions_rotates_each_pair_by_the_same_angle_everywhere():
    encoding, k = sinusoidal_encoding(MAX_LEN, D), 3
    for i in range(D // 2):
        angle = k / 10000 ** (2 * i / D)
        rotation = torch.tensor(
            [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
        )
        pairs = encoding[:, 2 * i : 2 * i + 2]
        torch.testing.assert_close(pairs[k:], pairs[:-k] @ rotation.T)


def test_a_dot_product_depends_on_the_distance_only():
    encoding = sinusoidal_encoding(MAX_LEN, D)
    products = encoding @ encoding.T
    torch.testing.assert_close(products[:-1, :-1], products[1:, 1:])


def test_no_two_positions_are_the_same():
    encoding = sinusoidal_encoding(101, D)
    distances = torch.cdist(encoding, encoding) + torch.eye(101)
    assert distances.min() > 0.1


@pytest.mark.parametrize("make", [lambda d: sinusoidal_encoding(T, d), PositionalEncoding])
def test_an_odd_d_model_is_an_error(make):
    with pytest.raises(ValueError, match=r"even.*got 11"):
        make(11)


# --- PositionalEncoding ---------------------------------------------------------------


def test_the_encoding_is_added_alike_to_every_sentence():
    x = torch.randn(B, T, D)
    encoded = PositionalEncoding(D, MAX_LEN)(x)
    expected = sinusoidal_encoding(T, D)
    for sentence in range(B):
        torch.testing.assert_close(encoded[sentence] - x[sentence], expected)


def test_starting_later_gives_a_slice_of_the_whole():
    encoding, x = PositionalEncoding(D, MAX_LEN), torch.randn(B, T, D)
    whole = encoding(x)
    for t in range(T):
        assert torch.equal(encoding(x[:, t : t + 2], start=t), whole[:, t : t + 2])


def test_without_dropout_training_changes_nothing():
    encoding, x = PositionalEncoding(D, MAX_LEN), torch.randn(B, T, D)
    assert torch.equal(encoding.train()(x), encoding.eval()(x))


def test_dropout_drops_from_the_sum_in_training_only():
    encoding, x = PositionalEncoding(D, MAX_LEN, dropout=0.2), torch.randn(B, T, D)
    whole = encoding.eval()(x)
    torch.testing.assert_close(whole, x + sinusoidal_encoding(T, D))
    encoded = encoding.train()(x)
    dropped = encoded == 0
    assert 0.1 < dropped.float().mean() < 0.3
    torch.testing.assert_close(encoded, (whole / 0.8).masked_fill(dropped, 0.0))


def test_the_encoding_is_neither_learned_nor_saved():
    encoding = PositionalEncoding(D, MAX_LEN)
    assert list(encoding.parameters()) == []
    assert list(encoding.state_dict()) == []


def test_the_encoding_moves_with_the_module():
    assert PositionalEncoding(D, MAX_LEN).to("meta").encoding.device.type == "meta"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_follows_the_input(dtype):
    assert PositionalEncoding(D, MAX_LEN)(torch.randn(B, T, D, dtype=dtype)).dtype == dtype


def test_max_len_is_the_longest_length_that_works():
    encoding = PositionalEncoding(D, MAX_LEN)
    assert encoding(torch.zeros(B, MAX_LEN, D)).shape == (B, MAX_LEN, D)
    assert encoding(torch.zeros(B, 1, D), start=MAX_LEN - 1).shape == (B, 1, D)
    with pytest.raises(ValueError, match="18 tokens is longer than max_len=17"):
        encoding(torch.zeros(B, MAX_LEN + 1, D))
    with pytest.raises(ValueError, match="19 tokens is longer than max_len=17"):
        encoding(torch.zeros(B, 2, D), start=MAX_LEN)


def test_max_len_is_5000_unless_said():
    assert PositionalEncoding(D).encoding.shape == (5000, D)


def test_a_negative_start_is_an_error():
    with pytest.raises(ValueError, match="at least 0, got -3"):
        PositionalEncoding(D, MAX_LEN)(torch.zeros(B, 2, D), start=-3)
