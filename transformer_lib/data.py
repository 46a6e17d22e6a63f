"""From sentences to batches: special tokens, vocabularies, batches, and corpora to load."""

import contextlib
import gzip
import hashlib
import json
import os
import random
import re
import unicodedata
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "END",
    "PAD",
    "SPECIAL_TOKENS",
    "START",
    "UNKNOWN",
    "BPEVocabulary",
    "Batch",
    "Batches",
    "Pair",
    "Vocabulary",
    "data_folder",
    "fingerprint",
    "load_en_de",
    "load_multi30k",
    "load_tsv",
    "pad_rows",
    "padding_factor",
]

PAD, START, END, UNKNOWN = 0, 1, 2, 3
SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>")

# Where BPE never joins: a space becomes a mark at the front of the next word; punctuation stands
# alone, but for "t-shirt" and, as tokenised corpora write quotes, "&quot;" and "&apos;s".
SPACE = "▁"
PIECES = rf"{SPACE}?&\w+;\w*|{SPACE}?\w+(?:['’-]\w+)*|{SPACE}?[^\w{SPACE}]+|{SPACE}"

EN_DE_SPLITS = ("train", "valid", "test", "test_compositional", "test_long")
MOST_WORDS = 1000  # in a sentence of a TSV file

# Multi30k's names and numbers of lines; where it is; SHA-256 of its files.
MULTI30K_SPLITS = {
    "train": ("train", 29000),
    "valid": ("val", 1014),
    "test": ("test_2016_flickr", 1000),
}
MULTI30K_COMMIT = "a3d2e0d26b56f3846f66a952536ffed4e401d05a"
MULTI30K_URL = f"https://raw.githubusercontent.com/multi30k/dataset/{MULTI30K_COMMIT}/data/task1"
MULTI30K_SHA256 = """
d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f raw/train.en.gz
726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6 raw/train.de.gz
14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28 raw/val.en.gz
f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a raw/val.de.gz
611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9 raw/test_2016_flickr.en.gz
9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8 raw/test_2016_flickr.de.gz
08925f8e0572bcd5a006702fc5fe20e2d77c6917d4eebd576fc20de6693c2119 tok/train.lc.norm.tok.en
cb5a23529b65ec2061f1dc446192a9c37382b63cc75f81a0be59d34894b3a505 tok/train.lc.norm.tok.de
46573ce391ae227f1c72f873392436a20ef18e0a6d518098cfbd70b77c8572ec tok/val.lc.norm.tok.en
97232bd273eceb7207f689527386a97e4be2616b18ada47576bdaf96c8ae1f00 tok/val.lc.norm.tok.de
5b7f32627cf99eced828311b955dae9800bb52bc8b91cf8b6526829e605b29d2 tok/test_2016_flickr.lc.norm.tok.en
c6a33d39d48f9f510de147651316cd9d918e09ad0219df734a2f16b6baccacc4 tok/test_2016_flickr.lc.norm.tok.de
"""


# --- Vocabularies -----------------------------------------------------------------------


