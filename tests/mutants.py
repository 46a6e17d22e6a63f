"""Do the unit tests notice a bug? Plant one at a time in a copy of the library, and see.

    python tests/mutants.py             all mutants
    python tests/mutants.py causal      those with "causal" in their name

Each mutant is a name, the old text (found exactly once in its module) and the new. It is killed
if a test of that module fails on it, and survives if they all pass: then a test is missing.
"""

import compileall
import contextlib
import gc
import importlib
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from multiprocessing.connection import wait
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIBRARY = HERE.parent / "transformer_lib"
AT_ONCE, TIME_LIMIT = 2, 240  # processes, seconds

# The test that killed each mutant the last time. If it does so again, the others need not run.
KILLERS = HERE / "mutants.json"

# Never the library itself. The three below torch are what it imports when a test first compares
# two tensors, runs a backward pass or asks for the device "meta".
USED_BY_TESTS = (
    "pytest",
    "hypothesis",
    "torch",
    "torch.distributed.tensor",
    "torch.fx.experimental.symbolic_shapes",
    "torch._dynamo",
    "tokenizers",
    "pooch",
    "sacremoses",
)

LAYER = "Layer(d_model, num_heads, d_ff, dropout, norm_first)"

MUTANTS = {
    "attention": [
        ("no √d_k", "1 / math.sqrt(query.size(-1))", "1.0"),
        ("d_k instead of √d_k", "1 / math.sqrt(query.size(-1))", "1 / query.size(-1)"),
        ("√T instead of √d_k", "math.sqrt(query.size(-1))", "math.sqrt(query.size(-2))"),
        ("scale ignored", "if scale is None:", "if True:"),
        (
            "softmax over the queries",
            "weights = scores.softmax(dim=-1)\n",
            "weights = scores.softmax(dim=-2)\n",
        ),
        (
            "softmax over the queries, with a mask",
            "scores.softmax(dim=-1).masked_fill",
            "scores.softmax(dim=-2).masked_fill",
        ),
        ("masked after the softmax only", "scores = scores.masked_fill(", "scores.masked_fill("),
        (
            "mask upside down",
            "scores = scores.masked_fill(~mask",
            "mask = ~mask\n        scores = scores.masked_fill(~mask",
        ),
        ("-inf as fill", "torch.finfo(scores.dtype).min", "-math.inf"),
        ("-1e9 as fill", "torch.finfo(scores.dtype).min", "-1e9"),
        ("-1e4 as fill", "torch.finfo(scores.dtype).min", "-1e4"),
        (
            "NaN in fully masked rows",
            "torch.finfo(scores.dtype).min)\n"
            "        weights = scores.softmax(dim=-1).masked_fill(~mask, 0.0)",
            "-math.inf)\n        weights = scores.softmax(dim=-1)",
        ),
        ("fully masked rows average", ".softmax(dim=-1).masked_fill(~mask, 0.0)", ".softmax(-1)"),
        ("weights returned after dropout", "dropped @ value, weights", "dropped @ value, dropped"),
        ("no dropout", "F.dropout(weights, dropout) if dropout > 0 else weights", "weights"),
        ("dropout before the softmax", "F.dropout(weights,", "F.dropout(scores,"),
        (
            "dropout without rescaling",
            "F.dropout(weights, dropout)",
            "weights * (torch.rand_like(weights) > dropout)",
        ),
        ("gradient stopped at the weights", "dropped @ value", "dropped.detach() @ value"),
        ("mask of any dtype", "if mask.dtype != torch.bool:", "if False:"),
        ("mask of any rank", "mask.dim() != len(shape) or not fits", "not fits"),
        (
            "mask of any size",
            "mask.dim() != len(shape) or not fits",
            "mask.dim() != len(shape)",
        ),
        ("mask not checked", "check_mask(mask, scores.shape)", "pass"),
        ("empty keys allowed", "query.size(-2) == 0 or key.size(-2) == 0", "query.size(-2) == 0"),
    ],
    "masks": [
        ("padding mask upside down", "tokens != pad_id", "tokens == pad_id"),
        ("pad_id ignored", "tokens != pad_id", "tokens != 0"),
        ("padding hides queries", "[:, None, None, :]", "[:, None, :, None]"),
        ("padding mask of any rank", "if tokens.dim() != 2:", "if tokens.dim() < 2:"),
        ("causal mask flipped", ".tril()", ".triu()"),
        ("causal mask hides the token itself", ".tril()", ".tril(-1)"),
        ("causal mask shows the next token", ".tril()", ".tril(1)"),
        ("causal mask of floats", "dtype=torch.bool", "dtype=torch.float32"),
        ("causal mask without the axis of heads", ".tril()[None, None]", ".tril()[None]"),
        ("causal mask on the default device", ", device=device)", ")"),
        ("causal mask of length 0", "if length < 1:", "if length < 0:"),
        (
            "import from the same floor",
            "import torch\n",
            "import torch\n\nimport transformer_lib.attention\n",
        ),
    ],
    "multi_head": [
        (
            "heads split without transpose",
            "x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)",
            "x.reshape(x.size(0), self.num_heads, x.size(1), -1)",
        ),
        (
            "heads merged without transpose",
            "x.transpose(1, 2).flatten(-2)",
            "x.reshape(x.size(0), x.size(2), -1)",
        ),
        (
            "heads interleaved",
            "x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)",
            "x.unflatten(-1, (-1, self.num_heads)).permute(0, 3, 1, 2)",
        ),
        ("query projected by the value matrix", "self.w_q(query)", "self.w_v(query)"),
        ("keys projected by the query matrix", "self.w_k(key)", "self.w_q(key)"),
        ("values made of the keys", "self.w_v(value)", "self.w_v(key)"),
        (
            "one matrix for queries and keys",
            "self.w_k = nn.Linear(d_model, d_model, bias=bias)",
            "self.w_k = self.w_q",
        ),
        ("no output projection", "self.w_o(self.merge_heads(heads))", "self.merge_heads(heads)"),
        (
            "√d_model instead of √d_k",
            "heads, weights = scaled_dot_product_attention(q, k, v, mask, dropout)",
            "heads, weights = scaled_dot_product_attention(\n"
            "                q, k, v, mask, dropout, query.size(-1) ** -0.5\n            )",
        ),
        ("dropout in eval mode", "self.dropout if self.training else 0.0", "self.dropout"),
        ("no dropout in training", "self.dropout if self.training else 0.0", "0.0"),
        ("fused: no dropout", "(q, k, v, dropout_p=dropout)", "(q, k, v)"),
        (
            "fused: mask ignored",
            "v[:, :, :end], allowed[..., :end]",
            "v[:, :, :end], None",
        ),
        (
            "fused: every mask causal",
            "allowed[..., :end]\n",
            "allowed[..., :end].tril()\n",
        ),
        ("fused: no dropout with a mask", "*first, dropout)", "*first)"),
        (
            "fused: mask not checked",
            "check_mask(mask, (batch, num_heads, length, k.size(2)))",
            "pass",
        ),
        ("fused: one column for all keys", "length, k.size(2))  #", "length, -1)  #"),
        (
            "fused: the first slice's mask",
            "allowed = mask[:, :, rows]",
            "allowed = mask[:, :, :256]",
        ),
        ("fused: the last key is lost", "int(used.max()) + 1", "max(int(used.max()), 1)"),
        ("fused: keys of the first sentence", ".flatten(0, 1).any(dim=0)", "[0, 0]"),
        ("fused: the last slice is lost", "range(0, length, 256)", "range(0, length - 255, 256)"),
        ("fused: more values than keys", "if k.size(2) != v.size(2):", "if False:"),
        ("not a batch of sequences", "if x.dim() != 3:", "if False:"),
        ("fused: too early", "self.fused_length**2", "self.fused_length"),
        ("fused: when weights are needed", "if need_weights or q.size(2)", "if q.size(2)"),
        (
            "weights averaged over heads",
            "return output, weights if need_weights",
            "return output, weights.mean(1) if need_weights",
        ),
        ("cache ignored", "if cache is None:", "if True:"),
        (
            "bias ignored",
            "self.w_o = nn.Linear(d_model, d_model, bias=bias)",
            "self.w_o = nn.Linear(d_model, d_model)",
        ),
        ("PyTorch's first weights", "nn.init.xavier_uniform_(projection.weight)", "pass"),
        ("PyTorch's first biases", "nn.init.zeros_(projection.bias)", "pass"),
        ("any number of heads", "num_heads < 1 or d_model % num_heads != 0", "num_heads < 1"),
    ],
    "embeddings": [
        (
            "embedding without √d_model",
            "super().forward(tokens) * self.scale",
            "super().forward(tokens)",
        ),
        (
            "d_model instead of √d_model",
            "self.scale = math.sqrt(d_model)",
            "self.scale = float(d_model)",
        ),
        ("embedding starts √d_model too large", "std=1 / self.scale", "std=1"),
        ("error shows the wrong ids", "{tokens.min().item()} to", "{tokens.max().item()} to"),
        (
            "wrong exponent",
            "torch.arange(0, d_model, 2, dtype=torch.float64)",
            "torch.arange(0, d_model // 2, dtype=torch.float64)",
        ),
        ("1000 instead of 10000", "10000**exponents", "1000**exponents"),
        ("positions start at 1", "torch.arange(length, dtype", "torch.arange(1, length + 1, dtype"),
        (
            "sines and cosines swapped",
            "[angles.sin(), angles.cos()]",
            "[angles.cos(), angles.sin()]",
        ),
        (
            "all sines before all cosines",
            "torch.stack([angles.sin(), angles.cos()], dim=-1)",
            "torch.cat([angles.sin(), angles.cos()], dim=-1)",
        ),
        (
            "position taken from the batch",
            "self.encoding[start:end]",
            "self.encoding[: x.size(0), None]",
        ),
        ("always from position 0", "self.encoding[start:end]", "self.encoding[: x.size(-2)]"),
        ("one position too few", "if end > self", "if end >= self"),
        ("start not counted against max_len", "if end > self", "if x.size(-2) > self"),
        ("start below 0", "if start < 0:", "if False:"),
        ("encoding saved", "persistent=False", "persistent=True"),
        ("encoding always float32", ".to(x.dtype))", ")"),
        (
            "dropout on the positions only",
            "self.dropout(x + self.encoding[start:end].to(x.dtype))",
            "x + self.dropout(self.encoding[start:end].to(x.dtype))",
        ),
        ("odd d_model", "if d_model % 2 != 0:", "if False:"),
    ],
    "feed_forward": [
        ("random numbers on the default device", ", device=x.device)", ")"),
        ("dropout: p upside down", "numbers >= int", "numbers < int"),
        ("dropout: not scaled up", ".div_(1 - self.p)", ""),
        ("dropout: scaled by p", ".div_(1 - self.p)", ".div_(self.p)"),
        ("dropout: half the bits", "draws.random_(-(2**63), None)", "draws.random_(0, 2**31)"),
        ("dropout: in eval mode", "if not self.training or", "if"),
        (
            "dropout: one draw for all four",
            "draws.view(torch.int16)[: x.numel()]",
            "draws.view(torch.int16)[::4].repeat_interleave(4)[: x.numel()]",
        ),
        ("dropout: p of 1 keeps something", "self.p in (0, 1) or", ""),
        ("dropout: overflow near 1", "int(self.p * 2**16)", "round(self.p * 2**16)"),
        ("no ReLU", "self.w_1(x).relu()", "self.w_1(x)"),
        ("GELU", "self.w_1(x).relu()", "nn.functional.gelu(self.w_1(x))"),
        (
            "dropout on the output",
            "self.w_2(self.dropout(self.w_1(x).relu()))",
            "self.dropout(self.w_2(self.w_1(x).relu()))",
        ),
        ("not position-wise", "self.w_1(x).relu()", "self.w_1(x - x.mean(1, keepdim=True)).relu()"),
        (
            "no residual, post-norm",
            "self.norm(x + self.dropout(sublayer(x)))",
            "self.norm(self.dropout(sublayer(x)))",
        ),
        (
            "no residual, pre-norm",
            "x + self.dropout(sublayer(self.norm(x)))",
            "self.dropout(sublayer(self.norm(x)))",
        ),
        (
            "norm before the sum",
            "self.norm(x + self.dropout(sublayer(x)))",
            "x + self.norm(self.dropout(sublayer(x)))",
        ),
        (
            "normalised twice",
            "return x + self.dropout(sublayer(self.norm(x)))",
            "return self.norm(x) + self.dropout(sublayer(self.norm(x)))",
        ),
        ("post- and pre-norm swapped", "if self.norm_first:", "if not self.norm_first:"),
        (
            "dropout on the sum",
            "self.norm(x + self.dropout(sublayer(x)))",
            "self.norm(self.dropout(x + sublayer(x)))",
        ),
        ("no dropout, pre-norm", "self.dropout(sublayer(self.norm(x)))", "sublayer(self.norm(x))"),
    ],
    "encoder": [
        (
            "one layer object N times",
            f"Encoder{LAYER} for _ in range(num_layers)",
            f"[Encoder{LAYER}] * num_layers",
        ),
        (
            "layers start identical",
            f"Encoder{LAYER} for _ in range(num_layers)",
            f"__import__('copy').deepcopy(x) for x in [Encoder{LAYER}] for _ in range(num_layers)",
        ),
        (
            "one norm for both sub-layers",
            "self.feed_forward_residual = ResidualConnection(d_model, dropout, norm_first)",
            "self.feed_forward_residual = self.self_attention_residual",
        ),
        (
            "mask not handed to attention",
            "self.self_attention(x, x, x, mask)",
            "self.self_attention(x, x, x)",
        ),
        ("mask not handed to the layers", "layer(x, mask)", "layer(x)"),
        ("layers not chained", "x = layer(x, mask)", "y = layer(x, mask)"),
        (
            "keys not normalised, pre-norm",
            "lambda x: self.self_attention(x, x, x, mask)",
            "lambda y: self.self_attention(y, x, x, mask)",
        ),
        (
            "final norm in post-norm",
            "nn.LayerNorm(d_model) if norm_first else nn.Identity()",
            "nn.LayerNorm(d_model)",
        ),
        (
            "no final norm in pre-norm",
            "nn.LayerNorm(d_model) if norm_first else nn.Identity()",
            "nn.Identity()",
        ),
        (
            "no dropout of weights",
            "MultiHeadAttention(d_model, num_heads, dropout)",
            "MultiHeadAttention(d_model, num_heads)",
        ),
        (
            "norm_first lost",
            "self.self_attention_residual = ResidualConnection(d_model, dropout, norm_first)",
            "self.self_attention_residual = ResidualConnection(d_model, dropout)",
        ),
        ("no feed-forward", "return self.feed_forward_residual(x, self.feed_forward)", "return x"),
    ],
    "decoder": [
        ("no target mask", "(x, x, x, tgt_mask, ", "(x, x, x, None, "),
        (
            "evaluation without target mask",
            "(x, x, x, tgt_mask, ",
            "(x, x, x, tgt_mask if self.training else None, ",
        ),
        ("no memory mask", "memory, memory, memory_mask, ", "memory, memory, None, "),
        (
            "cross-attention looks at the target",
            "self.cross_attention(x, memory, memory, memory_mask",
            "self.cross_attention(x, x, x, None",
        ),
        (
            "cross-attention asks with the memory's mean",
            "self.cross_attention(x, memory, memory,",
            "self.cross_attention(x * 0 + memory.mean(1, keepdim=True), memory, memory,",
        ),
        (
            "one attention for both",
            "self.cross_attention = MultiHeadAttention(d_model, num_heads, dropout)",
            "self.cross_attention = self.self_attention",
        ),
        (
            "one norm for two sub-layers",
            "self.cross_attention_residual = ResidualConnection(d_model, dropout, norm_first)",
            "self.cross_attention_residual = self.self_attention_residual",
        ),
        (
            "no residual dropout",
            "self.feed_forward_residual = ResidualConnection(d_model, dropout, norm_first)",
            "self.feed_forward_residual = ResidualConnection(d_model, 0.0, norm_first)",
        ),
        ("caches swapped", "self_cache, cross_cache = ", "cross_cache, self_cache = "),
        (
            "caches not handed on",
            "layer(x, memory, tgt_mask, memory_mask, cache)",
            "layer(x, memory, tgt_mask, memory_mask)",
        ),
        ("cross-attention without cache", "cache=cross_cache", "cache=None"),
        (
            "every layer takes the first cache",
            "tgt_mask, memory_mask, cache)\n        return self.norm",
            "tgt_mask, memory_mask, caches and caches[0])\n        return self.norm",
        ),
        (
            "one layer object N times",
            f"Decoder{LAYER} for _ in range(num_layers)",
            f"[Decoder{LAYER}] * num_layers",
        ),
        (
            "final norm in post-norm",
            "nn.LayerNorm(d_model) if norm_first else nn.Identity()",
            "nn.LayerNorm(d_model)",
        ),
        (
            "no final norm in pre-norm",
            "nn.LayerNorm(d_model) if norm_first else nn.Identity()",
            "nn.Identity()",
        ),
    ],
    "transformer": [
        ("no causal mask", " & causal_mask(tgt.size(1), tgt.device)", ""),
        (
            "evaluation without causal mask",
            "if tgt_mask is None:",
            "if tgt_mask is None and self.training:",
        ),
        ("target's padding seen", "padding_mask(tgt, self.config.pad_id) & causal", "causal"),
        ("source's padding seen by the encoder", "self.encoder(x, src_mask)", "self.encoder(x)"),
        ("source's padding seen by the decoder", "memory, memory_mask=src_mask", "memory"),
        (
            "pad_id ignored in the target",
            "padding_mask(tgt, self.config.pad_id)",
            "padding_mask(tgt, 0)",
        ),
        ("masks that are given ignored", "if tgt_mask is None:", "if True:"),
        ("always from position 0", "self.tgt_embedding(tgt), start)", "self.tgt_embedding(tgt))"),
        (
            "no positions in the target",
            "self.positional_encoding(self.tgt_embedding(tgt), start)",
            "self.tgt_embedding(tgt)",
        ),
        (
            "no positions in the source",
            "self.positional_encoding(self.src_embedding(src))",
            "self.src_embedding(src)",
        ),
        (
            "target looked up in the source's table",
            "self.tgt_embedding(tgt), start",
            "self.src_embedding(tgt), start",
        ),
        ("caches not handed on", "tgt_mask, memory_mask, caches)", "tgt_mask, memory_mask)"),
        (
            "tying by copy",
            "self.output.weight = self.tgt_embedding.weight",
            "self.output.weight.data.copy_(self.tgt_embedding.weight.data)",
        ),
        (
            "target and output not tied",
            "if config.share_embeddings:",
            "if config.share_embeddings is True:",
        ),
        (
            "source always tied",
            "if config.share_embeddings is True:",
            "if config.share_embeddings:",
        ),
        ("output starts too large", "std=1 / config.d_model", "std=1"),
        (
            "tied matrix starts at the wrong scale",
            "self.output.weight = self.tgt_embedding.weight",
            "self.output.weight = nn.init.normal_(self.tgt_embedding.weight)",
        ),
        ("output has a bias", "bias=False", "bias=True"),
        (
            "softmax before the loss",
            "memory_mask=src_mask))  # (B, T, V)",
            "memory_mask=src_mask)).softmax(-1)",
        ),
        (
            "as many decoder as encoder layers",
            "Decoder(config.num_decoder_layers",
            "Decoder(config.num_encoder_layers",
        ),
        (
            "max_len ignored",
            "config.d_model, config.max_len, config.dropout",
            "config.d_model, 5000, config.dropout",
        ),
        (
            "dropout ignored",
            "config.d_ff, config.dropout, config.norm_first)",
            "config.d_ff, 0.0, config.norm_first)",
        ),
        (
            "d_model may be odd",
            "self.d_model % self.num_heads or self.d_model % 2",
            "self.d_model % self.num_heads",
        ),
        ("two vocabularies tied", "if self.share_embeddings is True and self", "if False and self"),
        ("dropout of 1", "0 <= self.dropout < 1", "0 <= self.dropout <= 1"),
        ("config can change", "frozen=True", "frozen=False"),
    ],
    "text": [
        ("capitals read as they are", ".lower()\n\n\ndef restore", "\n\n\ndef restore"),
        ("letters typed as two characters", 'unicodedata.normalize("NFC", text)', "text"),
        ("punctuation not normalised", ".tokenize(normal)", ".tokenize(text)"),
        ("English cut as German", '("MosesTokenizer", language)', '("MosesTokenizer", "de")'),
        ("casing ignored", "casing.get(token, token)", "token"),
        ("neighbours ignored", 'casing.get(f"{before} {token}") or ', ""),
        ("no capital at the start", "if starts else word)", "if False else word)"),
        ("the rest of the first word in lower case", "word[0].upper() + word[1:]", "word.title()"),
        ("only the line has a start", 'or token in ".!?")', ")"),
        ("quotes count as the first word", "token[0].isalnum()", "True"),
        ("learned from the start of sentences, too", "if not starts:", "if True:"),
        ("the rarest form", "(-c[form], form)", "(c[form], form)"),
        ("ties are random", "(-c[form], form)", "-c[form]"),
        ("lower case kept, too", "if usual[key] != casing.get(word, word):", "if True:"),
        ("pairs before words", '(" " in key, key)', '(" " not in key, key)'),
        ("a table of anything", "if not isinstance(casing, dict):", "if False:"),
        ("a table of any words", " or form.lower() != words[-1]", ""),
        ("a table of phrases", "not 1 <= len(words) <= 2 or ", ""),
    ],
    "checkpoint": [
        (
            "any casing saved",
            "    if casing is not None:\n        check_casing",
            "    if False:\n        check_casing",
        ),
        (
            "any casing loaded",
            "if casing is not None:\n            check_casing",
            "if False:\n            check_casing",
        ),
        ("casing lost", 'casing = description.get("casing")', "casing = None"),
        ("casing needed", 'description.get("casing")', 'description["casing"]'),
        ("a name is only a folder", "isinstance(folder, str) and folder in names", "False"),
        (
            "a path is a name, too",
            "isinstance(folder, str) and folder in names",
            "str(folder) in names",
        ),
        ("no hint at the models there are", ": {', '.join(names)}", ""),
        ("written in place", 'part = path.with_name(path.name + ".part")', "part = path"),
        (
            "tied weights saved twice",
            "first_names.setdefault(id(tensor), ",
            "first_names.setdefault(name, ",
        ),
        ("a shared vocabulary saved twice", "None if shared else", "None if False else"),
        (
            "the checksum not compared",
            "if hashlib.sha256(data).hexdigest() != sha256:",
            "if False:",
        ),
        ("built before it is counted", "if needed != held:", "if False:"),
        ("names not compared", "        if names:\n", "        if False:\n"),
        ("shapes not compared", "tuple(t.shape), t.dtype) for", "0, t.dtype) for"),
        ("dtypes not compared", "tuple(t.shape), t.dtype) for", "tuple(t.shape), 0) for"),
        ("types in the config not compared", "if type(value) not in kinds:", "if False:"),
        ("any number of positions", "if config.max_len > MOST_POSITIONS:", "if False:"),
        ("any size of JSON", "if path.stat().st_size > MOST_JSON_BYTES:", "if False:"),
        ("any version", 'if str(header.get("version")) != str(VERSION):', "if False:"),
        ("loaded in training mode", ".to(dtype).eval()", ".to(dtype)"),
        ("loading draws random numbers", "with torch.random.fork_rng(devices=[]):", "if True:"),
        ("the first epochs' weights kept", "if not epoch - keep < int", "if epoch - keep < int"),
        (
            "any optimizer's state",
            'if set(state) != {"step", "exp_avg", "exp_avg_sq"} or wrong:',
            "if False:",
        ),
        ("the optimizer starts afresh", "optimizer.state[parameter] = {", "_ = {"),
        ("any training's state", "if saved != config:", "if False:"),
        ("any file is a state", "if not isinstance(saved, dict):", "if False:"),
        (
            "frozen weights stop it",
            "if not state and not parameter.requires_grad:",
            "if False:",
        ),
        (
            "the older training's weights kept",
            'if not epoch - keep < int(path.stem.removeprefix("epoch-")) <= epoch:',
            'if not epoch - keep < int(path.stem.removeprefix("epoch-")):',
        ),
        ("any card", "if card is not None and not isinstance(card, dict):", "if False:"),
        (
            "what cannot be loaded is saved",
            "    _read_config(Path(folder, JSON_FILE), asdict(model.config))\n",
            "",
        ),
        ("vocabularies of any size", "if len(vocabulary) != size:", "if False:"),
    ],
    "training": [
        ("no cool-down", "rate *= min(1.0, to_go / config.cooldown)", "pass"),
        (
            "the cool-down starts anew in each epoch",
            "to_go = config.epochs - epoch - start / len(todo)",
            "to_go = config.epochs - epoch",
        ),
        (
            "the end moves during a cool-down",
            'free += [] if config.cooldown else ["epochs"]',
            'free += ["epochs"]',
        ),
        ("the first slice only", "return sum(\n", "return next(\n"),
        ("no warm-up", "min(step**-0.5, step * warmup**-1.5)", "step**-0.5"),
        ("the rate rises for ever", "min(step**-0.5, step * warmup**-1.5)", "step * warmup**-1.5"),
        ("the schedule without d_model", "factor * d_model**-0.5 *", "factor *"),
        (
            "steps count from 0",
            'step = todo[start : start + config.accumulate], state["step"] + 1',
            'step = todo[start : start + config.accumulate], state["step"] + 2',
        ),
        ("step 0 allowed", "if step < 1 or warmup < 1:", "if step < 0 or warmup < 1:"),
        ("padding counts in the loss", "        ignore_index=pad_id,\n", ""),
        ("no label smoothing", "        label_smoothing=smoothing,\n", ""),
        (
            "softmax before the cross-entropy",
            "logits.flatten(0, -2),",
            "logits.flatten(0, -2).softmax(-1),",
        ),
        (
            "target not shifted",
            "inputs, labels = tgt[:, :-1], tgt[:, 1:]",
            "inputs, labels = tgt[:, :-1], tgt[:, :-1]",
        ),
        ("source padding seen", "memory, memory_mask=src_mask)", "memory)"),
        (
            "output layer on padding, too",
            "hidden[real].split(512), labels[real].split(512)",
            "hidden.flatten(0, 1).split(512), labels.flatten().split(512)",
        ),
        (
            "validation with dropout",
            "TokenLoss(model, smoothing).eval()",
            "TokenLoss(model, smoothing)",
        ),
        ("validation switches the mode", "    model.train(training)\n", ""),
        (
            "validation loss per position",
            "tokens += int((tgt[:, 1:] != model.config.pad_id).sum())",
            "tokens += tgt[:, 1:].numel()",
        ),
        (
            "validation in training mode",
            "                model.eval()\n                with",
            "                with",
        ),
        ("always bfloat16", '"bfloat16" if fast else "medium"', '"bfloat16"'),
        ("never bfloat16", '"bfloat16" if fast else "medium"', '"medium"'),
        (
            "precision not restored",
            "    finally:\n        torch.set_float32_matmul_precision(before)",
            "    finally:\n        pass",
        ),
        ("float32 not exact", 'is None or precision == "float32":', "is None:"),
        (
            "no autocast",
            'torch.bfloat16, enabled=precision == "bfloat16"',
            "torch.bfloat16, enabled=False",
        ),
        (
            "mean of means",
            "share = loss(src, tgt) / tokens",
            "share = loss(src, tgt) / int((tgt[:, 1:] != pad_id).sum()) / len(batches)",
        ),
        (
            "tokens of the last batch only",
            "for _, tgt in batches)  # of",
            "for _, tgt in batches[-1:])  # of",
        ),
        (
            "padding counts as tokens",
            "tokens = sum(int((tgt[:, 1:] != pad_id).sum())",
            "tokens = sum(int((tgt[:, 1:] != -1).sum())",
        ),
        (
            "start tokens count",
            "tokens = sum(int((tgt[:, 1:] != pad_id).sum())",
            "tokens = sum(int((tgt != pad_id).sum())",
        ),
        (
            "every process takes the whole batch",
            "src[rank::world].to(device), tgt[rank::world].to(device)",
            "src.to(device), tgt.to(device)",
        ),
        ("gradients averaged over processes", "(share * world).backward()", "share.backward()"),
        (
            "each process its own loss",
            "    if world > 1:\n        distributed.all_reduce(total)\n",
            "",
        ),
        (
            "gradients not shared",
            "loss = DistributedDataParallel(loss, broadcast_buffers=False)",
            "pass",
        ),
        (
            "every process saves",
            "    if rank > 0:\n        latest = None",
            "    if False:\n        latest = None",
        ),
        (
            "the same dropout in every process",
            "hash((config.seed, step, rank))",
            "hash((config.seed, step))",
        ),
        (
            "dropout draws on from anywhere",
            "                torch.manual_seed(hash((config.seed, step, rank)))",
            "                ",
        ),
        (
            "the same dropout at each step",
            "hash((config.seed, step, rank))",
            "hash((config.seed, rank))",
        ),
        (
            "the caller's random numbers changed",
            "with torch.random.fork_rng(gpus), arithmetic",
            "with arithmetic",
        ),
        ("PyTorch's β", "betas=(0.9, 0.98)", "betas=(0.9, 0.999)"),
        ("PyTorch's ε", "eps=1e-9", "eps=1e-4"),
        (
            "no clipping",
            "nn.utils.clip_grad_norm_(model.parameters(), config.clip)",
            "nn.utils.clip_grad_norm_(model.parameters(), 1e9)",
        ),
        ("gradients pile up", "                adam.zero_grad()\n", ""),
        ("stays in eval mode", "                model.train()\n", ""),
        ("left in training mode", "    model.eval()\n    return", "    return"),
        ("NaN trains on", "if not math.isfinite(mean) or not math.isfinite(norm):", "if False:"),
        (
            "an infinite gradient trains on",
            "if not math.isfinite(mean) or not math.isfinite(norm):",
            "if not math.isfinite(mean):",
        ),
        (
            "resumes at the epoch's start",
            'starts = range(state["position"], len',
            "starts = range(0, len",
        ),
        (
            "skips an epoch's start after resuming",
            '"epoch": epoch + 1, "position": 0}',
            '"epoch": epoch + 1}',
        ),
        (
            "resumes in the first epoch",
            'for epoch in range(state["epoch"], config.epochs)',
            "for epoch in range(config.epochs)",
        ),
        ("never resumes", "if latest and latest.exists():", "if False:"),
        ("goes on with another model", "    kind |= asdict(model.config)\n", ""),
        ("goes on with another corpus", "fingerprint(batches(0))", "None"),
        (
            "figures left as tensors",
            "{name: float(value) for name, value in figures.items()}",
            "figures",
        ),
        ("newer switches changed", "if before is None or", "if"),
        (
            "saves at the end of an epoch only",
            "if latest and step % config.save_every == 0:",
            "if False:",
        ),
        ("settings may change", 'free = ["save_every"', 'free = ["seed", "save_every"'),
        (
            "epochs may not change",
            'if config.cooldown else ["epochs"]',
            "if config.cooldown else []",
        ),
        (
            "the last weights instead of the mean",
            "mean.get(name, 0.0) + tensor.double() / len(paths)",
            "tensor.double()",
        ),
        ("the sum instead of the mean", "tensor.double() / len(paths)", "tensor.double()"),
        ("the bar always shown", "disable=not progress or rank > 0", "disable=False"),
    ],
    "attention_maps": [
        (
            "compiled models let in",
            'if any(hasattr(m, "_orig_mod")',
            'if False and any(hasattr(m, "_orig_mod")',
        ),
        ("models compiled in place let in", "or m._compiled_call_impl is not None", ""),
        ("models without attention let in", "if not found:", "if False:"),
        ("weights not asked for", '{**kwargs, "need_weights": True}', "kwargs"),
        ("need_weights by position ignored", "if len(args) > 4:", "if False:"),
        ("the caller gets weights, too", "output if asked.pop() else (output[0], None)", "output"),
        (
            "the caller never gets weights",
            "output if asked.pop() else (output[0], None)",
            "(output[0], None)",
        ),
        ("maps with gradients", "output[1].detach()", "output[1]"),
        ("the outer recording first", ", prepend=True", ""),
        (
            "hooks left behind",
            "            hook.remove()\n    if not maps:",
            "            pass\n    if not maps:",
        ),
        (
            "hooks left behind after an exception",
            "        yield maps\n    finally:\n",
            "        yield maps\n    except ZeroDivisionError:\n        pass\n    else:\n",
        ),
        (
            "deep copies record, too",
            "        if this is not module:\n            return None\n        keep",
            "        keep",
        ),
        ("nothing recorded, nothing said", "if not maps:", "if False:"),
        (
            "self-attention among cross-attention",
            'endswith("cross_attention")',
            'endswith("attention")',
        ),
        ("layers behind heads", "dim=-4)", "dim=-3)"),
        (
            "aligned at the wrong row",
            "weights[1:] if at_input else weights[:-1]",
            "weights[:-1] if at_input else weights[1:]",
        ),
        (
            "always aligned at the output",
            "weights[1:] if at_input else weights[:-1]",
            "weights[:-1]",
        ),
        ("the end token is a word", "rows[:, :-1].argmax(dim=1)", "rows.argmax(dim=1)"),
        ("each source word is aligned", "rows[:, :-1].argmax(dim=1)", "rows[:, :-1].argmax(dim=0)"),
        ("links turned round", "{(i, j) for j, i in", "{(j, i) for j, i in"),
        ("no words", "or min(weights.shape) < 2:", "or min(weights.shape) < 1:"),
        ("possible links do not count", "len(a & (p | s))", "len(a & s)"),
        ("sure links are not possible", "len(a & (p | s))", "len(a & p)"),
        ("precision only", "total += len(a) + len(s)", "total += 2 * len(a)"),
        ("recall only", "total += len(a) + len(s)", "total += 2 * len(s)"),
        ("the rate of what is right", "return 1 - right / total", "return right / total"),
        (
            "another number of sentences",
            "if not len(predicted) == len(sure) == len(possible):",
            "if False:",
        ),
        ("no links", "if total == 0:", "if False:"),
        ("rollout without residual", "(weights.mean(dim=-3) + same) / 2", "weights.mean(dim=-3)"),
        (
            "rollout sums instead of mean",
            "weights.mean(dim=-3) + same",
            "weights.sum(dim=-3) + same",
        ),
        ("rollout upside down", "mixed @ rolled", "rolled @ mixed"),
        ("rollout of any shape", "weights.dim() < 3 or ", ""),
        ("rollout of cross-attention", " or weights.size(-1) != weights.size(-2)", ""),
        (
            "rollout of no layer",
            'if not layers:\n        raise ValueError("rollout',
            'if False:\n        raise ValueError("rollout',
        ),
        (
            "the next head silent",
            "x[:, :, heads] = 0.0",
            "x[:, :, [(h + 1) % module.num_heads for h in heads]] = 0.0",
        ),
        ("every head silent", "x[:, :, heads] = 0.0", "x[:] = 0.0"),
        (
            "silent heads written into saved outputs",
            "(module.num_heads, -1)).clone()",
            "(module.num_heads, -1))",
        ),
        ("deep copies silent, too", "if this is not module.w_o:", "if False:"),
        ("any head", "not 0 <= head < count", "False"),
        ("negative heads", "not 0 <= head < count", "not head < count"),
        ("any name", "if name not in modules:", "if False:"),
        ("silenced but not run", "if missing := heads.keys() - ran:", "if False:"),
        (
            "all heads at once",
            "mask_heads(model, {name: [head]})",
            "mask_heads(model, {name: range(module.num_heads)})",
        ),
        ("importance upside down", "whole - measure()", "measure() - whole"),
    ],
    "decoding": [
        ("a full cache forgets", "if self.length > self.max_len:", "if False:"),
        ("text always cut", "self.casing is not None and not tokenised", "not tokenised"),
        (
            "tokenised ignored",
            "self.casing is not None and not tokenised",
            "self.casing is not None",
        ),
        ("ordinary text not cut", 'texts = [tokenise(text, "en") for text in texts]', "pass"),
        ("casing not restored", "restore(text, self.casing) if ordinary else text", "text"),
        ("no text", "if not isinstance(one, str):", "if False:"),
        (
            "the newest key is not seen",
            "k, v = self.buffer[:, :, :, : self.length]",
            "k, v = self.buffer[:, :, :, : max(start, 1)]",
        ),
        (
            "keys written where values belong",
            "self.buffer[1, :, :, start : self.length] = v",
            "self.buffer[1, :, :, start : self.length] = k",
        ),
        (
            "the whole buffer is seen",
            "k, v = self.buffer[:, :, :, : self.length]",
            "k, v = self.buffer.nan_to_num()",
        ),
        (
            "hypotheses keep each other's keys",
            "so_far = self.buffer[:, rows, :, : self.length]",
            "so_far = self.buffer[:, rows.sort().values, :, : self.length]",
        ),
        ("memory read in each step", "if self.computed is None:", "if True:"),
        (
            "memory's keys are values",
            "self.computed = k.contiguous()",
            "self.computed = v.contiguous()",
        ),
        ("self-attention not selected", "            self_cache.select(rows)\n", ""),
        (
            "memory not selected",
            "                cross_cache.select(rows)\n",
            "                pass\n",
        ),
        (
            "mask of the source not selected",
            "self.memory[rows], self.memory_mask[rows]",
            "self.memory[rows], self.memory_mask[: len(self.memory[rows])]",
        ),
        ("positions stand still", "self.length += 1", "self.length += self.length == 0"),
        ("every token at position 0", "start=self.length", "start=0"),
        ("padding of the source is read", "memory_mask=self.memory_mask,", "memory_mask=None,"),
        (
            "source without its mask",
            "model.encode(src, self.memory_mask)",
            "model.encode(src, self.memory_mask | True)",
        ),
        ("NaN is no error", "if hidden.isnan().any():", "if False:"),
        ("dropout stays on", "        model.eval()\n", ""),
        ("eval mode for ever", "module.training = training", "pass"),
        (
            "train mode for every module",
            "modes = [(module, module.training)",
            "modes = [(module, model.training)",
        ),
        (
            "modes not restored after an error",
            "    finally:\n        for module, training in modes:\n            module.training",
            "    except ZeroDivisionError:\n        pass\n    else:\n"
            "        for module, training in modes:\n            module.training",
        ),
        (
            "padding counts as length",
            "(src != model.config.pad_id).sum(dim=1)",
            "(src != -1).sum(dim=1)",
        ),
        ("no more words than in the source", "lengths + 50 if", "lengths if"),
        ("beyond the model's positions", "limits.clamp(max=model.config.max_len)", "limits"),
        ("an empty sentence is no error", "if not lengths.all():", "if False:"),
        (
            "greedy generates padding",
            "            logits[:, pad_id] = -torch.inf\n",
            "",
        ),
        ("the least likely word", "logits.topk(1)", "(-logits).topk(1)"),
        ("ties broken otherwise", "logits.topk(1).indices[:, 0]", "logits.argmax(dim=1)"),
        (
            "finished sentences go on",
            "going_on = (newest != end_id) &",
            "going_on = (newest != -1) &",
        ),
        (
            "finished sentences cost until all are",
            "if not going_on.all():",
            "if not going_on.any():",
        ),
        (
            "one word too many",
            "(decoder.length < limits[sentences])",
            "(decoder.length <= limits[sentences])",
        ),
        (
            "one limit for all",
            "(decoder.length < limits[sentences])",
            "(decoder.length < limits.max())",
        ),
        (
            "rows kept, their caches mixed up",
            "decoder.select(going_on)",
            "decoder.select(torch.arange(len(sentences)))",
        ),
        ("a penalty without its 5", "return ((5 + length)", "return ((length)"),
        ("a penalty without alpha", "/ 6) ** alpha", "/ 6)"),
        (
            "the start token counts",
            "length_penalty(length, alpha)",
            "length_penalty(length + 1, alpha)",
        ),
        ("no penalty", "score = log_p / length_penalty(length, alpha)", "score = log_p"),
        (
            "scores multiplied by the penalty",
            "score = log_p / length_penalty(length, alpha)",
            "score = log_p * length_penalty(length, alpha)",
        ),
        ("logits for probabilities", "logits.log_softmax(dim=-1).unflatten", "logits.unflatten"),
        ("beam search generates padding", "            words[:, :, pad_id] = -torch.inf\n", ""),
        (
            "only the last word counts",
            "(log_p[:, :, None] + words)",
            "(0 * log_p[:, :, None].clamp(min=-1) + words)",
        ),
        (
            "words and parents swapped",
            "best // words.size(2), best % words.size(2)",
            "best % log_p.size(1), best // log_p.size(1)",
        ),
        (
            "everybody has the first parent",
            "hypotheses[rows, parents]",
            "hypotheses[rows, 0 * parents]",
        ),
        ("the ended ones go on", "log_p = log_p.masked_fill(ended, -torch.inf)", "log_p = log_p"),
        (
            "the first that ends wins",
            "new = record > scores[sentences]",
            "new = (record > scores[sentences]) & scores[sentences].isneginf()",
        ),
        ("the last that ends wins", "new = record > scores[sentences]", "new = ~record.isneginf()"),
        ("the unended count as ended", "score.masked_fill(~ended, -torch.inf)", "score"),
        ("the unended are lost", "none = torch", "none = False & torch"),
        (
            "the unended beat the ended",
            "torch.where((none & (length == limit))[:, None], score, ended_score)",
            "torch.where((length == limit)[:, None], score, ended_score)",
        ),
        (
            "stops as soon as one has ended",
            "(hope > scores[sentences])",
            "scores[sentences].isneginf()",
        ),
        (
            "hopes for no longer sentence",
            "log_p.amax(dim=1) / length_penalty(limit, alpha)",
            "log_p.amax(dim=1) / length_penalty(length, alpha)",
        ),
        ("never stops early", "(hope > scores[sentences])", "(hope > -torch.inf)"),
        (
            "caches not reordered",
            "(rows * words.size(1) + parents)[going_on]",
            "(rows * words.size(1) + 0 * parents)[going_on]",
        ),
        (
            "caches of another sentence",
            "(rows * words.size(1) + parents)[going_on]",
            "(rows * beam + parents).clamp(max=len(logits) - 1)[going_on]",
        ),
        (
            "sources never reordered",
            "same_sources=going_on.all()",
            "same_sources=True or going_on.all()",
        ),
        (
            "sources always copied",
            "same_sources=going_on.all()",
            "same_sources=False and going_on.all()",
        ),
        (
            "texts come back sorted",
            "results[number] = self.write(texts[number]",
            "results[first] = self.write(texts[number]",
        ),
        ("texts not sorted", "key=lambda number: len(sources[number])", "key=lambda number: 0"),
        ("an empty text is translated", "if len(sources[number]) > 1]", "if True]"),
        (
            "no end token to the source",
            "[*self.src_vocabulary.encode(text), END]",
            "[*self.src_vocabulary.encode(text)]",
        ),
        ("too long a text is cut", "if len(ids) > longest:", "if False:"),
        (
            "alpha and max_len lost",
            "beam_search(self.model, src, beam, alpha, max_len)",
            "beam_search(self.model, src, beam)",
        ),
        ("attention one step late", "torch.cat([start, tgt[:, :-1]], dim=1)", "tgt"),
        ("maps with padding", "weights[:, : len(queries), : len(keys)].clone()", "weights.clone()"),
        ("encoder maps cut like the decoder's", 'name.startswith("encoder")', "False"),
        ("every map reads the source", 'name.startswith("decoder") and "self" in name', "False"),
    ],
    "parity": [
        (
            "keys and values swapped",
            "(ours.w_q, ours.w_k, ours.w_v)",
            "(ours.w_q, ours.w_v, ours.w_k)",
        ),
        ("biases not copied", "if theirs.in_proj_bias is not None:", "if False:"),
        ("any number of heads", "if theirs.num_heads != ours.num_heads:", "if False:"),
        (
            "the decoder's norms swapped",
            "copy_weights(theirs.norm2, ours.cross_attention_residual.norm)",
            "copy_weights(theirs.norm3, ours.cross_attention_residual.norm)",
        ),
        ("final norm not copied", "if theirs.norm is not None:", "if False:"),
        ("encoder not copied", "copy_weights(theirs.encoder, ours.encoder)", "pass"),
        ("difference with a sign", "(ours - theirs).abs().max()", "(ours - theirs).max()"),
        ("difference of gradients with a sign", "(a.grad - b).abs()", "(a.grad - b)"),
        ("weights taken for gradients", "weight.data = original.grad", "pass"),
        (
            "gradients replace the weights",
            "carrier, expected = copy.deepcopy(theirs)",
            "carrier, expected = theirs",
        ),
        ("smallest difference", "(ours - theirs).abs().max()", "(ours - theirs).abs().min()"),
        ("NaN is no difference", "(ours - theirs).abs()", "(ours - theirs).nan_to_num().abs()"),
        ("shapes may differ", "if ours.shape != theirs.shape:", "if False:"),
    ],
    "__init__": [
        (
            "import fixes the random numbers",
            "\n__all__",
            "import torch\n\ntorch.manual_seed(0)\n\n__all__",
        ),
        ("import loads matplotlib", "\n__all__", "import matplotlib\n\n__all__"),
        (
            "a public name is missing",
            "from transformer_lib.masks import causal_mask, padding_mask",
            "from transformer_lib.masks import padding_mask",
        ),
    ],
    "data": [
        ("decoding runs on after the end", "                break\n", "                continue\n"),
        ("pairs too long for the model", "if max_len is not None and max(", "if False and max("),
        ("shapes left out of the fingerprint", "{tuple(tensor.shape)} ", ""),
        ("capitals are never known", "if lower else core[0]", "if False else core[0]"),
        (
            "BPE joins words and punctuation",
            r"]\w+)*|{SPACE}?[^",
            r"]\w+)*[^\w{SPACE}]*|{SPACE}?[^",
        ),
        (
            "the source has no end",
            "[*src_vocabulary.encode(pair.src), END]",
            "[*src_vocabulary.encode(pair.src)]",
        ),
        ("the target has no start", "[START, *tgt_vocabulary", "[*tgt_vocabulary"),
        ("the budget counts the target only", "longest = max(src, tgt)", "longest = tgt"),
        ("no up and down in turn", " * (-1) ** longest", ""),
        ("a batch one pair too large", "(i + 1 - self._cuts[-1])", "(i - self._cuts[-1])"),
        ("the last pair is lost", "*self._cuts[1:], None]", "*self._cuts[1:], -1]"),
        ("batches not shuffled", "        chunks.sort(key=lambda chunk: draw())\n", ""),
        ("pairs not shuffled", "(_by_length(row), draw())", "_by_length(row)"),
        ("each epoch alike", 'f"{self.seed} {epoch}"', 'f"{self.seed}"'),
        ("seed plus epoch", 'f"{self.seed} {epoch}"', 'f"{self.seed + epoch}"'),
        ("sure links are not possible", "self.possible | self.sure", "self.possible"),
        ("a link one word beyond the end", "j >= sizes[1]", "j > sizes[1]"),
        ("no SHA-256 in a folder", "if found != sha256:", "if False:"),
        ("no SHA-256 in the cache", "retrieve(url, sha256,", "retrieve(url, None,"),
    ],
}

