"""Vocabularies, batches, and corpora: right files are read, and wrong ones named."""

import gzip
import hashlib
import itertools
import json
import re
import threading
import tomllib
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from transformer_lib import data
from transformer_lib.data import (
    END,
    PAD,
    SPECIAL_TOKENS,
    START,
    UNKNOWN,
    Batches,
    BPEVocabulary,
    Pair,
    Vocabulary,
    fingerprint,
    load_en_de,
    load_multi30k,
    load_tsv,
    pad_rows,
    padding_factor,
)

ROOT = Path(__file__).resolve().parents[1]
SENTENCES = [
    "the old woman sees the small dog .",
    "der Hund sieht die alte Frau , weil sie schläft .",
    "Anna doesn't wear a t-shirt !",
    "he said &quot; it &apos;s late &quot;",
] * 3


@pytest.fixture(scope="module")
def words():
    return Vocabulary.from_sentences(SENTENCES)


@pytest.fixture(scope="module")
def bpe():
    return BPEVocabulary.from_sentences(SENTENCES, size=80)


@pytest.fixture(params=["words", "bpe"])
def vocabulary(request):
    return request.getfixturevalue(request.param)


# --- Vocabularies -----------------------------------------------------------------------


def test_special_tokens_come_first(vocabulary):
    assert (PAD, START, END, UNKNOWN) == (0, 1, 2, 3)
    assert SPECIAL_TOKENS == ("<pad>", "<s>", "</s>", "<unk>")
    assert tuple(vocabulary.to_dict()["tokens"][:4]) == SPECIAL_TOKENS


def test_decode_undoes_encode(vocabulary):
    for sentence in SENTENCES:
        assert vocabulary.decode(vocabulary.encode(sentence)) == sentence
        assert min(vocabulary.encode(sentence)) > UNKNOWN


def test_there_is_an_id_per_token(vocabulary):
    text = "the dog 𝄞 sees xyz☃."
    ids, tokens = vocabulary.encode(text), vocabulary.tokens(text)
    assert len(ids) == len(tokens)
    everything = vocabulary.to_dict()["tokens"]
    assert all(everything[i] == token or i == UNKNOWN for i, token in zip(ids, tokens, strict=True))
    assert UNKNOWN in ids
    assert "𝄞" in tokens


def test_decode_stops_at_the_end_and_leaves_out_padding_and_start(vocabulary):
    ids = vocabulary.encode("the dog")
    assert vocabulary.decode([START, *ids, END, *ids, PAD]) == "the dog"
    assert vocabulary.decode([PAD, START, PAD, *ids]) == "the dog"
    assert vocabulary.decode(torch.tensor(ids)) == "the dog"
    assert vocabulary.decode([]) == vocabulary.decode([END, *ids]) == ""
    assert "<unk>" in vocabulary.decode([*ids, UNKNOWN])


@pytest.mark.parametrize("wrong", [-1, 10_000])
def test_decode_names_an_id_that_does_not_exist(vocabulary, wrong):
    with pytest.raises(ValueError, match=f"between 0 and {len(vocabulary) - 1}, got {wrong}"):
        vocabulary.decode([4, wrong])


@pytest.mark.parametrize("special", SPECIAL_TOKENS)
def test_a_text_cannot_smuggle_in_special_tokens(vocabulary, special):
    for text in (special, f"the {special} dog", f"the{special}dog"):
        assert not {PAD, START, END} & set(vocabulary.encode(text))
    made_of_it = type(vocabulary).from_sentences([f"{special} a b", special * 2])
    assert not {PAD, START, END} & set(made_of_it.encode(f"{special} a {special * 2}"))


def test_a_vocabulary_survives_json(vocabulary):
    content = json.loads(json.dumps(vocabulary.to_dict()))
    same = type(vocabulary).from_dict(content)
    assert len(same) == len(vocabulary)
    assert same.to_dict() == vocabulary.to_dict()
    for sentence in [*SENTENCES, "something entirely new"]:
        assert same.encode(sentence) == vocabulary.encode(sentence)