class Vocabulary:
    """Words and their ids.

    Args:
        tokens: all tokens in the order of their ids, the special ones first.

    Raises:
        ValueError: the special tokens are not the first four, a token is not text, is empty
            or stands twice.
    """

    def __init__(self, tokens: Sequence[str]):
        self._tokens = list(tokens)
        if tuple(self._tokens[:4]) != SPECIAL_TOKENS:
            raise ValueError(f"first tokens must be {SPECIAL_TOKENS}, got {self._tokens[:4]}")
        if not all(isinstance(token, str) and token for token in self._tokens):
            raise ValueError("every token must be a text, and not an empty one")
        # Without the special ones: a text that contains "</s>" must not end its sentence.
        self._ids = {token: i for i, token in enumerate(self._tokens) if i > UNKNOWN}
        if self._ids.keys() & set(SPECIAL_TOKENS) or len(self._ids) + 4 != len(self):
            raise ValueError("a token stands twice in the vocabulary")

    @classmethod
    def from_sentences(cls, sentences: Iterable[str], min_count: int = 1) -> "Vocabulary":
        """Collect the words, cut at spaces, that occur at least min_count times."""
        counts = Counter(word for sentence in sentences for word in _words(sentence))
        words = sorted(counts.keys() - set(SPECIAL_TOKENS), key=lambda w: (-counts[w], w))
        return cls([*SPECIAL_TOKENS, *(word for word in words if counts[word] >= min_count)])

    def tokens(self, text: str) -> list[str]:
        """Cut a text at spaces, and a word that is not known at its outer punctuation.

        What is left is written in lower case if it is known only so: "Dogs sleep." is right.
        """
        tokens = []
        for word in _words(text):
            core = re.search(r"\w(?:.*\w)?", word)
            if word in self._ids or not core:
                tokens.append(word)
                continue
            lower = core[0] not in self._ids and core[0].lower() in self._ids
            middle = core[0].lower() if lower else core[0]
            tokens += [*word[: core.start()], middle, *word[core.end() :]]
        return tokens

    def encode(self, text: str) -> list[int]:
        """Turn a text into ids, without START and END; what is not known becomes UNKNOWN."""
        return [self._ids.get(token, UNKNOWN) for token in self.tokens(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids up to the first END into a text; PAD and START are left out.

        Raises:
            ValueError: an id is not in the vocabulary.
        """
        tokens = []
        for i in map(int, ids):
            if i == END:
                break
            if not 0 <= i < len(self):
                raise ValueError(f"token ids must be between 0 and {len(self) - 1}, got {i}")
            if i not in (PAD, START):
                tokens.append(self._tokens[i])
        return " ".join(tokens)

    def __len__(self) -> int:
        """Count the tokens, the special ones included."""
        return len(self._tokens)

    def to_dict(self) -> dict:
        """Give what `from_dict` needs, as JSON can hold it."""
        return {"tokens": list(self._tokens)}

    @classmethod
    def from_dict(cls, content: dict) -> "Vocabulary":
        """Make a vocabulary of what `to_dict` gave."""
        return cls(**content)


class BPEVocabulary(Vocabulary):
    """Pieces of words and their ids: byte-pair encoding (section 5.1; Sennrich et al. 2016).

    Args:
        tokens: all pieces in the order of their ids, the special tokens first.
        merges: pairs of pieces that are joined, in this order.

    Raises:
        ValueError: as in `Vocabulary`, or a merge is not of two tokens into a third.
    """

    def __init__(self, tokens: Sequence[str], merges: Sequence[Sequence[str]]):
        from tokenizers import models

        super().__init__(tokens)
        self._merges = [tuple(merge) for merge in merges]
        for merge in self._merges:
            if len(merge) != 2 or not {*merge, "".join(merge)} <= self._ids.keys():
                raise ValueError(f"{merge} does not join two tokens into a third")
        ids = {token: i for i, token in enumerate(self._tokens)}
        self._bpe = _tokenizer(models.BPE(ids, self._merges, unk_token=SPECIAL_TOKENS[UNKNOWN]))

    @classmethod
    def from_sentences(cls, sentences: Iterable[str], size: int = 10_000) -> "BPEVocabulary":
        """Learn `size` tokens, the special ones included; more if there are more characters."""
        from tokenizers import models, trainers

        bpe, special = _tokenizer(models.BPE()), list(SPECIAL_TOKENS)
        trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False)
        bpe.train_from_iterator(map(_marked, sentences), trainer)
        model = json.loads(bpe.to_str())["model"]
        merges = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
        return cls(sorted(model["vocab"], key=model["vocab"].get), merges)

    def tokens(self, text: str) -> list[str]:
        """Cut a text into pieces; "▁" marks where a word begins."""
        text = _marked(text)
        return [text[start:end] for start, end in self._bpe.encode(text).offsets]

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids up to the first END into a text; PAD and START are left out."""
        return super().decode(ids).replace(" ", "").replace(SPACE, " ").strip()

    def to_dict(self) -> dict:
        """Give what `from_dict` needs, as JSON can hold it."""
        return {**super().to_dict(), "merges": [list(merge) for merge in self._merges]}


def _words(text: str) -> list[str]:
    return unicodedata.normalize("NFC", text).split()  # "ü" may have been typed as two characters


def _marked(text: str) -> str:
    return "".join(SPACE + word for word in _words(text))


def _tokenizer(model):
    from tokenizers import Regex, Tokenizer, pre_tokenizers

    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), "isolated")
    return tokenizer


