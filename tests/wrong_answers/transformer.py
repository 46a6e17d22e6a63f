"""Plausible wrong answers to notebook 08: label → (answer, part of the verdict)."""

import torch
from torch import nn
from torch.nn import functional as F

from transformer_lib import Transformer, TransformerConfig


def copied(model):
    numbers = model.tgt_embedding.weight.detach()
    model.src_embedding.weight.data.copy_(numbers)
    model.output.weight.data.copy_(numbers)
    return model


def new_parameters(model):
    model.src_embedding.weight = nn.Parameter(model.tgt_embedding.weight.detach().clone())
    model.output.weight = nn.Parameter(model.tgt_embedding.weight.detach().clone())
    return model


def data_assigned(model):
    model.src_embedding.weight.data = model.tgt_embedding.weight.data
    model.output.weight.data = model.tgt_embedding.weight.data
    return model


def only_the_target(model):
    model.output.weight = model.tgt_embedding.weight
    return model


def only_the_embeddings(model):
    model.src_embedding = model.tgt_embedding
    return model


def from_the_output(model):
    model.src_embedding.weight = model.tgt_embedding.weight = model.output.weight
    return model


def from_the_source(model):
    model.tgt_embedding.weight = model.output.weight = model.src_embedding.weight
    return model


def nothing_returned(model):
    model.src_embedding = model.tgt_embedding
    model.output.weight = model.tgt_embedding.weight


def ledger(config, **slips):
    """Count as one should, but for the slips."""
    c = {
        "biases": 4 * config.d_model,
        "hidden_biases": config.d_ff + config.d_model,
        "decoder_attentions": 2,
        "norms": (2, 3),
        "final": 2 * config.norm_first,
        "positions": 0,
        "layers": (config.num_encoder_layers, config.num_decoder_layers),
        "saved": {False: 0, "target": 1, True: 2},
    } | slips
    D = config.d_model
    attention = 4 * D * D + c["biases"]
    feed_forward = 2 * D * config.d_ff + c["hidden_biases"]
    encoder = attention + feed_forward + c["norms"][0] * 2 * D
    decoder = c["decoder_attentions"] * attention + feed_forward + c["norms"][1] * 2 * D
    words = config.src_vocab_size + (2 - c["saved"][config.share_embeddings]) * (
        config.tgt_vocab_size
    )
    stacks = c["layers"][0] * encoder + c["layers"][1] * decoder + c["final"] * 2 * D
    return words * D + stacks + c["positions"] * D


def future(model, src, tgt):
    other = tgt.clone()
    other[:, -1] = tgt[:, -1] % 9 + 1
    return torch.allclose(model(src, tgt)[:, :-1], model(src, other)[:, :-1])


def padding(model, src, tgt):
    return torch.allclose(model(src, tgt), model(F.pad(src, (0, 3)), tgt))


def both(model, src, tgt):
    return future(model, src, tgt) and padding(model, src, tgt)


def no_room(model, src, tgt):
    other = tgt.clone()
    other[:, -1] = tgt[:, -1] % 9 + 1
    hidden = torch.equal(model(src, tgt)[:, :-1], model(src, other)[:, :-1])
    return hidden and torch.equal(model(src, tgt), model(F.pad(src, (0, 3)), tgt))


def at_its_own_position(model, src, tgt):
    other = tgt.clone()
    other[:, -1] = tgt[:, -1] % 9 + 1
    return torch.allclose(model(src, tgt), model(src, other)) and padding(model, src, tgt)


def first_position_only(model, src, tgt):
    other = tgt.clone()
    other[:, -1] = tgt[:, -1] % 9 + 1
    first = torch.allclose(model(src, tgt)[:, 0], model(src, other)[:, 0])
    return first and padding(model, src, tgt)


def pads_the_target(model, src, tgt):
    longer = model(src, F.pad(tgt, (0, 3)))[:, : tgt.size(1)]
    return future(model, src, tgt) and torch.allclose(model(src, tgt), longer)


def encoder_only(model, src, tgt):
    longer = model.encode(F.pad(src, (0, 3)))[:, : src.size(1)]
    return future(model, src, tgt) and torch.allclose(model.encode(src), longer)


def every_position(model, src, tgt):
    longer = model(F.pad(src, (0, 3)), tgt)
    return future(model, src, tgt) & ((longer - model(src, tgt)).abs() < 1e-5)