def test_the_order_of_sentences_does_not_matter_and_nothing_is_random():
    for kind in (Vocabulary, BPEVocabulary):
        first = kind.from_sentences(SENTENCES).to_dict()
        assert kind.from_sentences(reversed(SENTENCES)).to_dict() == first
    assert Vocabulary.from_sentences(["b c c a", "d d d"]).to_dict()["tokens"][4:] == [*"dcab"]


def test_a_letter_may_be_typed_as_two_characters(vocabulary):
    assert vocabulary.encode("schla\u0308ft") == vocabulary.encode("schläft")
    assert UNKNOWN not in vocabulary.encode("schla\u0308ft")


def test_words_may_be_left_out_if_they_are_rare():
    vocabulary = Vocabulary.from_sentences(["a a a b b c"], min_count=2)
    assert len(vocabulary) == 6
    assert vocabulary.encode("a b c") == [4, 5, UNKNOWN]
    assert vocabulary.decode([4, UNKNOWN]) == "a <unk>"


@pytest.mark.parametrize(
    ("typed", "tokens"),
    [
        ("The dog sleeps.", "the dog sleeps ."),
        ('"the (old) dog",', '" the ( old ) dog " ,'),
        ("Anna doesn't...", "Anna doesn't . . ."),
        ("DER HUND", "der HUND"),  # "Hund" is known, but neither "HUND" nor "hund"
        ("der Hund ...", "der Hund ..."),
        ("he said &quot;", "he said &quot;"),
        ("o'clock U.S.", "o'clock U.S ."),
        ("a" + "!" * 50_000 + "a", "a" + "!" * 50_000 + "a"),  # and quickly
    ],
)
def test_words_are_known_with_punctuation_and_capitals_too(words, typed, tokens):
    assert words.tokens(typed) == tokens.split()


def test_what_is_known_is_only_cut_at_spaces():
    vocabulary = Vocabulary.from_sentences(["Ltd. (c) a.b. The the"])
    assert vocabulary.tokens("Ltd. (c) a.b. The the") == ["Ltd.", "(c)", "a.b.", "The", "the"]


def test_bpe_pieces_grow_from_frequent_pairs():
    vocabulary = BPEVocabulary.from_sentences(["ab ab ab abc cab"], size=4 + 4 + 2)
    assert vocabulary.to_dict()["merges"] == [["a", "b"], ["▁", "ab"]]
    assert vocabulary.tokens("ab cab") == ["▁ab", "▁", "c", "ab"]


def test_bpe_does_not_join_words_with_their_punctuation():
    vocabulary = BPEVocabulary.from_sentences(["dog. t-shirt &apos;s ." for _ in range(9)], 200)
    assert vocabulary.tokens("dog. t-shirt &apos;s .") == [
        "▁dog",
        ".",
        "▁t-shirt",
        "▁&apos;s",
        "▁.",
    ]


@given(st.text(alphabet="abü.-'’&; \t\u00a0\u2028▁_1", max_size=30))
def test_bpe_gives_every_text_back(text):
    vocabulary = BPEVocabulary.from_sentences(["a b ü . - ' ’ & ; _ 1 ab"])
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids).split() == text.replace("▁", " ").split()