# A module's own tests come first; where they cannot see the bug, those of its users follow.
TESTS = {
    "masks": ["test_masks.py", "test_floors.py"],
    "parity": ["test_parity.py", "test_multi_head.py", "test_encoder.py", "test_decoder.py"],
    "__init__": ["test_floors.py"],
}


def tests_of(module):
    """List the files of tests that must notice a bug in a module."""
    return TESTS.get(module, [f"test_{module}.py"])


def name_of(nodeid):
    """Cut the folder off what pytest calls a test; parameters may have slashes, too."""
    file, colons, test = nodeid.partition("::")
    return Path(file).name + colons + test


class Watch:
    """A pytest plugin that notes what failed: a test, or something that is not a test.

    Args:
        tests: the names of those to run; all when None.
        seconds: how long each test takes, as far as known. The quickest come first, since most
            mutants die of many tests.
    """

    def __init__(self, tests, seconds):
        self.failed, self.broken, self.passed = [], [], 0
        self.tests, self.seconds = tests, seconds

    def pytest_collection_modifyitems(self, items):
        if self.tests is not None:
            items[:] = [item for item in items if name_of(item.nodeid) in self.tests]
        items.sort(key=lambda item: self.seconds.get(item.nodeid, 0))

    def pytest_collectreport(self, report):
        if report.failed:
            self.broken.append(str(report.longrepr))

    def pytest_runtest_logreport(self, report):
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = crash.message if crash else str(report.longrepr)
            # A mutant that Python cannot read was never tested.
            misspelt = message.startswith(("NameError", "SyntaxError", "ImportError"))
            broken = report.when != "call" or misspelt
            name = name_of(report.nodeid)
            if broken:
                self.broken.append(f"{name}: {message}")
            else:
                self.failed.append(name)
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration
        self.passed += report.passed and report.when == "call"


