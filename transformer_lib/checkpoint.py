"""Save and load models, and trainings under way: safetensors and JSON, nothing is unpickled."""

import hashlib
import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from transformer_lib.data import BPEVocabulary, Vocabulary, data_folder
from transformer_lib.text import check_casing
from transformer_lib.transformer import Transformer, TransformerConfig

__all__ = [
    "Checkpoint",
    "course_models",
    "load_checkpoint",
    "load_training",
    "load_weights",
    "read_tensors",
    "save_checkpoint",
    "save_training",
    "save_weights",
    "weights",
    "write_tensors",
]

FORMAT, VERSION = "transformer_lib checkpoint", 1
WEIGHTS_FILE, JSON_FILE = "model.safetensors", "checkpoint.json"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
VOCABULARIES = {kind.__name__: kind for kind in (Vocabulary, BPEVocabulary)}

# What a file may ask for before it is known to be honest. Positions are computed, not saved,
# so their number is the one size that the weights do not vouch for.
MOST_JSON_BYTES = 100_000_000
MOST_POSITIONS = 100_000


# --- A model, its vocabularies and its card ---------------------------------------------


class Checkpoint(NamedTuple):
    """A model and what it needs to translate; arguments as in `save_checkpoint`."""

    model: Transformer
    src_vocabulary: Vocabulary
    tgt_vocabulary: Vocabulary
    card: dict | None = None
    casing: dict[str, str] | None = None


def save_checkpoint(
    folder: str | Path,
    model: Transformer,
    src_vocabulary: Vocabulary,
    tgt_vocabulary: Vocabulary,
    card: dict | None = None,
    casing: dict[str, str] | None = None,
) -> None:
    """Save a model and what it needs to translate, as two files in a folder.

    Args:
        folder: where to; made if missing. Files of an older checkpoint are replaced.
        model: in float32, float16 or bfloat16.
        src_vocabulary, tgt_vocabulary: of the sizes in the model's config; may be the same
            object, which is then saved once.
        card: how the model was made (data, command, time, figures); JSON must hold it.
        casing: from `learn_casing`, for a model of tokenised, lower-cased text: with it, a
            `Translator` reads and writes ordinary text.

    Raises:
        ValueError: a vocabulary's size is not the model's, the weights are not all of one
            of the three dtypes, the casing is no such table, JSON cannot hold the card, or
            the config is one that `load_checkpoint` refuses. Nothing is written then.
    """
    _read_config(Path(folder, JSON_FILE), asdict(model.config))
    _check_vocabularies(model.config, src_vocabulary, tgt_vocabulary)
    if card is not None and not isinstance(card, dict):
        raise ValueError(f"the card must be a dictionary, got {card!r}")
    if casing is not None:
        check_casing(casing)
    tensors = weights(model)
    dtypes = {str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()}
    if len(dtypes) != 1 or not dtypes <= set(DTYPES):
        raise ValueError(f"weights must all be {', '.join(DTYPES)}; got {sorted(dtypes)}")

    data = _to_bytes(tensors, {})
    shared = tgt_vocabulary is src_vocabulary
    description = {
        "format": FORMAT,
        "version": VERSION,
        "config": asdict(model.config),
        "dtype": dtypes.pop(),
        "weights_sha256": hashlib.sha256(data).hexdigest(),
        "card": card or {},
        "casing": casing,
        "src_vocabulary": _describe(src_vocabulary),
        "tgt_vocabulary": None if shared else _describe(tgt_vocabulary),
    }
    try:
        text = json.dumps(description, indent=1, ensure_ascii=False, allow_nan=False)
        text = f"{text}\n".encode()
    except (TypeError, ValueError) as error:
        raise ValueError(f"JSON cannot hold the card or a vocabulary: {error}") from None

    _write(Path(folder, WEIGHTS_FILE), data)
    _write(Path(folder, JSON_FILE), text)