# --- Batches ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """A sentence and its translation; perhaps which words belong together (Och & Ney 2003).

    Args:
        src, tgt: the sentences.
        sure: links (i, j) of word i of src to word j of tgt, from 0, words cut at spaces.
        possible: links that are right, too, but not needed. Sure ones are added to them.
    """

    src: str
    tgt: str
    sure: frozenset[tuple[int, int]] = frozenset()
    possible: frozenset[tuple[int, int]] = frozenset()

    def __post_init__(self):
        """Make every sure link a possible one."""
        object.__setattr__(self, "possible", self.possible | self.sure)


class Batch(NamedTuple):
    """Sentences side by side: src (B, S) ends with END; tgt (B, T) also begins with START."""

    src: Tensor
    tgt: Tensor


def pad_rows(rows: Sequence[Sequence[int]]) -> Tensor:
    """Fill rows of ids up with PAD on the right: int64 (B, the longest row)."""
    longest = max(map(len, rows))
    padded = [[*row, *[PAD] * (longest - len(row))] for row in rows]
    return torch.tensor(padded, dtype=torch.long)


class Batches:
    """Call it with the number of an epoch to get all batches of that epoch (section 5.1).

    All pairs are sorted by length and cut into batches that fill the budget; the batches are
    shuffled. Pairs of the same lengths change places from epoch to epoch. The order follows
    from (seed, epoch) alone, so a training can go on from any position.

    Args:
        pairs: the sentences.
        src_vocabulary, tgt_vocabulary: turn them into ids.
        tokens: the budget: positions, padding included, on the longer side of a batch.
        seed: of the order.
        max_len: the longest sequence that the model can read, if that is a limit.

    Raises:
        ValueError: there are no pairs, or one is longer than the budget or than max_len.
    """

    def __init__(
        self,
        pairs: Iterable[Pair],
        src_vocabulary: Vocabulary,
        tgt_vocabulary: Vocabulary,
        tokens: int = 4096,
        seed: int = 0,
        max_len: int | None = None,
    ):
        self.seed = seed
        self._rows = []
        for number, pair in enumerate(pairs):
            src = [*src_vocabulary.encode(pair.src), END]
            tgt = [START, *tgt_vocabulary.encode(pair.tgt), END]
            self._rows.append((src, tgt))
            words = f"pair {number} ({pair.src[:40]!r}) has {max(len(src), len(tgt)):,} tokens"
            if max(len(src), len(tgt)) > tokens:
                raise ValueError(f"{words}, but a batch may have {tokens:,}")
            if max_len is not None and max(len(src), len(tgt) - 1) > max_len:
                raise ValueError(f"{words}, but the model reads max_len={max_len:,}")
        if not self._rows:
            raise ValueError("no pairs to make batches of")

        # Where to cut is the same in every epoch, as only pairs of the same lengths change places.
        self._cuts = [0]
        for i, (longest, _) in enumerate(sorted(map(_by_length, self._rows))):
            if (i + 1 - self._cuts[-1]) * longest > tokens:
                self._cuts.append(i)

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        return len(self._cuts)

    def __call__(self, epoch: int) -> list[Batch]:
        """Make all batches of an epoch; for the same epoch always the same."""
        draw = random.Random(f"{self.seed} {epoch}").random  # the same in every Python
        rows = sorted(self._rows, key=lambda row: (_by_length(row), draw()))
        ends = [*self._cuts[1:], None]
        chunks = [rows[start:end] for start, end in zip(self._cuts, ends, strict=True)]
        chunks.sort(key=lambda chunk: draw())
        return [Batch(*map(pad_rows, zip(*chunk, strict=True))) for chunk in chunks]


def _by_length(row: tuple[list[int], list[int]]) -> tuple[int, int]:
    """Sort by the longer side; among equals by how much longer the target is, up and down in turn.

    So neighbours are alike on both sides, even where the longer side grows.
    """
    src, tgt = map(len, row)
    longest = max(src, tgt)
    return longest, (tgt - src) * (-1) ** longest


def padding_factor(batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Count positions, padding included, per real token: 1 is perfect."""
    tensors = [tensor for batch in batches for tensor in batch]
    return sum(t.numel() for t in tensors) / sum(int((t != PAD).sum()) for t in tensors)