def run_tests(folder, files, tests, seconds):
    """Run tests on the library in `folder`, in this process; write there what happened."""
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = str(folder)  # for the processes that tests start
    with open(folder / "log.txt", "w", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        import pytest

        watch = Watch(tests, seconds)
        options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
        # That an assertion fails is enough: explaining how two long lists differ can take minutes,
        # and finding the lines of a traceback longer than most tests.
        options += ["--assert=plain", "--tb=line"]
        options += ["-o", f"faulthandler_timeout={TIME_LIMIT // 2}"]  # the log says where it hangs
        options.append(f"--basetemp={folder / 'tmp'}")  # shared with no other process
        code = pytest.main([*options, *(str(HERE / file) for file in files)], plugins=[watch])
        tested = getattr(sys.modules.get("transformer_lib"), "__file__", "nothing")
        if Path(tested).parent != folder / "transformer_lib":
            watch.broken.append(f"tested {tested}, which is not the copy")
        expected = [pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED]
        expected += [pytest.ExitCode.NO_TESTS_COLLECTED] if tests else []  # a test has a new name
        if code not in expected:
            watch.broken.append(f"pytest ended with {code!r}")
    (folder / "result.json").write_text(json.dumps(vars(watch)), encoding="utf-8")


def copy_with(folder, module=None, old="", new=""):
    """Copy the library into `folder`, with one text replaced; return an error or None."""
    copy = folder / "transformer_lib"
    shutil.copytree(LIBRARY, copy, ignore=shutil.ignore_patterns(f"{module}.*.pyc"))
    if module is None:
        return None
    path = copy / f"{module}.py"
    source = path.read_text(encoding="utf-8")
    if source.count(old) != 1:
        return f"old text found {source.count(old)} times, not once: {old!r}"
    path.write_text(source.replace(old, new), encoding="utf-8")
    return None


def verdict(folder):
    """Read what `run_tests` wrote: killed or survived or error, and why."""
    if not (folder / "result.json").exists():
        log = (
            (folder / "log.txt").read_text(encoding="utf-8")
            if (folder / "log.txt").exists()
            else ""
        )
        return "ERROR", f"no result within {TIME_LIMIT} s, or the process died: {log[-2000:]}"
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    if result["broken"]:
        return "ERROR", result["broken"][0]
    if result["failed"]:
        return "killed", result["failed"][0]
    return "SURVIVED", f"all {result['passed']} tests passed"


def run_all(jobs, context, at_once=AT_ONCE):
    """Run jobs {name: (folder, files, seconds)}, some at a time; yield the name of each."""
    waiting, running = list(jobs), {}
    while waiting or running:
        while waiting and len(running) < at_once:
            name = waiting.pop(0)
            process = context.Process(target=run_tests, args=jobs[name])
            process.start()
            running[process] = name, time.monotonic() + TIME_LIMIT
        wait([process.sentinel for process in running], timeout=1)
        for process, (name, deadline) in list(running.items()):
            if time.monotonic() > deadline:
                process.kill()
            elif process.is_alive():
                continue
            process.join()
            del running[process]
            yield name


def prepare_processes():
    """Choose how processes start: a fork inherits what is imported, so a mutant costs its tests."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    for name in USED_BY_TESTS:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()
    return multiprocessing.get_context("fork")


def say(name, *words):
    """Print a line about a mutant at once."""
    print(f"{name:<62}", *words, flush=True)


def time_unchanged(folder, files, tests, context):
    """Time tests on the library as it is; None if one fails, since it would kill anything."""
    jobs, seconds, all_passed = {}, {}, True
    for file in sorted(files):
        copy_with(folder / file)
        jobs[f"unchanged: {file}"] = folder / file, [file], tests, {}
    for name in run_all(jobs, context):
        outcome, reason = verdict(jobs[name][0])
        say(name, reason)
        if outcome == "SURVIVED":
            result = json.loads((jobs[name][0] / "result.json").read_text(encoding="utf-8"))
            seconds |= result["seconds"]
        else:
            all_passed = False
    return seconds if all_passed else None


def plant(temporary, chosen):
    """Make a copy of the library for each mutant, with it; return the copies' folders."""
    folders = {}
    for number, (name, (module, old, new)) in enumerate(chosen.items()):
        error = copy_with(temporary / str(number), module, old, new)
        if error:
            say(name, "ERROR", error)
        else:
            folders[name] = temporary / str(number)
    return folders


def kill(jobs, context, killers, at_once=AT_ONCE):
    """Run each mutant's tests; return those that were killed, and note in `killers` by what."""
    killed = set()
    for name in run_all(jobs, context, at_once):
        outcome, reason = verdict(folder := jobs[name][0])
        say(name, outcome, reason)
        if outcome == "killed":
            killers[name] = reason
            killed.add(name)
            shutil.rmtree(folder, ignore_errors=True)
        else:
            (folder / "result.json").unlink(missing_ok=True)
    return killed


def find_unnoticed(temporary, chosen, context, killers):
    """Run tests on each mutant; return those not killed, None if tests fail without a mutant.

    First comes the one test that killed a mutant the last time; then, if need be, all tests that
    must notice it; then, since a busy machine can be the reason, these with nothing beside them.
    """
    folders = plant(temporary, chosen)
    killed = set()
    files = {name: test.partition("::")[0] for name, test in killers.items()}
    noted = {name: killers[name] for name in folders if name in killers}
    noted = {name: test for name, test in noted.items() if (HERE / files[name]).exists()}
    if noted:
        tests = list(noted.values())
        needed = {files[name] for name in noted}
        if time_unchanged(temporary / "noted", needed, tests, context) is None:
            return None
        jobs = {name: (folders[name], [files[name]], [noted[name]], {}) for name in noted}
        killed |= kill(jobs, context, killers)
    left = {name: tests_of(chosen[name][0]) for name in folders if name not in killed}
    if left:
        seconds = time_unchanged(temporary / "all", set().union(*left.values()), None, context)
        if seconds is None:
            return None
        for at_once in (AT_ONCE, 1):
            jobs = {
                name: (folders[name], files, None, seconds)
                for name, files in left.items()
                if name not in killed
            }
            killed |= kill(jobs, context, killers, at_once)
    return [name for name in chosen if name not in killed]


def save(killers):
    """Write what killed each mutant that there is."""
    names = (f"{module}: {name}" for module, mutants in MUTANTS.items() for name, *_ in mutants)
    found = {name: killers[name] for name in names if name in killers}
    text = json.dumps(found, indent=0, ensure_ascii=False) + "\n"
    KILLERS.write_text(text, encoding="utf-8")


def main(words):
    """Run the mutants whose names hold all `words`; return the number that were not killed."""
    start = time.monotonic()
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    os.environ["HYPOTHESIS_PROFILE"] = "mutants"
    chosen = {
        f"{module}: {name}": (module, old, new)
        for module, mutants in MUTANTS.items()
        for name, old, new in mutants
        if all(word in f"{module}: {name}" for word in words)
    }
    if not chosen:
        sys.exit(f"no mutant has {' and '.join(words)} in its name")
    killers = json.loads(KILLERS.read_text(encoding="utf-8")) if KILLERS.exists() else {}
    compileall.compile_dir(LIBRARY, quiet=2)  # once, and not again in each copy
    context = prepare_processes()
    with tempfile.TemporaryDirectory() as name:
        unnoticed = find_unnoticed(Path(name).resolve(), chosen, context, killers)
    if unnoticed is None:
        return 1
    save(killers)
    killed = len(chosen) - len(unnoticed)
    print(f"{killed}/{len(chosen)} mutants killed ({time.monotonic() - start:.0f} s)")
    for name in unnoticed:
        print("not killed:", name)
    return len(unnoticed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) > 0)