def course_models() -> list[str]:
    """List the names of the trained models that come with the course."""
    return sorted(path.parent.name for path in data_folder().glob(f"checkpoints/*/{JSON_FILE}"))


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """Load what `save_checkpoint` saved; safe with files from strangers.

    Args:
        folder: where the two files are; or, as text, the name of one of `course_models`,
            "en_de_small" for example. For a folder of your own of that name, write
            "./en_de_small" or Path("en_de_small").

    Returns:
        the model, in eval mode and on the CPU; the source and the target vocabulary (one
        object if they were one when saved); the card; the table of casing, or None.

    Raises:
        FileNotFoundError: one of the two files is missing.
        ValueError: a file is truncated, foreign, of a later version, or does not fit the
            other; the message names the file and the reason.
    """
    path, weights_path = _find_files(folder)
    description = _read_json(path)
    config = _read_config(path, description["config"])
    dtype = DTYPES.get(str(description["dtype"]))
    if dtype is None:
        raise ValueError(f"{path}: unknown dtype {description['dtype']!r}")
    if not isinstance(description["card"], dict):
        raise ValueError(f"{path}: the card is not an object")

    tensors = _read_weights(weights_path, description["weights_sha256"], config)
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they are
        model = Transformer(config).to(dtype).eval()
    load_weights(model, tensors, weights_path)

    casing = description.get("casing")
    src_vocabulary = tgt_vocabulary = _read_vocabulary(path, description["src_vocabulary"])
    if description["tgt_vocabulary"] is not None:
        tgt_vocabulary = _read_vocabulary(path, description["tgt_vocabulary"])
    try:
        _check_vocabularies(config, src_vocabulary, tgt_vocabulary)
        if casing is not None:
            check_casing(casing)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Checkpoint(model, src_vocabulary, tgt_vocabulary, description["card"], casing)


def _find_files(folder: str | Path) -> tuple[Path, Path]:
    """Find the JSON and the weights in a folder, or in that of a model of the course."""
    names = course_models()
    if isinstance(folder, str) and folder in names:
        folder = data_folder() / "checkpoints" / folder
    paths = Path(folder, JSON_FILE), Path(folder, WEIGHTS_FILE)
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(
                f"there is no file {path}. Name a folder that has it, or one of the models "
                f"that come with the course: {', '.join(names)}"
            )
    return paths


def _read_weights(path: Path, sha256: Any, config: TransformerConfig) -> dict[str, Tensor]:
    """Read the weights, if they are those that the JSON was saved with."""
    data = path.read_bytes()
    tensors, _ = _from_bytes(data, path)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"{path}: not the file that {JSON_FILE} was saved with")

    # Memory is taken only for numbers that the file really holds.
    needed, held = _count(config), sum(tensor.numel() for tensor in tensors.values())
    if needed != held:
        raise ValueError(
            f"{path}: holds {held:,} numbers, but a model of this config has {needed:,}"
        )
    return tensors


# --- A training under way ---------------------------------------------------------------