def fingerprint(batches: Iterable[tuple[Tensor, Tensor]]) -> str:
    """Say in 16 characters which batches these are: others almost surely get another text."""
    digest = hashlib.sha256()
    for tensor in (tensor for batch in batches for tensor in batch):
        digest.update(f"{tuple(tensor.shape)} {tensor.flatten().tolist()}".encode())
    return digest.hexdigest()[:16]


# --- Corpora ----------------------------------------------------------------------------


def data_folder() -> Path:
    """Find the course's data: inside an installed package, beside the package in a checkout."""
    here = Path(__file__).parent
    inside = here / "data_files"  # where pyproject.toml puts data/
    return inside if inside.is_dir() else here.parent / "data"


def load_en_de(split: str) -> list[Pair]:
    """Load the course's own English–German corpus, with its alignments.

    Args:
        split: "train", "valid", "test", "test_compositional" or "test_long".

    Raises:
        FileNotFoundError: the data is not where it was installed.
        ValueError: there is no such split.
    """
    _check_split(split, EN_DE_SPLITS)
    path = data_folder() / "en_de" / f"{split}.tsv"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: install the package or clone it again")
    return _read_tsv(path, (3,))


def load_tsv(path: str | Path) -> list[Pair]:
    """Load your own pairs: UTF-8, one pair per line, source and target with a tab between.

    A third column may hold an alignment: "0-0 1p2" links word 0 to word 0 for sure, and word
    1 to word 2 possibly.

    Raises:
        ValueError: names the file, the line and what is wrong with it.
    """
    return _read_tsv(Path(path), (2, 3))


def load_multi30k(
    split: str, folder: str | Path | None = None, tokenised: bool = False
) -> list[Pair]:
    """Load Multi30k, image captions in English and German (Elliott et al. 2016).

    For research and education. Every file is checked by its SHA-256.

    Args:
        split: "train", "valid" or "test" (its test_2016_flickr).
        folder: has the files (tokenised ones may be gzipped). If None, the environment
            variable TRANSFORMER_LIB_MULTI30K names it, or the files are downloaded once.
        tokenised: the lower-cased, normalised and tokenised text of published results.

    Raises:
        ConnectionError: a download failed; the message says what to do without a network.
        FileNotFoundError: the folder lacks a file.
        ValueError: there is no such split, or a file is not the one that it should be.
    """
    _check_split(split, MULTI30K_SPLITS)
    folder = folder or os.environ.get("TRANSFORMER_LIB_MULTI30K")
    name, count = MULTI30K_SPLITS[split]
    form = f"tok/{name}.lc.norm.tok.{{}}" if tokenised else f"raw/{name}.{{}}.gz"
    src, tgt = (_read_multi30k(form.format(language), folder) for language in ("en", "de"))
    if not len(src) == len(tgt) == count:
        raise ValueError(f"{name}: {len(src)} and {len(tgt)} lines, expected {count} of each")
    return [Pair(*map(str.strip, sides)) for sides in zip(src, tgt, strict=True)]


def _check_split(split: str, splits: Iterable[str]) -> None:
    if split not in splits:
        raise ValueError(f"split must be one of {', '.join(splits)}, got {split!r}")


def _read_tsv(path: Path, columns: tuple[int, ...]) -> list[Pair]:
    pairs = []
    for number, line in enumerate(path.read_bytes().removesuffix(b"\n").split(b"\n"), 1):
        try:
            pairs.append(_read_pair(line, columns))
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from None
    return pairs