def test_bpe_knows_at_most_as_many_tokens_as_asked_for():
    assert len(BPEVocabulary.from_sentences(SENTENCES, size=60)) == 60


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([], "first tokens must be"),
        (["a", *SPECIAL_TOKENS], "first tokens must be"),
        ([*SPECIAL_TOKENS, "a", "b", "a"], "twice"),
        ([*SPECIAL_TOKENS, "</s>"], "twice"),
        ([*SPECIAL_TOKENS, ""], "empty"),
        ([*SPECIAL_TOKENS, 7], "must be a text"),
    ],
)
def test_impossible_tokens_are_named(tokens, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(tokens)
    with pytest.raises(ValueError, match=message):
        BPEVocabulary(tokens, [])


@pytest.mark.parametrize("merge", [("a", "c"), ("a", "b", "c"), ("b", "a"), ("</s>", "a")])
def test_impossible_merges_are_named(merge):
    with pytest.raises(ValueError, match=re.escape(f"{merge} does not join two tokens")):
        BPEVocabulary([*SPECIAL_TOKENS, "a", "b", "ab", "</s>a"], [("a", "b"), merge])


# --- Batches ----------------------------------------------------------------------------


def test_pairs_count_sure_links_as_possible_ones():
    pair = Pair("a b", "c d", sure=frozenset({(0, 0)}), possible=frozenset({(1, 1)}))
    assert pair.possible == {(0, 0), (1, 1)}
    assert pair.sure == {(0, 0)}
    assert Pair("a", "b").possible == frozenset()
    with pytest.raises(AttributeError):
        pair.src = "x"


def test_rows_are_padded_on_the_right():
    padded = pad_rows([[5, 6, 7], [8], []])
    assert padded.tolist() == [[5, 6, 7], [8, PAD, PAD], [PAD] * 3]
    assert padded.dtype == pad_rows([[]]).dtype == torch.long


def test_a_batch_begins_and_ends_where_it_should():
    vocabulary = Vocabulary([*SPECIAL_TOKENS, *"abc"])
    (batch,) = Batches([Pair("a b c", "c"), Pair("a", "b a")], vocabulary, vocabulary)(0)
    rows = sorted(zip(batch.src.tolist(), batch.tgt.tolist(), strict=True))
    assert rows == [
        ([4, END, PAD, PAD], [START, 5, 4, END]),
        ([4, 5, 6, END], [START, 6, END, PAD]),
    ]


def test_source_and_target_have_their_own_vocabulary():
    first, second = Vocabulary([*SPECIAL_TOKENS, *"abc"]), Vocabulary([*SPECIAL_TOKENS, *"cba"])
    (batch,) = Batches([Pair("a b", "a b")], first, second)(0)
    assert (batch.src.tolist(), batch.tgt.tolist()) == ([[4, 5, END]], [[START, 6, 5, END]])


LETTERS = Vocabulary([*SPECIAL_TOKENS, *map(str, range(400))])


def random_pairs(number=300, longest=12):
    """Pairs of sentences of all lengths; no two pairs are the same."""
    lengths = torch.randint(1, longest, (number, 2)).tolist()
    return [
        Pair(" ".join([str(i)] * n), " ".join([str(i)] * m)) for i, (n, m) in enumerate(lengths)
    ]


def as_pairs(batches):
    return [
        (LETTERS.decode(src), LETTERS.decode(tgt))
        for batch in batches
        for src, tgt in zip(batch.src, batch.tgt, strict=True)
    ]


def test_every_epoch_has_every_pair_once():
    pairs = random_pairs()
    batches = Batches(pairs, LETTERS, LETTERS, tokens=100)
    for epoch in range(3):
        assert Counter(as_pairs(batches(epoch))) == Counter((p.src, p.tgt) for p in pairs)
        assert len(batches(epoch)) == len(batches)


@pytest.mark.parametrize("tokens", [13, 14, 50, 100, 10_000])
def test_batches_fill_the_budget_and_no_more(tokens):
    batches = Batches(random_pairs(), LETTERS, LETTERS, tokens)(0)
    assert max(max(batch.src.numel(), batch.tgt.numel()) for batch in batches) <= tokens
    # One more pair, a token longer than the others, would have fitted into the last batch only.
    sizes = [(len(batch.src), max(batch.src.size(1), batch.tgt.size(1))) for batch in batches]
    assert sum((rows + 1) * (longest + 1) <= tokens for rows, longest in sizes) <= 1


def test_sentences_of_like_length_stand_together():
    """As in real text: long sentences have long translations."""
    lengths = [(n, max(1, n + d)) for n in range(1, 30) for d in (-2, -1, -1, 0, 0, 1, 1, 2) * 7]
    pairs = [Pair("1 " * n, "2 " * m) for n, m in lengths]
    assert padding_factor(Batches(pairs, LETTERS, LETTERS, tokens=300)(0)) < 1.03


def test_the_padding_factor_counts_both_sides():
    batch = (torch.tensor([[4, 5, PAD, PAD]]), torch.tensor([[1, 4, 5, 2]]))
    assert padding_factor([batch]) == 8 / 6
    assert padding_factor([batch, (batch[1], batch[1])]) == 16 / 14


def tensors(batches):
    return [tensor.tolist() for batch in batches for tensor in batch]


def test_the_order_follows_from_seed_and_epoch():
    pairs = random_pairs()
    batches = Batches(pairs, LETTERS, LETTERS, tokens=100, seed=1)
    later = Batches(pairs, LETTERS, LETTERS, tokens=100, seed=1)
    later(0), later(7)  # what was asked for before does not matter, nor do other random numbers
    torch.manual_seed(5)
    assert tensors(batches(3)) == tensors(later(3))
    assert tensors(batches(3)) != tensors(batches(4))
    assert tensors(batches(3)) != tensors(Batches(pairs, LETTERS, LETTERS, 100, seed=2)(3))
    assert tensors(Batches(pairs, LETTERS, LETTERS, 100, seed=0)(1)) != tensors(batches(0))


def test_batches_come_in_any_order_of_length():
    batches = Batches(random_pairs(), LETTERS, LETTERS, tokens=100)(0)
    lengths = [max(batch.src.size(1), batch.tgt.size(1)) for batch in batches]
    steps = [second - first for first, second in itertools.pairwise(lengths)]
    assert min(steps) < -3 < 3 < max(steps)


def test_pairs_of_the_same_lengths_meet_others_in_the_next_epoch():
    pairs = [Pair(str(i), str(i)) for i in range(300)]
    batches = Batches(pairs, LETTERS, LETTERS, tokens=30)
    together = [{frozenset(b.src[:, 0].tolist()) for b in batches(epoch)} for epoch in (0, 1)]
    assert len(together[0] & together[1]) < 3


def test_a_pair_that_is_longer_than_the_budget_is_named():
    pairs = [Pair("1", "2"), Pair("3 " * 9, "4"), Pair("3 4", "5 " * 9)]
    assert len(Batches(pairs, LETTERS, LETTERS, tokens=11)) == 3
    with pytest.raises(ValueError, match=r"pair 2 \('3 4'\) has 11 tokens, but .* may have 10"):
        Batches(pairs, LETTERS, LETTERS, tokens=10)
    with pytest.raises(ValueError, match=r"pair 1 \('3 3 3 .*'\) has 10 tokens"):
        Batches(pairs, LETTERS, LETTERS, tokens=9)


def test_a_pair_that_the_model_cannot_read_is_named():
    pairs = [Pair("1", "2"), Pair("3", "4 " * 9), Pair("3 " * 10, "4")]
    assert len(Batches(pairs, LETTERS, LETTERS, max_len=11)) == 1
    with pytest.raises(ValueError, match=r"pair 2 \('3 3 .*\) has 11 tokens.* reads max_len=10"):
        Batches(pairs, LETTERS, LETTERS, max_len=10)
    Batches(pairs[:2], LETTERS, LETTERS, max_len=10)  # the end token is not read
    with pytest.raises(ValueError, match=r"pair 1 \('3'\) has 11 tokens.* reads max_len=9"):
        Batches(pairs[:2], LETTERS, LETTERS, max_len=9)


def test_a_fingerprint_tells_batches_apart():
    batches = [(torch.tensor([[1, 2]]), torch.tensor([[3], [4]]))]
    others = [
        [(torch.tensor([[1, 2]]), torch.tensor([[3], [5]]))],
        [(torch.tensor([[1, 2]]), torch.tensor([[3, 4]]))],
        [(torch.tensor([[3], [4]]), torch.tensor([[1, 2]]))],
        batches * 2,
    ]
    assert len({fingerprint(found) for found in (batches, *others)}) == 5
    assert fingerprint(batches) == fingerprint([[side.clone() for side in batches[0]]])


def test_batches_need_pairs():
    with pytest.raises(ValueError, match="no pairs"):
        Batches([], LETTERS, LETTERS)


# --- Files of one's own -----------------------------------------------------------------


@pytest.fixture
def tsv(tmp_path):
    def write(content):
        path = tmp_path / "own.tsv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


def test_a_file_of_pairs_is_read(tsv):
    assert load_tsv(tsv("a dog\tein Hund\nthe ä\t die  ü \n")) == [
        Pair("a dog", "ein Hund"),
        Pair("the ä", "die  ü"),
    ]
    assert load_tsv(str(tsv("a\tb"))) == [Pair("a", "b")]  # no line end at the end


def test_alignments_are_sure_or_possible(tsv):
    (pair, other) = load_tsv(tsv("a b\tc d e\t0-0 1p2 1-1 0p0\na\tb\t\n"))
    assert pair.sure == {(0, 0), (1, 1)}
    assert pair.possible == {(0, 0), (1, 1), (1, 2)}
    assert other == Pair("a", "b")


@pytest.mark.parametrize("start", ["", "\ufeff", "\ufeff\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n"])
def test_byte_order_marks_and_line_ends_are_no_text(tsv, start, end):
    content = f"{start}a\tb{end}{start}c\td\t0-0{end}"
    pairs = load_tsv(tsv(content))
    assert [(pair.src, pair.tgt) for pair in pairs] == [("a", "b"), ("c", "d")]


def test_unusual_spaces_end_no_line(tsv):
    assert len(load_tsv(tsv("a\u2028b\x85c\tb\u00a0c\nd\te\n"))) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a", "1 columns (a tab separates them), expected 2 or 3"),
        ("a b", "1 columns"),
        ("a\tb\t0-0\tc", "4 columns"),
        ("", "1 columns"),
        ("\tb", "the source has 0 words"),
        ("a\t", "the target has 0 words"),
        ("a\t \u00a0", "the target has 0 words"),
        (b"a\tM\xe4dchen", "not UTF-8: byte 0xe4 at position 3"),
        ("a\tb".encode("utf-16"), "not UTF-8: byte 0xff at position 0"),
        ("a\tb".encode("utf-16-le"), "character '\\x00' does not belong"),
        ("a\tb\rc\td", "character '\\r' does not belong"),
        ("w " * 100_000 + "\tb", "the source has 100,000 words, expected 1 to 1,000"),
        ("a\t" + "w " * 1001, "the target has 1,001 words"),
        ("a\tb\tc", "'c' is not a link such as 0-0 or 0p1"),
        ("a\tb\t0-0 00", "'00' is not a link"),
        ("a\tb\t0-0-0", "'0-0-0' is not a link"),
        ("a\tb\t-1-0", "'-1-0' is not a link"),
        ("a\tb\t0P0", "'0P0' is not a link"),
        ("a\tb\t٠-0", "'٠-0' is not a link"),
        ("a\tb\t" + "9" * 5000 + "-0", "'99999999999999999999' is not a link"),
        ("a b\tc\t2-0", "link 2-0 is outside 2 source and 1 target words"),
        ("a b\tc\t1p1", "link 1p1 is outside 2 source and 1 target words"),
    ],
)
def test_a_bad_line_is_named_with_its_file_and_number(tsv, line, message):
    line = line if isinstance(line, bytes) else line.encode("utf-8")
    path = tsv(b"good\tgut\n\xef\xbb\xbfgood\tgut\t0-0\r\n" + line + b"\ngood\tgut\n")
    with pytest.raises(ValueError, match=re.escape(f"{path}:3: {message}")):
        load_tsv(path)