WRONG = {
    "first_loss_expected": {
        "shared": (9.49, "shared with the embeddings"),
        "base 10": (3.9, "base 10"),
        "base 2": (12.97, "base 2"),
        "of the positions": (6.68, "how many there are plays no part"),
        "sum": (7189.76, "sum over all"),
        "negative": (-8.99, "minus that"),
        "probability": (1 / 8000, "the probability of each word"),
        "any other": (5, "it is larger"),
    },
    "superfluous_mask": {
        "the encoder's": ("a", "mixes it into its own vector"),
        "cross-attention's": ("b", "rows still stand in the memory"),
        "none": ("d", "look that far ahead"),
    },
    "rule_behind_a_map": {
        "backwards": ("rewolfnus", "anti-diagonal"),
        "by columns": ("souwnefrl", "through the columns"),
        "off by one": ("nlwrufoe", "the first letter is missing"),
        "halves swapped": ("ufoesnlwr", "which of them comes first"),
        "for drinks": ("dikrns", "now the same rule for sunflower"),
        "another order": ("flowersun", "which columns of drinks come first"),
        "a letter lost": ("snlwrufo", "each letter of sunflower once"),
        "no word": (9, "in quotation marks"),
    },
    "one_matrix_for_all": {
        "numbers copied": (copied, "in a place of its own"),
        "new parameters": (new_parameters, "in a place of its own"),
        "data assigned": (data_assigned, ".data was assigned"),
        "the source left out": (only_the_target, "source embedding: those that"),
        "the output left out": (only_the_embeddings, "this is still its own matrix"),
        "the output's numbers": (from_the_output, "too small for embeddings"),
        "the source's numbers": (from_the_source, "keep the target's"),
        "no return": (nothing_returned, "is the return missing?"),
        "a weight": (lambda model: model.tgt_embedding.weight, "the model is expected"),
    },
    "parameter_count": {
        "no biases": (lambda c: ledger(c, biases=0), "four projections are missing"),
        "no hidden biases": (lambda c: ledger(c, hidden_biases=0), "of the feed-forward network"),
        "no norms": (lambda c: ledger(c, norms=(0, 0)), "layer norms are missing"),
        "two norms in the decoder": (lambda c: ledger(c, norms=(2, 2)), "has 3 norms"),
        "one attention": (lambda c: ledger(c, decoder_attentions=1), "has 2 attentions"),
        "positions": (lambda c: ledger(c, positions=c.max_len), "is not learned"),
        "no output": (
            lambda c: ledger(c) - c.tgt_vocab_size * c.d_model,
            "output layer is missing",
        ),
        "one number of layers": (
            lambda c: ledger(c, layers=(c.num_encoder_layers,) * 2),
            "with the encoder's number of layers",
        ),
        "swapped": (
            lambda c: ledger(c, layers=(c.num_decoder_layers, c.num_encoder_layers)),
            "are swapped",
        ),
        "no final norms": (lambda c: ledger(c, final=0), "one more norm"),
        "one final norm": (lambda c: ledger(c, final=c.norm_first), "both stacks end"),
        "sharing ignored": (
            lambda c: ledger(c, saved={False: 0, "target": 0, True: 0}),
            "stored once",
        ),
        "target as all": (
            lambda c: ledger(c, saved={False: 0, "target": 2, True: 2}),
            "True ties three",
        ),
        "all as target": (
            lambda c: ledger(c, saved={False: 0, "target": 1, True: 1}),
            "True ties three",
        ),
    },
    "sound_model": {
        "always content": (lambda model, src, tgt: True, "not found: a decoder that sees"),
        "the future alone": (future, "not found: a model without any source mask"),
        "padding alone": (padding, "not found: a decoder that sees the whole future"),
        "the first position alone": (first_position_only, "sees one word ahead"),
        "padding in the target": (pads_the_target, "not found: a model without any source mask"),
        "the memory alone": (encoder_only, "not found: a model without any source mask"),
        "no room for rounding": (no_room, "without room for rounding"),
        "its own position": (at_its_own_position, "at positions that may change"),
        "never content": (lambda model, src, tgt: False, "was called broken"),
        "many answers": (every_position, "one True or False"),
    },
}

# Solutions written otherwise than the notebook's, all of them right.


def modules(model):
    model.src_embedding = model.tgt_embedding
    model.output.weight = model.tgt_embedding.weight
    return model


def another_model(model):
    sizes = {**vars(model.config), "share_embeddings": True}
    tied = Transformer(TransformerConfig(**sizes))
    tied.load_state_dict(model.state_dict())
    tied.output.weight.data.copy_(model.tgt_embedding.weight)
    return tied


def built(config):
    with torch.device("meta"):
        return sum(p.numel() for p in Transformer(config).parameters())


def gradients(model, src, tgt):
    rows = []
    hook = model.tgt_embedding.register_forward_hook(
        lambda module, inputs, y: rows.append(y.requires_grad_()) or y
    )
    logits = model(src, tgt)
    hook.remove()
    leaks = [
        torch.autograd.grad(logits[:, t].sum(), rows[0], retain_graph=True)[0][:, t + 1 :]
        for t in range(tgt.size(1) - 1)
    ]
    return not any(leak.abs().sum() > 0 for leak in leaks) and padding(model, src, tgt)


ALSO_RIGHT = {
    "first_loss_expected": {"more digits": 8.98719682},
    "superfluous_mask": {"a capital": "C"},
    "rule_behind_a_map": {"a capital": "Snlwrufoe"},
    "one_matrix_for_all": {"the module": modules, "another model": another_model},
    "parameter_count": {
        "a formula": ledger,
        "built and counted": built,
        "a float": lambda c: 1.0 * ledger(c),
    },
    "sound_model": {"changed tokens": both, "gradients": gradients},
}