def _read_pair(line: bytes, columns: tuple[int, ...]) -> Pair:
    try:
        text = line.decode("utf-8").lstrip("\ufeff").rstrip("\r")  # as Windows writes it
    except UnicodeDecodeError as error:
        byte = line[error.start]
        raise ValueError(f"not UTF-8: byte {byte:#04x} at position {error.start}") from None
    if control := re.search(r"[\0-\x08\x0b-\x1f]", text):
        raise ValueError(f"character {control[0]!r} does not belong into lines of UTF-8 text")
    cells = [cell.strip() for cell in text.split("\t")]
    if len(cells) not in columns:
        expected = " or ".join(map(str, columns))
        raise ValueError(f"{len(cells)} columns (a tab separates them), expected {expected}")
    sizes = [len(cell.split()) for cell in cells[:2]]
    for side, size in zip(("source", "target"), sizes, strict=True):
        if not 1 <= size <= MOST_WORDS:
            raise ValueError(f"the {side} has {size:,} words, expected 1 to {MOST_WORDS:,}")
    return Pair(*cells[:2], *_read_links("".join(cells[2:]), sizes))


def _read_links(text: str, sizes: list[int]) -> tuple[frozenset, frozenset]:
    """Read an alignment such as "0-0 1p2": its sure and its possible links."""
    links = {"-": set(), "p": set()}
    for link in text.split():
        parts = re.fullmatch(r"([0-9]{1,6})([-p])([0-9]{1,6})", link)
        if not parts:
            raise ValueError(f"{link[:20]!r} is not a link such as 0-0 or 0p1")
        i, j = int(parts[1]), int(parts[3])
        if i >= sizes[0] or j >= sizes[1]:
            raise ValueError(
                f"link {link} is outside {sizes[0]} source and {sizes[1]} target words"
            )
        links[parts[2]].add((i, j))
    return frozenset(links["-"]), frozenset(links["p"])


def _read_multi30k(file: str, folder: str | Path | None) -> list[str]:
    url, name = f"{MULTI30K_URL}/{file}", Path(file).name
    sha256 = re.search(rf"(\w+) {file}\n", MULTI30K_SHA256)[1]
    hint = (
        f"Fetch {url} where there is a network, put it into a folder with the other files, and "
        "name that: load_multi30k(…, folder=…), or the variable TRANSFORMER_LIB_MULTI30K"
    )
    path = Path(folder, name).expanduser() if folder else _download(url, sha256, hint)
    path = path if path.exists() else path.with_name(f"{name}.gz")
    if not path.exists():
        raise FileNotFoundError(f"there is no {name} in {folder}. {hint}")
    data = path.read_bytes()
    if path.name != name:  # gzipped by somebody, so that only the text can be checked
        with contextlib.suppress(OSError, EOFError, zlib.error):
            data = gzip.decompress(data)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ValueError(f"{path} is damaged or foreign: SHA-256 {found}, not {sha256}. {hint}")
    data = gzip.decompress(data) if name.endswith(".gz") else data
    return data.decode("utf-8").removesuffix("\n").split("\n")


def _download(url: str, sha256: str, hint: str) -> Path:
    with warnings.catch_warnings():  # of tqdm's, in notebooks without ipywidgets
        warnings.simplefilter("ignore")
        import pooch

    pooch.get_logger().setLevel("WARNING")  # it tells on stderr what it downloads
    try:
        cache, fetch = pooch.os_cache("transformer_lib"), pooch.HTTPDownloader(timeout=30)
        path = pooch.retrieve(url, sha256, Path(url).name, cache / "multi30k", downloader=fetch)
        return Path(path)
    except OSError as error:  # requests' errors are, too
        raise ConnectionError(f"{url} could not be downloaded: {error}. {hint}") from error
    except ValueError as error:  # pooch found another hash, and threw the file away
        raise ValueError(f"{url} came damaged; try again. {error}. {hint}") from None
