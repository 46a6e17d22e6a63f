"""The feed-forward network works on each position alone; the residual connection adds."""

import math

import pytest
import torch
from torch import nn

from transformer_lib import FeedForward, ResidualConnection

B, T, D, D_FF = 2, 3, 5, 7


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