def save_training(
    path: str | Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: dict
) -> None:
    """Save a training so that it can go on from here: one file, replaced all at once.

    Args:
        path: the file; a process killed while writing leaves the old one as it was.
        model: the model; its weights are saved under `model.<name>`.
        optimizer: saved by the names of the model's parameters, `optimizer.<name>.<state>`.
        progress: anything else, as JSON.
    """
    tensors = {f"model.{name}": tensor for name, tensor in weights(model).items()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state[parameter].items():
            tensors[f"optimizer.{name}.{key}"] = value
    write_tensors(path, tensors, progress)


def load_training(
    path: str | Path, model: nn.Module, optimizer: torch.optim.Optimizer, config: dict
) -> dict:
    """Put model and optimizer back to where `save_training` saved them.

    Args:
        path: the file.
        model, optimizer: of the same kind and sizes as those saved; changed in place.
        config: what the training is, by name; must be what the progress holds as "config".

    Returns:
        the progress that was saved.

    Raises:
        ValueError: the file is damaged, or is not of this model, optimizer and config.
    """
    tensors, progress = read_tensors(path)
    saved = progress.get("config")
    if not isinstance(saved, dict):
        raise ValueError(f"{path}: not the state of a training")
    if saved != config:
        names = [name for name in {**config, **saved} if saved.get(name) != config.get(name)]
        differences = [f"{n}={saved.get(n)!r}, not {config.get(n)!r}" for n in names]
        raise ValueError(
            f"{path}: of another training: {'; '.join(differences)}. Name another folder, or "
            "delete this one"
        )
    load_weights(model, _below("model.", tensors), path)
    states = _below("optimizer.", tensors)
    for name, parameter in model.named_parameters():
        state = _below(f"{name}.", states)
        wrong = [key for key, value in state.items() if value.shape not in ((), parameter.shape)]
        if not state and not parameter.requires_grad:
            continue  # Adam left it alone
        if set(state) != {"step", "exp_avg", "exp_avg_sq"} or wrong:
            raise ValueError(f"{path}: not Adam's state of {name}: {sorted(state)}")
        optimizer.state[parameter] = {key: v.to(parameter.device) for key, v in state.items()}
    return progress


def save_weights(folder: str | Path, model: nn.Module, epoch: int, keep: int) -> None:
    """Save the weights after an epoch, and delete all files of that kind but the last `keep`.

    Later epochs are those of an older training whose state somebody has deleted: they go, too.
    """
    write_tensors(Path(folder, f"epoch-{epoch:04}.safetensors"), weights(model), {})
    for path in Path(folder).glob("epoch-*.safetensors"):
        if not epoch - keep < int(path.stem.removeprefix("epoch-")) <= epoch:
            path.unlink()


# --- Weights and files ------------------------------------------------------------------


def weights(model: nn.Module) -> dict[str, Tensor]:
    """List a model's weights by name, tied ones once, under the first of their names."""
    first_names = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        first_names.setdefault(id(tensor), (name, tensor.detach()))
    return dict(first_names.values())


def load_weights(model: nn.Module, tensors: dict[str, Tensor], source: str | Path = "") -> None:
    """Copy tensors into a model's weights, in place: what was tied stays tied.

    Args:
        model: the model.
        tensors: by name, as `weights` lists them.
        source: where the tensors came from, for the error message.

    Raises:
        ValueError: a name is missing or unknown, or a shape or dtype is not the model's.
    """
    _check_tensors(model, tensors, source)
    for name, weight in weights(model).items():
        weight.copy_(tensors[name])


def write_tensors(path: str | Path, tensors: dict[str, Tensor], extra: dict) -> None:
    """Write tensors, and a dictionary that JSON can hold, as one file and all at once."""
    _write(Path(path), _to_bytes(tensors, extra))


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """Read what `write_tensors` wrote.

    Raises:
        ValueError: the file is no safetensors file, or not one of ours.
    """
    return _from_bytes(Path(path).read_bytes(), path)


def _write(path: Path, data: bytes) -> None:
    """Write a file so that at any moment either all of it or the old one is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with open(part, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def _to_bytes(tensors: dict[str, Tensor], extra: dict) -> bytes:
    tensors = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    metadata = {"format": FORMAT, "version": str(VERSION), "extra": json.dumps(extra)}
    return safetensors.torch.save(tensors, metadata)


def _from_bytes(data: bytes, path: str | Path) -> tuple[dict[str, Tensor], dict]:
    try:
        tensors = safetensors.torch.load(data)
        size = int.from_bytes(data[:8], "little")  # of the header, which `load` found sound
        metadata = json.loads(data[8 : 8 + size]).get("__metadata__") or {}
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: damaged, or no safetensors file: {error}") from None
    _check_version(path, metadata)
    try:
        extra = json.loads(metadata["extra"])
    except (KeyError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged metadata: {error!r}") from None
    return tensors, extra


def _read_json(path: Path) -> dict:
    if path.stat().st_size > MOST_JSON_BYTES:
        raise ValueError(f"{path}: larger than {MOST_JSON_BYTES:,} bytes")
    try:
        description = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged, or no JSON: {error}") from None
    if not isinstance(description, dict):
        raise ValueError(f"{path}: not a JSON object")
    _check_version(path, description)
    needed = ["config", "dtype", "weights_sha256", "card", "src_vocabulary", "tgt_vocabulary"]
    missing = [key for key in needed if key not in description]
    if missing:
        raise ValueError(f"{path}: {', '.join(missing)} missing")
    return description


def _check_version(path: str | Path, header: dict) -> None:
    if header.get("format") != FORMAT:
        raise ValueError(f"{path}: not written by transformer_lib")
    if str(header.get("version")) != str(VERSION):
        raise ValueError(
            f"{path}: format version {header.get('version')!r}, "
            f"but this transformer_lib reads version {VERSION}"
        )


def _read_config(path: Path, values: Any) -> TransformerConfig:
    names = {field.name: field.type for field in fields(TransformerConfig)}
    if not isinstance(values, dict) or set(values) != set(names):
        raise ValueError(f"{path}: the config must have exactly the entries {', '.join(names)}")
    for name, value in values.items():
        kinds = {int: (int,), float: (int, float), bool: (bool,)}.get(names[name], (bool, str))
        if type(value) not in kinds:
            raise ValueError(f"{path}: {name}={value!r} in the config is of the wrong type")
    try:
        config = TransformerConfig(**values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if config.max_len > MOST_POSITIONS:
        raise ValueError(f"{path}: max_len={config.max_len} is above {MOST_POSITIONS:,}")
    return config


def _count(config: TransformerConfig) -> int:
    """Count the weights of a model without building it."""
    d, d_ff, decoders = config.d_model, config.d_ff, config.num_decoder_layers
    attention, feed_forward, norm = 4 * (d * d + d), 2 * d * d_ff + d_ff + d, 2 * d
    encoder = config.num_encoder_layers * (attention + feed_forward + 2 * norm)
    decoder = decoders * (2 * attention + feed_forward + 3 * norm)
    words = config.tgt_vocab_size
    if config.share_embeddings is not True:
        words += config.src_vocab_size
    if not config.share_embeddings:
        words += config.tgt_vocab_size
    return encoder + decoder + words * d + 2 * norm * config.norm_first


def _check_tensors(model: nn.Module, tensors: dict[str, Tensor], source: str | Path) -> None:
    expected = weights(model)
    prefix = f"{source}: " if source else ""
    for problem, names in (
        ("missing", expected.keys() - tensors.keys()),
        ("unknown", tensors.keys() - expected.keys()),
    ):
        if names:
            shown = ", ".join(repr(name)[:80] for name in sorted(names)[:3])
            raise ValueError(f"{prefix}{len(names)} {problem} tensors: {shown} …")
    for name, tensor in tensors.items():
        kind, wanted = ((tuple(t.shape), t.dtype) for t in (tensor, expected[name]))
        if kind != wanted:
            raise ValueError(f"{prefix}{name} is {kind}, but the model's is {wanted}")


def _check_vocabularies(
    config: TransformerConfig, src_vocabulary: Vocabulary, tgt_vocabulary: Vocabulary
) -> None:
    for name, vocabulary in (("src", src_vocabulary), ("tgt", tgt_vocabulary)):
        size = getattr(config, f"{name}_vocab_size")
        if len(vocabulary) != size:
            raise ValueError(
                f"the {name} vocabulary has {len(vocabulary)} tokens, "
                f"but the model's {name}_vocab_size is {size}"
            )


def _describe(vocabulary: Vocabulary) -> dict:
    return {"class": type(vocabulary).__name__, "content": vocabulary.to_dict()}


def _read_vocabulary(path: Path, description: Any) -> Vocabulary:
    try:
        return VOCABULARIES[description["class"]].from_dict(description["content"])
    except Exception as error:  # from_dict was given anything at all, so it may raise anything
        raise ValueError(f"{path}: damaged vocabulary: {error!r}") from None


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Select the tensors whose names begin with `prefix`, and take it off."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
