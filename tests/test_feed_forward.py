"""The feed-forward network works on each position alone; the residual connection adds."""

import math

import pytest
import torch
from torch import nn

from transformer_lib import Dropout, FeedForward, ResidualConnection

B, T, D, D_FF = 2, 3, 5, 7


# --- Dropout --------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.1, 0.3, 0.9])
def test_dropout_drops_a_share_of_p_and_scales_the_rest_up(p):
    x = torch.randn(101, 1009)
    got = Dropout(p)(x)
    dropped = got == 0
    torch.testing.assert_close(got, (x / (1 - p)).masked_fill(dropped, 0.0))
    four = dropped.flatten()[: x.numel() // 4 * 4].view(-1, 4).float()  # of one draw
    assert four.mean(dim=0).sub(p).abs().max() < 0.02


def test_dropout_decides_for_each_element_on_its_own():
    dropped = (Dropout(0.5)(torch.ones(4 * 20011)) == 0).float().view(-1, 4)
    assert torch.corrcoef(dropped.T).fill_diagonal_(0).abs().max() < 0.04  # within one draw
    assert torch.corrcoef(torch.stack([dropped[1:, 3], dropped[:-1, 0]]))[0, 1].abs() < 0.04


def test_dropout_draws_anew_each_time_and_follows_the_seed():
    x, draws = torch.ones(1009), []
    for seed in (1, None, 1):
        if seed:
            torch.manual_seed(seed)
        draws.append(Dropout(0.5)(x))
    assert torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[1])


def test_dropped_elements_get_no_gradient_and_the_others_a_larger_one():
    x = torch.randn(B, T, 101, requires_grad=True)
    got = Dropout(0.2)(x)
    got.sum().backward()
    torch.testing.assert_close(x.grad, (got != 0) / 0.8)


def test_no_dropout_in_eval_mode_and_at_p_0():
    x = torch.randn(B, T, D)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


@pytest.mark.parametrize("p", [1.0, 1 - 2**-20])
def test_dropout_of_almost_everything(p):
    assert (Dropout(p)(torch.ones(1009)) == 0).all()


def test_dropout_stays_on_the_device_of_its_input():
    x = torch.ones(7, 11)
    with torch.device("meta"):
        assert Dropout(0.5)(x).device == x.device


def test_dropout_of_almost_nothing():
    x = torch.randn(1009)
    torch.testing.assert_close(Dropout(2**-20)(x), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (B, T, D)])
def test_dropout_keeps_dtype_and_shape(dtype, shape):
    got = Dropout(0.2)(torch.ones(shape, dtype=dtype))
    assert (got.dtype, got.shape) == (dtype, shape)


# --- FeedForward ----------------------------------------------------------------------


def test_the_papers_formula(randomise):
    network, x = randomise(FeedForward(D, D_FF)), torch.randn(B, T, D)
    hidden = (x @ network.w_1.weight.T + network.w_1.bias).clamp(min=0)
    expected = hidden @ network.w_2.weight.T + network.w_2.bias
    torch.testing.assert_close(network(x), expected)


def test_each_position_is_transformed_alone():
    network, x = FeedForward(D, D_FF), torch.randn(B, T, D)
    together = network(x)
    for t in range(T):
        torch.testing.assert_close(network(x[:, t : t + 1]), together[:, t : t + 1])


def test_dropout_acts_on_the_hidden_layer_in_training_only():
    network, x = FeedForward(D, 101, dropout=0.2), torch.randn(B, T, D)
    seen = []
    network.w_2.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network.eval()(x)
    output = network.train()(x)
    whole, dropped = seen
    assert torch.equal(whole, network.w_1(x).relu())
    assert 0.1 < (dropped[whole > 0] == 0).float().mean() < 0.3
    torch.testing.assert_close(dropped, (whole / 0.8).masked_fill(dropped == 0, 0.0))
    assert torch.equal(output, network.w_2(dropped))


def test_number_of_feed_forward_parameters():
    expected = D * D_FF + D_FF + D_FF * D + D
    assert sum(p.numel() for p in FeedForward(D, D_FF).parameters()) == expected


def test_both_layers_start_xavier_uniform_without_bias():
    network = FeedForward(31, 37)
    bound = math.sqrt(6 / (31 + 37))
    for layer in (network.w_1, network.w_2):
        assert 0.9 * bound < layer.weight.abs().max() <= bound
        assert (layer.bias == 0).all()


def test_every_feed_forward_parameter_gets_a_gradient():
    network = FeedForward(D, D_FF)
    network(torch.randn(B, T, D)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().max() > 0, name


# --- ResidualConnection ---------------------------------------------------------------


def test_post_norm_normalises_the_sum(randomise):
    residual = randomise(ResidualConnection(D))
    x = torch.randn(B, T, D)
    torch.testing.assert_close(residual(x, torch.sin), residual.norm(x + x.sin()))


def test_pre_norm_normalises_what_the_sublayer_sees(randomise):
    residual = randomise(ResidualConnection(D, norm_first=True))
    x = torch.randn(B, T, D)
    torch.testing.assert_close(residual(x, torch.sin), x + residual.norm(x).sin())


def test_post_norm_is_what_you_get_unless_you_ask():
    x = 10 * torch.randn(B, T, D)
    output = ResidualConnection(D)(x, torch.zeros_like)
    torch.testing.assert_close(output.mean(dim=-1), torch.zeros(B, T), atol=1e-5, rtol=0)
    torch.testing.assert_close(output.std(dim=-1, correction=0), torch.ones(B, T))


def test_pre_norm_with_a_silent_sublayer_hands_its_input_through():
    x = torch.randn(B, T, D)
    assert torch.equal(ResidualConnection(D, norm_first=True)(x, torch.zeros_like), x)


@pytest.mark.parametrize("norm_first", [False, True])
def test_dropout_acts_on_the_sublayers_output_in_training_only(norm_first):
    residual = ResidualConnection(D, dropout=0.2, norm_first=norm_first)
    residual.norm = nn.Identity()  # shows the sum
    x = torch.randn(11, 13, D)
    torch.testing.assert_close(residual.eval()(x, torch.ones_like), x + 1)
    added = residual.train()(x, torch.ones_like) - x
    dropped = added.abs() < 1e-5
    assert 0.1 < dropped.float().mean() < 0.3
    torch.testing.assert_close(added[~dropped], torch.full_like(added[~dropped], 1 / 0.8))


def test_number_of_residual_parameters():
    assert sum(p.numel() for p in ResidualConnection(D).parameters()) == 2 * D


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("norm_first", [False, True])
def test_dtype_follows_the_input(dtype, norm_first):
    network = FeedForward(D, D_FF).to(dtype)
    residual = ResidualConnection(D, norm_first=norm_first).to(dtype)
    assert residual(torch.randn(B, T, D, dtype=dtype), network).dtype == dtype