def test_an_empty_or_missing_file_is_named(tsv, tmp_path):
    path = tsv("")
    with pytest.raises(ValueError, match=re.escape(f"{path}:1: 1 columns")):
        load_tsv(path)
    with pytest.raises(FileNotFoundError, match=r"none\.tsv"):
        load_tsv(tmp_path / "none.tsv")


# --- The course's corpus ----------------------------------------------------------------


@pytest.mark.parametrize("folder", ["transformer_lib/data_files", "data"])
def test_the_corpus_is_found_in_a_wheel_and_in_a_checkout(tmp_path, monkeypatch, folder):
    if folder != "data":  # somebody else's, in site-packages
        (tmp_path / "data" / "en_de").mkdir(parents=True)
    path = tmp_path / folder / "en_de" / "valid.tsv"
    path.parent.mkdir(parents=True)
    path.write_text("a dog\tein Hund\t0p0 1-1\n", encoding="utf-8")
    monkeypatch.setattr(data, "__file__", str(tmp_path / "transformer_lib" / "data.py"))

    assert data.data_folder() == tmp_path / folder
    (pair,) = load_en_de("valid")
    assert (pair.src, pair.tgt, pair.sure) == ("a dog", "ein Hund", {(1, 1)})
    assert pair.possible == {(0, 0), (1, 1)}
    with pytest.raises(FileNotFoundError, match=r"train\.tsv is missing: install"):
        load_en_de("train")
    path.write_text("a dog\tein Hund\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"valid\.tsv:1: 2 columns .*, expected 3"):
        load_en_de("valid")


def test_the_wheel_takes_the_data_to_where_it_is_looked_for():
    with open(ROOT / "pyproject.toml", "rb") as file:
        wheel = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "data" in wheel["only-include"]
    assert wheel["sources"] == {"data": "transformer_lib/data_files"}


@pytest.mark.parametrize("split", ["dev", "", "../train"])
def test_a_split_that_does_not_exist_is_named(split):
    with pytest.raises(ValueError, match=f"train, valid, test, test_comp.*, got '{split}'"):
        load_en_de(split)
    with pytest.raises(ValueError, match=f"one of train, valid, test, got '{split}'"):
        load_multi30k(split)


# --- Multi30k, from a server and from a folder ------------------------------------------


class Server(ThreadingHTTPServer):
    """Serve `files`, a dictionary of paths and bytes; note what was asked for."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked, self.cut_off = {}, [], 0
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/data"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path.removeprefix("/data/"))
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) - self.server.cut_off])

    def log_message(self, *args):
        pass


ENGLISH, GERMAN = "A dog.\nTwo  men.\n", "Ein Hund.\nZwei Männer. \n"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A small Multi30k of one split, on a server of our own, with a cache of its own."""
    import pooch

    server = Server()
    for language, text in (("en", ENGLISH), ("de", GERMAN)):
        server.files[f"raw/val.{language}.gz"] = gzip.compress(text.encode("utf-8"))
        server.files[f"tok/val.lc.norm.tok.{language}"] = text.lower().encode("utf-8")
    hashes = (f"{hashlib.sha256(text).hexdigest()} {file}\n" for file, text in server.files.items())
    monkeypatch.setattr(data, "MULTI30K_SHA256", "\n" + "".join(hashes))
    monkeypatch.setattr(data, "MULTI30K_URL", server.url)
    monkeypatch.setitem(data.MULTI30K_SPLITS, "valid", ("val", 2))
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("TRANSFORMER_LIB_MULTI30K", raising=False)
    yield server
    server.shutdown()
    server.server_close()


CACHED = "cache/transformer_lib/multi30k/val.en.gz"
PAIRS = [Pair("A dog.", "Ein Hund."), Pair("Two  men.", "Zwei Männer.")]
WITHOUT_NETWORK = r"Fetch http.*val\.en\.gz .* folder=…\), .* TRANSFORMER_LIB_MULTI30K"


def test_multi30k_is_downloaded_once(server, tmp_path):
    assert load_multi30k("valid") == PAIRS
    assert server.asked == ["/data/raw/val.en.gz", "/data/raw/val.de.gz"]
    assert load_multi30k("valid") == PAIRS
    assert len(server.asked) == 2
    assert (tmp_path / CACHED).exists()


def test_a_damaged_file_in_the_cache_is_downloaded_again(server, tmp_path):
    load_multi30k("valid")
    (tmp_path / CACHED).write_bytes(b"damaged")
    assert load_multi30k("valid") == PAIRS
    assert server.asked[2:] == ["/data/raw/val.en.gz"]


def test_the_tokenised_text_is_downloaded_as_it_is(server):
    assert load_multi30k("valid", tokenised=True)[1] == Pair("two  men.", "zwei männer.")
    assert server.asked == ["/data/tok/val.lc.norm.tok.en", "/data/tok/val.lc.norm.tok.de"]


def test_another_text_on_the_server_is_refused(server, tmp_path):
    server.files["raw/val.en.gz"] = gzip.compress(b"A cat.\nTwo men.\n")
    with pytest.raises(ValueError, match=rf"(?s)val\.en\.gz came damaged; .*{WITHOUT_NETWORK}"):
        load_multi30k("valid")
    assert not (tmp_path / CACHED).exists()


def test_a_file_that_is_not_on_the_server_is_named(server):
    del server.files["raw/val.en.gz"]
    with pytest.raises(ConnectionError, match=rf"val\.en\.gz could not .*404.*{WITHOUT_NETWORK}"):
        load_multi30k("valid")


def test_a_download_that_breaks_off_leaves_nothing(server, tmp_path):
    server.cut_off = 5
    with pytest.raises((ConnectionError, ValueError), match=WITHOUT_NETWORK):
        load_multi30k("valid")
    assert not (tmp_path / CACHED).exists()
    server.cut_off = 0
    assert load_multi30k("valid") == PAIRS


def test_without_a_network_one_is_told_what_to_do(server, monkeypatch):
    free = Server()  # a port that nobody listens to any more
    monkeypatch.setattr(data, "MULTI30K_URL", free.url)
    free.shutdown()
    free.server_close()
    with pytest.raises(ConnectionError, match=rf"could not be downloaded: .*{WITHOUT_NETWORK}"):
        load_multi30k("valid")


def test_what_is_in_the_cache_needs_no_network(server):
    load_multi30k("valid")
    server.files.clear()
    assert load_multi30k("valid") == PAIRS


@pytest.fixture
def folder(server, tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    for file, content in server.files.items():
        (folder / Path(file).name).write_bytes(content)
    return folder


def test_a_folder_of_ones_own_is_read_instead(server, folder, monkeypatch):
    assert load_multi30k("valid", folder) == PAIRS
    assert load_multi30k("valid", str(folder), tokenised=True)[0].src == "a dog."
    monkeypatch.setenv("TRANSFORMER_LIB_MULTI30K", str(folder))
    assert load_multi30k("valid") == PAIRS
    monkeypatch.setenv("TRANSFORMER_LIB_MULTI30K", "/nowhere")
    assert load_multi30k("valid", folder) == PAIRS
    assert server.asked == []
    monkeypatch.setenv("TRANSFORMER_LIB_MULTI30K", "")
    assert load_multi30k("valid") == PAIRS
    assert len(server.asked) == 2


def test_a_tokenised_text_may_be_gzipped(folder):
    for path in folder.glob("*.tok.??"):
        (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert load_multi30k("valid", folder, tokenised=True)[1].tgt == "zwei männer."


def test_a_folder_that_lacks_a_file_is_named(folder, tmp_path):
    (folder / "val.de.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"no val\.de\.gz in .*own\. Fetch http"):
        load_multi30k("valid", folder)
    with pytest.raises(FileNotFoundError, match=rf"no val\.en\.gz in .*none\. {WITHOUT_NETWORK}"):
        load_multi30k("valid", tmp_path / "none")


@pytest.mark.parametrize("tokenised", [False, True])
@pytest.mark.parametrize("spoil", [lambda b: b[:-9], lambda b: b + b"\n", lambda b: b""])
def test_a_damaged_file_in_the_folder_is_named(folder, tokenised, spoil):
    path = folder / ("val.lc.norm.tok.en.gz" if tokenised else "val.en.gz")
    if tokenised:
        plain = path.with_suffix("")
        content = spoil(gzip.compress(plain.read_bytes(), mtime=0))
        if content.endswith(b"\n"):
            content = gzip.compress(plain.read_bytes() + b"\n")
        plain.unlink()
        path.write_bytes(content)
    else:
        path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"{path.name} is damaged or foreign: SHA-256 .*Fetch"):
        load_multi30k("valid", folder, tokenised)


def test_a_text_of_another_length_is_named(folder, monkeypatch):
    monkeypatch.setitem(data.MULTI30K_SPLITS, "valid", ("val", 3))
    with pytest.raises(ValueError, match="val: 2 and 2 lines, expected 3 of each"):
        load_multi30k("valid", folder)


@pytest.mark.usefixtures("multi30k")
@pytest.mark.parametrize("tokenised", [False, True])
def test_the_real_multi30k_is_read(tokenised):
    pairs = [load_multi30k(split, tokenised=tokenised) for split in ("train", "valid", "test")]
    assert [len(split) for split in pairs] == [29000, 1014, 1000]
    hat = pairs[2][0].tgt
    assert ("hut , der" in hat) if tokenised else ("Hut, der" in hat)
