# ruff: noqa: I001  the modules come in the order of the course
"""Checkers for the exercises: what was expected, what came, and the likely mistake.

    from transformer_lib import checks as check
    check.attention_weights(my_function)
    check.progress()

One module for each notebook, named after the part it builds; `judging` is what they share.
"""

from transformer_lib.checks.attention import *  # noqa: F403
from transformer_lib.checks.masks import *  # noqa: F403
from transformer_lib.checks.multi_head import *  # noqa: F403
from transformer_lib.checks.embeddings import *  # noqa: F403
from transformer_lib.checks.feed_forward import *  # noqa: F403
from transformer_lib.checks.encoder import *  # noqa: F403
from transformer_lib.checks.decoder import *  # noqa: F403
from transformer_lib.checks.transformer import *  # noqa: F403
from transformer_lib.checks.training import *  # noqa: F403
from transformer_lib.checks.decoding import *  # noqa: F403
from transformer_lib.checks.attention_maps import *  # noqa: F403
from transformer_lib.checks.judging import EXERCISES, progress

__all__ = [*EXERCISES, "EXERCISES", "progress"]
