"""Write the English-German corpus of the course, with gold word alignments.

    python data/generate_en_de.py [--out FOLDER] [--seed N]

The lexicon is in ``lexicon_en_de.toml``; the grammar is here. A sentence is drawn once, as
phrases (``NP``, ``Adverbial``, ``Clause``), and said twice, in English and in German. Both
sayings mark each word with the idea it expresses, so the alignment is known, not guessed.

Read it from the top: words, tokens, noun phrases, clauses, drawing, constructions, corpus.
"""

import argparse
import random
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count
from pathlib import Path

HERE = Path(__file__).parent
LEXICON = tomllib.loads((HERE / "lexicon_en_de.toml").read_text(encoding="utf-8"))
MAX_TOKENS = 16  # per side, in every file but test_long.tsv
MAX_LONG = 28  # per side, in test_long.tsv
SIZES = {"train": 20_000, "valid": 1_000, "test": 1_000}
EXTRA_SIZE = 500  # test_compositional and test_long
MIN_COUNT = 8  # a word form stands at least this often in train, valid and test together
HELD_OUT_PAIRS = 260


# ------------------------------------------------------------------ words: the lexicon


@dataclass(frozen=True)
class Noun:
    """A noun: its German article gives the gender, `tags` say what it is."""

    en: str
    de: str
    gender: str
    plural: str | None
    genitive: str
    tags: frozenset[str]
    at: tuple[str, str] | None = None
    to: tuple[str, str] | None = None

    @property
    def en_plural(self) -> str:
        """English plural, irregular ones from the lexicon."""
        return LEXICON["english"]["plurals"].get(self.en) or add_s(self.en)

    def german(self, case: str, plural: bool) -> str:
        """The form for a case: only genitive, dative plural and weak nouns change."""
        if plural:
            word = self.plural
            return word + "n" if case == "dat" and word[-1] not in "ns" else word
        if case != "nom" and "weak" in self.tags:
            return self.de + (
                "n" if self.de[-1] == "e" or self.de in ("Bauer", "Nachbar") else "en"
            )
        return self.genitive if case == "gen" else self.de


@dataclass(frozen=True)
class Verb:
    """A verb: English words and German infinitive, with what it may be combined with."""

    en: str
    de: str
    frame: str
    info: dict = field(hash=False, compare=False)

    @property
    def prefix(self) -> str:
        """The separable prefix, or the empty string."""
        return self.de.partition("|")[0] if "|" in self.de else ""

    @property
    def base(self) -> str:
        """The infinitive without a separable prefix."""
        return self.de.split("|")[-1]

    @property
    def infinitive(self) -> str:
        """The whole infinitive."""
        return self.prefix + self.base

    def __getattr__(self, name: str) -> object:
        """Fields of the lexicon entry: `verb.er`, `verb.why`, None when absent."""
        return self.info.get(name)


@dataclass(frozen=True)
class Adjective:
    """An adjective with the nouns it can describe."""

    en: str
    de: str
    stem: str
    comparative: str | None
    nouns: frozenset[str]


def load_nouns() -> dict[str, Noun]:
    """All nouns by their English name."""
    nouns = {}
    for kind, entries in LEXICON["nouns"].items():
        for en, entry in entries.items():
            spec = entry if isinstance(entry, dict) else {"de": entry}
            german, plural, *tags = (part.strip() for part in spec["de"].split(","))
            article, word = german.split()
            genitive = next((t[4:] for t in tags if t.startswith("gen=")), None)
            gender = {"der": "m", "die": "f", "das": "n"}[article]
            nouns[en] = Noun(
                en,
                word,
                gender,
                None if plural == "-" else plural,
                genitive or genitive_of(word, gender),
                frozenset([kind, en, *tags]),
                *(tuple(spec[key]) if key in spec else None for key in ("at", "to")),
            )
    return nouns


def genitive_of(word: str, gender: str) -> str:
    """Regular genitive: none if feminine, -es after a hiss or one syllable, else -s."""
    if gender == "f":
        return word
    vowels = sum(
        a in "aeiouyäöü" and b not in "aeiouyäöü"
        for a, b in zip(word.lower(), word.lower()[1:] + " ", strict=True)
    )
    return word + ("es" if word[-1] in "sßzx" or (vowels == 1 and word[-1] not in "aeiou") else "s")


@cache
def select(spec: str) -> frozenset[str]:
    """Names of the nouns that a selection such as "person -kid animal.farm" picks."""
    chosen, removed = set(), set()
    for term in spec.split():
        if term.lstrip("-") in LEXICON["groups"]:
            names = set(select(LEXICON["groups"][term.lstrip("-")]))
        else:
            parts = set(term.lstrip("-").split("."))
            names = {name for name, noun in NOUNS.items() if parts <= noun.tags}
        if not names:
            raise ValueError(f"lexicon: {term!r} in {spec!r} picks no noun")
        (removed if term.startswith("-") else chosen).update(names)
    return frozenset(chosen - removed)


def load_adjectives() -> dict[str, Adjective]:
    """All adjectives by their English name."""
    return {
        en: Adjective(
            en,
            entry["de"],
            entry.get("stem", entry["de"]),
            entry["de"].removesuffix("e") + "er" if entry.get("cmp") == "+" else entry.get("cmp"),
            select(entry["for"]),
        )
        for en, entry in LEXICON["adjectives"].items()
    }


NOUNS = load_nouns()
ADJECTIVES = load_adjectives()
VERBS = {
    frame: {
        en: Verb(en.replace("+", " "), info["de"], frame, {"en": en} | info)
        for en, info in entries.items()
    }
    for frame, entries in LEXICON["verbs"].items()
}
BE, HAVE, KNOW, BECOME = (VERBS["special"][name] for name in ("be", "have", "know", "become"))


# ------------------------------------------------------------------ words: English forms


def add_s(word: str) -> str:
    """Plural of a noun, third person of a verb."""
    if word[-1] == "y" and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "sh", "ch", "x", "z", "o")) else "s")


def doubled(verb: str) -> str:
    """The stem before -ed and -ing: run -> runn."""
    return verb + verb[-1] if verb in LEXICON["english"]["double"]["words"] else verb


def english_past(verb: Verb) -> list[str]:
    """Simple past as words: looked for."""
    if verb.past:
        return verb.past.split()
    head, *rest = verb.en.split()
    if verb.past == "":
        return [head, *rest]
    if head[-1] == "y" and head[-2] not in "aeiou":
        return [head[:-1] + "ied", *rest]
    return [doubled(head).removesuffix("e") + "ed", *rest]


def english_ing(verb: Verb) -> list[str]:
    """Present participle as words: looking for."""
    head, *rest = verb.en.split()
    if head.endswith("ie"):
        head = head[:-2] + "y"
    elif head[-1] == "e" and head[-2] not in "e":
        head = head[:-1]
    return [doubled(head) + "ing", *rest]


def english_comparative(adjective: Adjective) -> list[str]:
    """As words: older, or more interesting."""
    en = adjective.en
    if en in LEXICON["english"]["comparatives"]:
        return [LEXICON["english"]["comparatives"][en]]
    if en in LEXICON["english"]["long_comparatives"]["words"]:
        return ["more", en]
    return [en[:-1] + "ier" if en[-1] == "y" else en.removesuffix("e") + "er"]


def be_form(person: int, plural: bool, past: bool = False) -> str:
    """A form of to be; "you" counts as plural in English."""
    if past:
        return "were" if plural or person == 2 else "was"
    return "are" if plural or person == 2 else {1: "am", 3: "is"}[person]


# ------------------------------------------------------------------ words: German forms

SEIN = {(1, False): "bin", (2, False): "bist", (3, False): "ist"}
WERDEN = {(1, False): "werde", (2, False): "wirst", (3, False): "wird"}


def german_stem(base: str) -> str:
    """The infinitive without -en or -n."""
    return base[:-2] if base.endswith("en") else base[:-1]


def needs_e(stem: str) -> bool:
    """Whether -t and -st need an e before them: arbeit-e-t, öffn-e-t, zeichn-e-t."""
    return (
        stem[-1] in "td"
        or (stem[-1] in "mn" and stem[-2] not in "aeiouäöürlmnh")
        or (stem.endswith("chn"))
    )


def german_present(verb: Verb, person: int, plural: bool) -> str:
    """Present tense of the verb without its prefix."""
    key = (person, plural)
    if verb.base == "sein":
        return SEIN.get(key, "sind")
    if verb.base == "werden":
        return WERDEN.get(key, "werden")
    if plural:
        return verb.base
    stem = german_stem(verb.base)
    if person == 1:
        if verb.base in ("mögen", "wissen"):
            return verb.er
        return (stem[:-2] + "l" if verb.base.endswith("eln") else stem) + "e"
    if person == 3:
        return verb.er or stem + ("et" if needs_e(stem) else "t")
    if verb.er:
        stem = verb.er.removesuffix("t") if verb.base != "halten" else "hält"
    return stem + ("est" if needs_e(stem) and not verb.er else "t" if stem[-1] in "sßz" else "st")


def german_preterite(stem: str, person: int, plural: bool) -> str:
    """The preterite, used for sein, haben, wissen and the modals: war, hatte, konnte."""
    if stem == "war":
        return "waren" if plural else "warst" if person == 2 else "war"
    return stem + ("n" if plural else "st" if person == 2 else "")


def german_participle(verb: Verb) -> str:
    """The past participle: gekauft, besucht, repariert, aufgemacht."""
    if verb.part:
        return verb.part
    stem = german_stem(verb.base)
    bare = verb.base.startswith(("be", "ver", "er", "ge", "ent", "zer")) or stem.endswith("ier")
    return verb.prefix + ("" if bare else "ge") + stem + ("et" if needs_e(stem) else "t")


CASES = {"nom": 0, "acc": 1, "dat": 2, "gen": 3}
DER_ENDINGS = {  # nom, acc, dat, gen
    "m": ("er", "en", "em", "es"),
    "f": ("e", "e", "er", "er"),
    "n": ("es", "es", "em", "es"),
    "pl": ("e", "e", "en", "er"),
}
ARTICLES = {
    "m": ("der", "den", "dem", "des"),
    "f": ("die", "die", "der", "der"),
    "n": ("das", "das", "dem", "des"),
    "pl": ("die", "die", "den", "der"),
}
POSSESSIVES = {
    "my": "mein",
    "your": "dein",
    "his": "sein",
    "her": "ihr",
    "its": "sein",
    "our": "unser",
    "their": "ihr",
}
EIN_WORDS = {"a": "ein", "no": "kein", **POSSESSIVES}
DER_WORDS = {"this": "dies", "every": "jed", "which": "welch"}
PLURAL_WORDS = {"many": "viele", "some": "einige", **LEXICON["numerals"]}
ENGLISH_PLURAL_DET = {"this": "these"}


def german_determiner(det: str, slot: str, case: str) -> str:
    """A determiner in gender (or "pl") and case; the empty string for none."""
    ending = DER_ENDINGS[slot][CASES[case]]
    if det == "the":
        return ARTICLES[slot][CASES[case]]
    if det in DER_WORDS:
        return DER_WORDS[det] + ending
    if det in EIN_WORDS:
        bare = (slot, case) in (("m", "nom"), ("n", "nom"), ("n", "acc"))
        return EIN_WORDS[det] + ("" if bare else ending)
    if det in ("many", "some"):
        return PLURAL_WORDS[det] + ("n" if case == "dat" else "")
    return PLURAL_WORDS.get(det, "")


def adjective_ending(det: str, slot: str, case: str) -> str:
    """Weak after der-words, strong without an article; ein-words are strong where bare."""
    strong = DER_ENDINGS[slot][CASES[case]]
    if det in EIN_WORDS and (slot, case) in (("m", "nom"), ("n", "nom"), ("n", "acc")):
        return strong
    if det == "the" or det in DER_WORDS or det in EIN_WORDS:
        singular = slot != "pl" and (case == "nom" or (case == "acc" and slot != "m"))
        return "e" if singular else "en"
    return "en" if case == "gen" and slot in "mn" else strong


# ------------------------------------------------------------------ tokens and their alignment

FRESH = count()


@dataclass
class Token:
    """A word, the ideas that it says (`keys`) and those that it only hints at (`maybe`)."""

    text: str
    keys: frozenset
    maybe: frozenset = frozenset()


def tok(text: str, *keys: object, maybe: object = ()) -> Token:
    """Make a token."""
    return Token(text, frozenset(keys), frozenset(maybe))


def comma(*maybe: object) -> Token:
    """A comma that the other language may lack: possible link to the word that calls for it."""
    return tok(",", maybe=maybe)


def words(text: str, key: object) -> list[Token]:
    """A fixed phrase, all its words saying the same idea."""
    return [tok(word, key) for word in text.split()]


def tidy(tokens: list[Token]) -> list[Token]:
    """Merge commas that meet, drop one before the end of the sentence."""
    out: list[Token] = []
    for token in tokens:
        if out and out[-1].text == "," and token.text == ",":
            last = out.pop()
            token = Token(",", last.keys | token.keys, last.maybe | token.maybe)
        elif out and out[-1].text == "," and token.text in ".?":
            out.pop()
        out.append(token)
    return out


def align(english: list[Token], german: list[Token]) -> str:
    """Pharaoh format: `i-j` if the words share an idea, `ipj` if one hints at the other's."""
    links = []
    for i, en in enumerate(english):
        for j, de in enumerate(german):
            if en.keys & de.keys:
                links.append(f"{i}-{j}")
            elif en.keys & de.maybe or en.maybe & de.keys:
                links.append(f"{i}p{j}")
    return " ".join(links)


# ------------------------------------------------------------------ phrases


@dataclass(eq=False)
class NP:
    """A noun phrase: a noun with its company, a name, a pronoun, or two joined by "and"."""

    noun: Noun | None = None
    det: str = ""
    plural: bool = False
    adjectives: list[Adjective] = field(default_factory=list)
    pronoun: str = ""
    name: str = ""
    both: tuple["NP", "NP"] | None = None
    owner: "NP | None" = None  # Anna's book, the teacher's book
    whole: "NP | None" = None  # the roof of the house
    content: "NP | None" = None  # a glass of water
    relative: "Relative | None" = None
    antecedent: "NP | None" = None  # of it, its
    question: str = ""  # who, what
    gap: bool = False  # what a relative pronoun stands for
    key: int = field(default_factory=lambda: next(FRESH))

    @property
    def person(self) -> int:
        """1, 2 or 3."""
        return {"I": 1, "we": 1, "you": 2}.get(self.pronoun, 3)

    @property
    def is_plural(self) -> bool:
        """Grammatical number; "you" is the singular du."""
        return self.plural or self.both is not None or self.pronoun in ("we", "they")

    @property
    def slot(self) -> str:
        """Gender, or "pl"."""
        return "pl" if self.is_plural else self.noun.gender

    @property
    def definite(self) -> bool:
        """Whether a negation is `nicht` rather than `kein`."""
        return not (self.noun and self.det in ("", "a") and not self.owner)

    @property
    def they(self) -> str:
        """The English pronoun that stands for it."""
        if self.pronoun:
            return self.pronoun
        if self.is_plural:
            return "they"
        if self.name:
            return "she" if self.name in LEXICON["names"]["female"] else "he"
        if "person" not in self.noun.tags:
            return "it"
        return {"m": "he", "f": "she", "n": "it"}[self.noun.gender]


@dataclass(eq=False)
class Relative:
    """A relative clause; `clause` has `gap` where the antecedent would stand."""

    clause: "Clause"
    gap: NP
    case: str


@dataclass(eq=False)
class Adverbial:
    """A fixed adverbial ("yesterday") or a preposition with a noun phrase."""

    en: str
    de: str
    np: NP | None = None
    case: str = ""
    key: int = field(default_factory=lambda: next(FRESH))


PRONOUNS = {  # English subject and object; German nominative, accusative, dative
    "I": ("I", "me", "ich", "mich", "mir"),
    "you": ("you", "you", "du", "dich", "dir"),
    "he": ("he", "him", "er", "ihn", "ihm"),
    "she": ("she", "her", "sie", "sie", "ihr"),
    "it": ("it", "it", "es", "es", "ihm"),
    "we": ("we", "us", "wir", "uns", "uns"),
    "they": ("they", "them", "sie", "sie", "ihnen"),
}
BY_GENDER = {"m": "he", "f": "she", "n": "it", "pl": "they"}
OWNERS = {
    "I": "my",
    "you": "your",
    "he": "his",
    "she": "her",
    "it": "its",
    "we": "our",
    "they": "their",
}
WER = {"nom": "wer", "acc": "wen", "dat": "wem"}


def indefinite(word: str) -> str:
    """Choose between a and an."""
    return "an" if (word[0] in "aeiou" and not word.startswith("us")) or word == "honest" else "a"


def english_np(np: NP, subject: bool = False) -> list[Token]:
    """Say a noun phrase in English."""
    if np.pronoun:
        text = PRONOUNS[np.pronoun][0 if subject else 1]
        return [tok(text, np.key)]
    if np.name:
        return [tok(np.name, np.key)]
    if np.question:
        return [tok("whom" if np.question == "who" and not subject else np.question, np.key)]
    if np.both:
        first, second = np.both
        return [
            *english_np(first, subject),
            tok("and", ("and", np.key)),
            *english_np(second, subject),
        ]
    core = [tok(a.en, ("adj", np.key, i)) for i, a in enumerate(np.adjectives)]
    core.append(tok(np.noun.en_plural if np.plural else np.noun.en, np.key))
    if np.owner:
        start = [*english_np(np.owner), tok("'s", ("'s", np.key))]
    else:
        det = ENGLISH_PLURAL_DET.get(np.det, np.det) if np.plural else np.det
        det = indefinite(core[0].text) if det == "a" else det
        start = [tok(det, ("det", np.key))] if det else []
        if np.det == "which many":
            start = [tok("how", ("how", np.key)), tok("many", ("det", np.key))]
    after = []
    for kind, inner in (("of", np.whole), ("of", np.content)):
        if inner:
            hint = ("det", inner.key) if inner.det else inner.key
            after += [tok(kind, maybe=[hint]), *english_np(inner)]
    if np.relative:
        after += english_relative(np)
    return start + core + after


def english_relative(np: NP) -> list[Token]:
    """Say the relative clause of a noun phrase in English."""
    person = "person" in np.noun.tags
    nominative = np.relative.case == "nom"
    pronoun = ("who" if nominative else "whom") if person else "that"
    relative = tok(pronoun, ("rel", np.key))
    return [relative, *english_clause(np.relative.clause, gap=np.relative.gap)]


def german_np(np: NP, case: str, negation: object = None) -> list[Token]:
    """Say a noun phrase in German; a `negation` (its key) turns ein and no article into kein."""
    if np.pronoun:
        return [german_pronoun(np, case)]
    if np.name:
        return [tok(LEXICON["cities"].get(np.name, np.name), np.key)]
    if np.question:
        return [tok(WER[case] if np.question == "who" else "was", np.key)]
    if np.both:
        first, second = np.both
        return [*german_np(first, case), tok("und", ("and", np.key)), *german_np(second, case)]
    det, owner_first = np.det, []
    after: list[Token] = []
    if np.owner and np.owner.name:
        owner_first = [tok(np.owner.name + "s", np.owner.key, ("'s", np.key))]
        det = ""
    elif np.owner:
        det = "the"
        after = german_np(np.owner, "gen")
        after[0] = Token(after[0].text, after[0].keys, after[0].maybe | {("'s", np.key)})
    keys = {("det", np.key)}
    if negation:
        det, keys = "no", keys | {negation}
    start = german_start(np, det, case, keys)
    ending = adjective_ending(det, np.slot, case)
    core = [tok(a.stem + ending, ("adj", np.key, i)) for i, a in enumerate(np.adjectives)]
    core.append(tok(np.noun.german(case, np.plural), np.key))
    if np.whole:
        after = german_np(np.whole, "gen")
    if np.content:
        after = german_np(np.content, "nom")
    return owner_first + start + core + after


def german_start(np: NP, det: str, case: str, keys: set) -> list[Token]:
    """The determiner, hinting at the noun whose gender decides its form."""
    if det == "which many":
        return [tok("wie", ("how", np.key)), tok("viele", ("det", np.key))]
    text = german_determiner(det, np.slot, case)
    hints = [] if det in LEXICON["numerals"] else [np.key]
    if np.det == "its":
        hints.append(np.antecedent.key)
        if np.antecedent.slot == "f":
            text = "ihr" + text.removeprefix("sein")
    return [Token(text, frozenset(keys), frozenset(hints))] if text else []


def german_pronoun(np: NP, case: str) -> Token:
    """A personal pronoun; "it" takes the gender of its antecedent."""
    row = PRONOUNS[np.pronoun]
    if np.pronoun == "it" and np.antecedent:
        row = PRONOUNS[BY_GENDER[np.antecedent.slot]]
    hints = [np.antecedent.key] if np.antecedent and np.pronoun == "it" else []
    return tok(row[2 + CASES[case]], np.key, maybe=hints)


def german_relative(np: NP) -> list[Token]:
    """Comma, relative pronoun in gender and case, clause with its verb last, comma."""
    relative = np.relative
    key = ("rel", np.key)
    text = ARTICLES[np.slot][CASES[relative.case]]
    if np.slot == "pl" and relative.case == "dat":
        text = "denen"
    pronoun = tok(text, key, maybe=[np.key])
    body = german_clause(relative.clause, "final", gap=relative.gap)
    return [comma(key), pronoun, *body, comma(key)]


def with_relative(np: NP, case: str) -> list[Token]:
    """A noun phrase and, right behind it, its relative clause."""
    return german_np(np, case) + (german_relative(np) if np.relative else [])


CONTRACTIONS = {
    "in dem": "im",
    "an dem": "am",
    "zu dem": "zum",
    "zu der": "zur",
    "von dem": "vom",
    "in das": "ins",
    "an das": "ans",
}


def english_adverbial(phrase: Adverbial) -> list[Token]:
    """Say an adverbial in English."""
    if phrase.np:
        return words(phrase.en, phrase.key) + english_np(phrase.np)
    return linked_words(phrase.en, phrase.de, phrase.key)[0]


def german_adverbial(phrase: Adverbial) -> list[Token]:
    """Say an adverbial in German, contracting in dem to im."""
    if not phrase.np:
        return linked_words(phrase.en, phrase.de, phrase.key)[1]
    inner = german_np(phrase.np, phrase.case)
    head = tok(phrase.de, phrase.key)
    short = CONTRACTIONS.get(f"{phrase.de} {inner[0].text}")
    if short and phrase.np.det == "the":
        return [Token(short, head.keys | inner[0].keys, inner[0].maybe), *inner[1:]]
    return [head, *inner]


def linked_words(en: str, de: str, key: object) -> tuple[list[Token], list[Token]]:
    """A fixed pair: word by word if the lengths agree, else all with all."""
    sides = en.split(), de.split()
    if len(sides[0]) != len(sides[1]):
        return words(en, key), words(de, key)
    return tuple([tok(word, (key, i)) for i, word in enumerate(side)] for side in sides)


# ------------------------------------------------------------------ clauses


@dataclass(eq=False)
class Clause:
    """Who does what to whom, how, where, when. `tense`: present, progressive, past, future."""

    verb: Verb
    subject: NP
    tense: str = "present"
    modal: str = ""
    negated: bool = False
    direct: NP | None = None
    dative: NP | None = None
    prepositional: NP | None = None
    predicate: "Predicate | None" = None
    frequency: Adverbial | None = None
    manner: Adverbial | None = None
    company: Adverbial | None = None
    place: Adverbial | None = None
    time: Adverbial | None = None
    key: int = field(default_factory=lambda: next(FRESH))

    @property
    def uses_kein(self) -> bool:
        """Whether the negation sits in the direct object: kein Auto."""
        return self.negated and self.direct is not None and not self.direct.definite


@dataclass(eq=False)
class Predicate:
    """What follows to be: an adjective, compared or with an adverb of degree."""

    adjective: Adjective
    degree: str = ""
    than: NP | None = None
    equal: bool = False
    years: str = ""
    key: int = field(default_factory=lambda: next(FRESH))


def english_predicate(p: Predicate) -> list[Token]:
    """Say a predicate in English."""
    adjective = tok(p.adjective.en, p.key)
    if p.years:
        return [tok(p.years, (p.key, 0)), tok("years", (p.key, 1)), tok("old", p.key)]
    if p.equal:
        return [tok("as", (p.key, 0)), adjective, tok("as", (p.key, 1)), *english_np(p.than)]
    if p.than:
        forms = words(" ".join(english_comparative(p.adjective)), p.key)
        return [*forms, tok("than", (p.key, 1)), *english_np(p.than)]
    return [tok(p.degree, (p.key, 0)), adjective] if p.degree else [adjective]


def german_predicate(p: Predicate) -> list[Token]:
    """Say a predicate in German."""
    adjective = tok(p.adjective.de, p.key)
    if p.years:
        number = LEXICON["numerals"][p.years]
        return [tok(number, (p.key, 0)), tok("Jahre", (p.key, 1)), tok("alt", p.key)]
    if p.equal:
        return [tok("so", (p.key, 0)), adjective, tok("wie", (p.key, 1)), *german_np(p.than, "nom")]
    if p.than:
        head = [tok(p.adjective.comparative, p.key), tok("als", (p.key, 1))]
        return head + german_np(p.than, "nom")
    degree = LEXICON["adverbs"]["degree"].get(p.degree)
    return [tok(degree, (p.key, 0)), adjective] if degree else [adjective]


def english_verb(c: Clause, support: bool) -> tuple[list[Token], list[Token]]:
    """Auxiliary and main part. `support`: a question or "not" calls for do, does, did."""
    verb, aux, person, plural = c.verb, ("aux", c.key), c.subject.person, c.subject.is_plural
    third = person == 3 and not plural
    head, *rest = verb.en.split()
    tail = [tok(word, *particle_keys(c)) for word in rest]
    base = [tok(head, c.key), *tail]
    to = tok("to", maybe=[c.key])
    if c.modal:
        entry = LEXICON["modals"][c.modal]
        if c.modal == "would":
            return [tok("would", aux)], [tok("like", aux), to, *base]
        if c.modal != "want" and not (c.modal == "must" and c.tense == "past"):
            return [tok(entry["past"] if c.tense == "past" else c.modal, aux)], base
        plain, past = ("want", "wanted") if c.modal == "want" else ("have", "had")
        if support:
            do = "did" if c.tense == "past" else "does" if third else "do"
            return [tok(do, maybe=[aux])], [tok(plain, aux), to, *base]
        form = past if c.tense == "past" else add_s(plain) if third else plain
        return [], [tok(form, aux), to, *base]
    if c.tense == "future":
        return [tok("will", aux)], base
    if verb is BE:
        return [tok(be_form(person, plural, c.tense == "past"), c.key)], []
    if c.tense == "progressive":
        ing = [tok(english_ing(verb)[0], c.key), *tail]
        return [tok(be_form(person, plural), maybe=[c.key])], ing
    if support:
        does = "does" if third else "do"
        do = tok("did", aux, maybe=[c.key]) if c.tense == "past" else tok(does, maybe=[c.key])
        return [do], base
    if c.tense == "past":
        return [], [tok(english_past(verb)[0], c.key), *tail]
    head = {"have": "has"}.get(head, add_s(head)) if third else head
    return [], [tok(head, c.key), *tail]


def particle_keys(c: Clause) -> list[object]:
    """A preposition of the verb ("wait for") links to the German one, a particle to the verb."""
    return [("prep", c.key)] if c.verb.prep else [c.key]


def english_clause(
    c: Clause, question: bool = False, front: object = None, gap: NP | None = None
) -> list[Token]:
    """Say a clause in English. `front` stands first, `gap` is left out."""
    inverted = question and c.subject is not front
    aux, main = english_verb(c, support=inverted or (c.negated))
    subject = [] if c.subject in (gap, front) else english_np(c.subject, subject=True)
    if c.negated:
        if aux[0].text == "can":
            negated_aux = [Token("cannot", aux[0].keys | {("not", c.key)}, aux[0].maybe)]
        else:
            negated_aux = [*aux, tok("not", ("not", c.key))]
    else:
        negated_aux = aux
    split = 1 if inverted else 0
    order = [*negated_aux[:split], *subject, *negated_aux[split:]]
    frequency = english_adverbial(c.frequency) if c.frequency else []
    direct = [] if c.direct is None or c.direct in (gap, front) else english_np(c.direct)
    dative = [] if c.dative is None or c.dative in (gap, front) else english_np(c.dative)
    if c.dative and c.direct and c.verb.to:
        objects = [*direct, tok("to", maybe=[c.dative.key]), *dative]
    else:
        objects = dative + direct
    if "+" in c.verb.info["en"] and c.direct and c.direct.pronoun:
        main, objects = main[:-1], objects + main[-1:]
    if c.verb.en == "read aloud":
        main, objects = main[:-1], [*direct, *main[-1:], *objects[len(direct) :]]
    out = order + frequency + main + objects
    if c.prepositional and c.prepositional not in (gap, front):
        out += english_np(c.prepositional)
    if c.predicate:
        out += english_predicate(c.predicate)
    near = (c.place, c.company) if c.verb.frame == "motion" or c.verb.goal else (c.company, c.place)
    for part in (c.manner, *near, c.time):
        if part and part is not front:
            out += english_adverbial(part)
    if front is None:
        return out
    if isinstance(front, NP):
        return english_np(front, subject=front is c.subject) + out
    return english_adverbial(front) + out


def german_verb(c: Clause) -> tuple[Token, list[Token]]:
    """The finite verb and what closes the clause: prefix, participle or infinitive."""
    verb, aux, person, plural = c.verb, ("aux", c.key), c.subject.person, c.subject.is_plural
    if c.modal:
        entry = LEXICON["modals"][c.modal]
        stem = entry["pret"] if c.tense == "past" else entry["sg"]
        if c.tense == "past":
            form = german_preterite(stem, person, plural)
        elif plural:
            form = entry["de"]
        else:
            form = stem + ("st" if stem[-1] not in "s" else "t") if person == 2 else stem
        return tok(form, aux), [tok(verb.infinitive, c.key)]
    if c.tense == "future":
        form = WERDEN.get((person, plural), "werden")
        return tok(form, aux), [tok(verb.infinitive, c.key)]
    if c.tense == "past" and verb.pret:
        return tok(german_preterite(verb.pret, person, plural), c.key), []
    if c.tense == "past":
        helper = BE if verb.aux == "sein" else HAVE
        form = german_present(helper, person, plural)
        return tok(form, aux, maybe=[c.key]), [tok(german_participle(verb), c.key)]
    end = [tok(verb.prefix, c.key)] if verb.prefix else []
    return tok(german_present(verb, person, plural), c.key), end


def german_clause(
    c: Clause, order: str, front: object = None, gap: NP | None = None, share: bool = False
) -> list[Token]:
    """Say a clause in German. `order`: "main" (verb second), "question" (verb first), "final".

    `share`: the subject, and the auxiliary if there is one, were said before ("und isst ihn").
    """
    finite, end = german_verb(c)
    subject = german_np(c.subject, "nom") if c.subject not in (gap, front) else []
    if subject and c.subject.relative:
        subject += german_relative(c.subject)
    middle = german_middle(c, front, gap)
    extra = german_relative(c.direct) if c.direct and c.direct.relative else []
    if share:
        return ([finite] if len(end) == 0 or c.verb.prefix == end[0].text else []) + middle + end
    if order == "final":
        if end and c.verb.prefix == end[0].text:
            finite, end = Token(end[0].text + finite.text, finite.keys, finite.maybe), []
        return subject + middle + end + [finite] + extra
    if front is not None:
        first = (
            with_relative(front, case_of(c, front))
            if isinstance(front, NP)
            else (german_adverbial(front))
        )
        return [*first, finite, *subject, *middle, *end, *extra]
    if order == "question":
        return [finite, *subject, *middle, *end, *extra]
    return [*subject, finite, *middle, *end, *extra]


def case_of(c: Clause, np: NP) -> str:
    """The case that a noun phrase has in its clause."""
    return "nom" if np is c.subject else "dat" if np is c.dative else "acc"


def german_middle(c: Clause, front: object, gap: NP | None) -> list[Token]:
    """The middle field: pronouns, dative, time, accusative, manner, place.

    With `nicht` the definite objects come before the time, and nicht before what follows.
    """
    objects = [
        (np, case)
        for np, case in ((c.direct, "acc"), (c.dative, "dat"))
        if np is not None and np not in (gap, front)
    ]
    pronouns, datives, accusatives = [], [], []
    for np, case in objects:
        kein = ("not", c.key) if c.uses_kein and case == "acc" else None
        said = german_np(np, case, kein)
        (pronouns if np.pronoun else datives if case == "dat" else accusatives).append(said)
    when = [german_adverbial(p) for p in (c.time, c.frequency) if p and p is not front]
    not_ = [[tok("nicht", ("not", c.key))]] if c.negated and not c.uses_kein else []
    if not_:
        order = [*pronouns, *datives, *accusatives, *when, *not_]
    elif datives and accusatives:
        order = [*pronouns, *datives, *when, *accusatives]
    else:
        order = [*pronouns, *when, *datives, *accusatives]
    order += [german_adverbial(p) for p in (c.manner, c.company, c.place) if p and p is not front]
    if c.prepositional and c.prepositional not in (gap, front):
        order.append(german_prepositional(c))
    if c.predicate:
        order.append(german_predicate(c.predicate))
    return [token for part in order for token in part]


def german_prepositional(c: Clause) -> list[Token]:
    """The object behind a preposition that the verb asks for: warten auf den Bus."""
    preposition, case = c.verb.prep.split()
    phrase = Adverbial("", preposition, c.prepositional, case, key=("prep", c.key))
    return german_adverbial(phrase)


# ------------------------------------------------------------------ drawing phrases


def chosen_by(attribute: str, default: str = "") -> dict[Verb, frozenset[str]]:
    """For every verb, the nouns that one of its slots accepts."""
    return {
        verb: select(getattr(verb, attribute) or default)
        for frame in VERBS.values()
        for verb in frame.values()
    }


SUBJECTS, OBJECTS, DATIVES = chosen_by("subject"), chosen_by("object"), chosen_by("dative")
PLACES, GOALS = chosen_by("place"), chosen_by("goal")
HUMAN = select("person -kid")
OWNED = select(
    "kin animal.pet clothing car bicycle boat motorcycle tool house garden device "
    "dream plan idea room"
)
WITH_RELATIVE = select("person animal thing building plant house fruit")
BARE_MASS = select("staple drink money time")
SENSE = LEXICON["sense"]
COLOURS = {"red", "blue", "green", "yellow", "black", "white", "brown", "grey"}
FRAMES = {
    "transitive": 34,
    "intransitive": 17,
    "ditransitive": 14,
    "dative": 12,
    "prepositional": 10,
    "motion": 9,
    "location": 9,
    "have": 4,
}


@cache
def adjectives_for(noun: str) -> frozenset[str]:
    """The adjectives that can describe the noun."""
    return frozenset(en for en, adjective in ADJECTIVES.items() if noun in adjective.nouns)


class Unfit(Exception):
    """The draw does not fit together; draw again."""


class Speaker:
    """Draws phrases; prefers the words that it has used less."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.used: Counter = Counter()

    # -- choosing

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.rng.random() < probability

    def weighted(self, table: dict) -> object:
        """A key of the table, by weight."""
        return self.rng.choices(list(table), list(table.values()))[0]

    def pick(self, options: object) -> str:
        """One of the options: of two random ones the one used less."""
        names = sorted(options)
        if not names:
            raise Unfit
        best = min(self.rng.choice(names), self.rng.choice(names), key=lambda n: self.used[n])
        self.used[best] += 1
        return best

    def adverb(self, kind: str, options: object = None) -> Adverbial:
        """An adverb of the lexicon."""
        table = LEXICON["adverbs"][kind]
        en = self.pick(options or table)
        return Adverbial(en, table[en])

    # -- noun phrases

    def describe(self, np: NP, chance: float = 0.35) -> NP:
        """Give a noun phrase one or two adjectives, sometimes."""
        while self.chance(chance) and len(np.adjectives) < 2:
            fitting = adjectives_for(np.noun.en)
            fitting = fitting - {a.en for a in np.adjectives}
            if np.adjectives:
                fitting &= COLOURS
            if not fitting or any(a.en in COLOURS for a in np.adjectives):
                break
            np.adjectives.append(ADJECTIVES[self.pick(fitting)])
            chance = 0.12
        return np

    def noun(
        self, names: object, subject: NP | None = None, plural: float = 0.22, owner: bool = True
    ) -> NP:
        """A noun phrase headed by one of the nouns; `subject` is who "his" may refer to."""
        noun = NOUNS[self.pick(names)]
        mass = "mass" in noun.tags
        np = NP(noun, plural=noun.plural is not None and self.chance(plural))
        if mass or noun.plural is None:
            bare = noun.en in BARE_MASS and (noun.en == "time" or self.chance(0.65))
            np.det = "" if bare else "the"
        elif np.plural:
            number = self.rng.choice(list(LEXICON["numerals"]))
            np.det = self.weighted({"the": 50, number: 16, "many": 8, "some": 10, "this": 8, "": 8})
        else:
            np.det = self.weighted({"the": 58, "a": 30, "this": 8, "every": 1})
        if np.plural and "parent" in noun.tags:
            np.det = self.weighted({"the": 3, "many": 1, "some": 1})
        elif noun.en in OWNED and self.chance(0.75 if "kin" in noun.tags else 0.2):
            self.own(np, subject, owner)
        return self.describe(np)

    def own(self, np: NP, subject: NP | None, owner: bool) -> None:
        """Give the noun phrase a possessive or an owner."""
        if owner and self.chance(0.2):
            np.det = ""
            np.owner = self.owner(np.noun)
            return
        girl = subject is not None and (
            subject.question or (subject.noun and "nopronoun" in subject.noun.tags)
        )
        np.det = self.rng.choice(
            ["my", "your", "our"] if girl else ["my", "your", "his", "her", "our"]
        )
        thing = subject is not None and subject.noun and "person" not in subject.noun.tags
        if thing and "kin" in np.noun.tags:
            return
        if subject is not None and not girl and self.chance(0.75):
            np.det = OWNERS[subject.they]
            np.antecedent = subject
            if subject.they == "it" and not subject.noun:
                raise Unfit

    def owner(self, noun: Noun) -> NP:
        """Whose it is: Anna's, the teacher's, my sister's."""
        if self.chance(0.5):
            return self.person_name()
        if self.chance(0.4):
            kin = select("kin -boss") - {noun.en}
            return NP(NOUNS[self.pick(kin)], self.rng.choice(["my", "your", "our", "his", "her"]))
        return NP(NOUNS[self.pick(HUMAN - select("kin") - {noun.en})], "the")

    def person_name(self) -> NP:
        """Anna, Paul, ..."""
        return NP(name=self.pick(LEXICON["names"]["female"] + LEXICON["names"]["male"]))

    def subject(self, names: frozenset[str], simple: bool = False) -> NP:
        """A subject: a noun; if people fit, also a name, a pronoun, or two people."""
        if {"man", "woman"} <= names:
            kind = self.weighted(
                {"noun": 58, "name": 18, "pronoun": 19, "both": 0 if simple else 5}
            )
            if kind == "name":
                return self.person_name()
            if kind == "pronoun":
                weights = {"I": 6, "he": 4, "she": 4, "we": 5, "they": 4, "you": 3}
                return NP(pronoun=self.weighted(weights))
            if kind == "both":
                pair = self.person_name(), self.person_name()
                if self.chance(0.5):
                    pair = tuple(NP(NOUNS[self.pick(HUMAN)], "the") for _ in pair)
                return NP(both=pair)
        np = self.noun(names, owner=False)
        if np.det == "" and np.plural:
            np.det = "the"
        return np

    def object(self, names: frozenset[str], subject: NP, verb: Verb | None = None) -> NP:
        """An object: a noun; if people fit, also a name or a pronoun."""
        if {"man", "woman"} <= names and self.chance(0.38):
            if self.chance(0.5):
                return self.person_name()
            return self.object_pronoun(subject)
        if names >= {"water", "juice"} and self.chance(0.12):
            return self.portion()
        np = self.noun(names, subject, plural=1.0 if verb and verb.plural_object else 0.22)
        if np.det == "every":
            np.det = "the"
        if np.noun.en in BARE_MASS and not np.det and self.chance(0.12):
            others = names & BARE_MASS - {np.noun.en, "money", "time"}
            if others and np.noun.en not in ("money", "time"):
                np.adjectives = []
                np = NP(both=(np, NP(NOUNS[self.pick(others)])))
        return np

    def object_pronoun(self, subject: NP) -> NP:
        """A personal pronoun that does not clash with the subject."""
        first = {"me", "us"} if subject.person == 1 else set()
        taken = first | ({"you"} if subject.person == 2 else set())
        weights = {"I": 4, "he": 4, "she": 4, "we": 3, "they": 4, "you": 2}
        return NP(
            pronoun=self.weighted({p: w for p, w in weights.items() if PRONOUNS[p][1] not in taken})
        )

    def portion(self) -> NP:
        """A glass of water, two cups of tea."""
        container = self.pick(LEXICON["containers"])
        plural = self.chance(0.25)
        content = NP(NOUNS[self.pick(LEXICON["containers"][container].split())])
        det = self.rng.choice(["two", "three", "four"]) if plural else "a"
        return NP(NOUNS[container], det, plural, content=content)

    def place(self, verb: Verb, names: frozenset[str], goal: bool) -> Adverbial:
        """Where, or where to."""
        if verb.city and (not names or self.chance(0.4)):
            city = NP(name=self.pick(LEXICON["cities"]))
            return Adverbial("to" if goal else "in", "nach" if goal else "in", city, "dat")
        noun = NOUNS[self.pick(names)]
        if goal:
            en, de = noun.to or ("to", "zu")
        else:
            en, de = noun.at or ("in", "in")
        det = self.weighted({"the": 84, "a": 5 if noun.plural else 0, "this": 6})
        np = self.describe(NP(noun, det), 0.25)
        return Adverbial(en, de, np, "acc" if goal and de != "zu" else "dat")

    def spot(self) -> Adverbial:
        """On, under, behind or next to a piece of furniture."""
        en = self.pick(["on", "under", "behind", "next to"])
        de, case = LEXICON["prepositions"][en].split()
        return Adverbial(
            en, de, self.describe(NP(NOUNS[self.pick(select("surface"))], "the"), 0.3), case
        )

    def with_whom(self, en: str, subject: NP) -> Adverbial:
        """With Anna, without his friend, for her mother."""
        de, case = LEXICON["prepositions"][en].split()
        if self.chance(0.35):
            np = self.person_name()
        else:
            np = NP(NOUNS[self.pick(select("kin"))])
            self.own(np, subject, owner=False)
        return Adverbial(en, de, np, case)

    # -- clauses

    def verb(self, frame: str, test: Callable[[Verb], bool] = lambda verb: True) -> Verb:
        """A verb of the frame."""
        if frame == "have":
            return HAVE
        return VERBS[frame][self.pick(en for en, verb in VERBS[frame].items() if test(verb))]

    def clause(
        self,
        tense: str = "",
        frame: str = "",
        verb: Verb | None = None,
        subject: NP | None = None,
        extras: float = 0.4,
    ) -> Clause:
        """A clause; what is not given is drawn."""
        frame = verb.frame if verb else frame or self.weighted(FRAMES)
        verb = verb or self.verb(frame)
        subject = subject or self.subject(SUBJECTS[verb])
        c = Clause(verb, subject, tense or self.tense(verb))
        self.complete(c, frame, extras)
        check(c)
        return c

    def tense(self, verb: Verb) -> str:
        """A tense that the verb can stand in."""
        dynamic = 0 if verb.stative else 24
        past = 0 if verb.nopast else 36
        return self.weighted(
            {
                "present": 30,
                "past": past,
                "progressive": dynamic,
                "future": 3 if verb.stative else 10,
            }
        )

    def complete(self, c: Clause, frame: str, extras: float) -> None:
        """Add the objects that the verb wants, and perhaps a place, company, a manner."""
        verb, subject = c.verb, c.subject
        if frame == "ditransitive":
            c.dative = self.object(DATIVES[verb], subject)
            c.direct = self.noun(OBJECTS[verb], subject, plural=0.15)
            if c.direct.det == "every":
                c.direct.det = "a"
        elif frame == "dative":
            c.dative = self.object(DATIVES[verb], subject)
        elif frame == "prepositional":
            c.prepositional = self.object(OBJECTS[verb], subject)
        elif OBJECTS[verb]:
            c.direct = self.object(OBJECTS[verb], subject, verb)
            if verb is HAVE and c.direct.definite and not c.direct.plural:
                c.direct.owner = c.direct.antecedent = None
                c.direct.det = "" if "mass" in c.direct.noun.tags else "a"
        if frame == "motion":
            c.place = self.place(verb, GOALS[verb], goal=True)
        elif frame == "location" and verb.en == "lie":
            c.place = self.spot()
        elif frame == "location":
            c.place = self.place(verb, PLACES[verb], goal=False)
        elif self.chance(extras) and (PLACES[verb] or GOALS[verb]):
            c.place = self.place(verb, PLACES[verb] or GOALS[verb], goal=bool(GOALS[verb]))
        manners = [m for m, verbs in LEXICON["manners"].items() if verb.en in verbs.split()]
        person = subject.noun is None or "person" in subject.noun.tags
        if manners and self.chance(extras * 0.4):
            c.manner = self.adverb("manner", manners)
        elif verb.en in SENSE["together"] and person and self.chance(extras * 0.4):
            c.company = self.with_whom(self.rng.choice(["with", "with", "without"]), subject)
        elif (
            verb.en in SENSE["for_someone"].split()
            and person
            and c.direct
            and self.chance(extras * 0.4)
        ):
            c.company = self.with_whom("for", subject)

    def when(self, c: Clause) -> None:
        """Give the clause an adverb of time that suits its tense."""
        if c.tense == "progressive":
            c.time = self.adverb("present")
        elif c.tense == "present" and not c.verb.stative and self.chance(0.5):
            c.time = self.adverb("habit")
        elif c.tense == "present" or (c.tense == "past" and self.chance(0.15)):
            c.frequency = self.adverb("frequency")
        else:
            c.time = self.adverb(c.tense)

    def state(self, subject: NP, tense: str = "", adjectives: object = None) -> Clause:
        """Somebody or something is ..."""
        name = subject.antecedent or subject
        fits = name.noun.en if name.noun else "man"
        options = adjectives_for(fits)
        options = options & set(adjectives or options)
        if name.adjectives and not adjectives:
            coloured = any(a.en in COLOURS for a in name.adjectives)
            options = options - COLOURS if coloured else options & COLOURS
        adjective = ADJECTIVES[self.pick(options)]
        degree = ""
        if adjective.comparative and self.chance(0.3):
            degree = self.pick(LEXICON["adverbs"]["degree"])
            if degree == "too" and adjective.en in SENSE["pleasant"].split():
                degree = "very"
        tense = tense or self.weighted({"present": 3, "past": 1})
        return Clause(BE, subject, tense, predicate=Predicate(adjective, degree))

    def weather(self, tense: str = "progressive") -> Clause:
        """It is raining, it is snowing."""
        return Clause(VERBS["special"][self.pick(["rain", "snow"])], NP(pronoun="it"), tense)


def find_verb(name: str) -> Verb:
    """The verb with this English name."""
    frames = ("intransitive", "location", "motion", "transitive", "dative", "prepositional")
    return next(v for f in frames for v in VERBS[f].values() if v.en == name)


def stands_for(np: NP) -> NP:
    """The pronoun that takes up a noun phrase."""
    if np.noun and "nopronoun" in np.noun.tags and not np.plural:
        raise Unfit
    return NP(pronoun=np.they, antecedent=np)


def check(c: Clause) -> None:
    """Refuse clauses that are ambiguous in English or odd in either language."""
    third = c.subject.person == 3 and not c.subject.is_plural
    if c.tense == "past" and not c.modal and c.verb.past == "" and not third:
        raise Unfit  # "they read" may be present or past
    if c.tense == "past" and not c.modal and c.verb.nopast:
        raise Unfit
    if c.tense == "progressive" and c.verb.stative:
        raise Unfit
    lexical = c.tense in ("present", "progressive") and not c.modal
    if lexical and c.subject.pronoun == "you" and c.verb.en not in SENSE["you"]:
        raise Unfit


# ------------------------------------------------------------------ constructions


@dataclass
class Pair:
    """A sentence in both languages, with the phrases that it was made from."""

    english: list[Token]
    german: list[Token]
    phrases: list[object]


CONSTRUCTIONS: dict[str, tuple[float, Callable[[Speaker], Pair]]] = {}
STOP, ASK = tok(".", "."), tok("?", ".")


def construction(weight: float) -> Callable:
    """Register a construction with its weight."""

    def register(function: Callable[[Speaker], Pair]) -> Callable[[Speaker], Pair]:
        CONSTRUCTIONS[function.__name__] = (weight, function)
        return function

    return register


def sentence(c: Clause, front: object = None) -> Pair:
    """A main clause, with `front` first."""
    return Pair(
        [*english_clause(c, front=front), STOP], [*german_clause(c, "main", front=front), STOP], [c]
    )


def joined(main: Clause, conjunction: tuple[str, str], sub: Clause) -> Pair:
    """Main clause, comma, conjunction, clause with its verb last."""
    en, de = conjunction
    return Pair(
        [*english_clause(main), tok(en, "conj"), *english_clause(sub), STOP],
        [
            *german_clause(main, "main"),
            comma("conj"),
            tok(de, "conj"),
            *german_clause(sub, "final"),
            STOP,
        ],
        [main, sub],
    )


def sub_first(conjunction: tuple[str, str], sub: Clause, main: Clause) -> Pair:
    """The clause with its verb last comes first; then the main verb follows at once."""
    en, de = conjunction
    mark = tok(",", "comma")
    return Pair(
        [tok(en, "conj"), *english_clause(sub), mark, *english_clause(main), STOP],
        [
            tok(de, "conj"),
            *german_clause(sub, "final"),
            mark,
            *german_clause(main, "question"),
            STOP,
        ],
        [sub, main],
    )


@construction(10)
def statement(s: Speaker) -> Pair:
    """As in: the farmer sells his old horse ."""
    c = s.clause()
    if s.chance(0.3):
        s.when(c)
    return sentence(c)


@construction(8)
def fronted_time(s: Speaker) -> Pair:
    """As in: yesterday the farmer sold his horse ."""
    c = s.clause(extras=0.25)
    s.when(c)
    if not c.time:
        raise Unfit
    return sentence(c, front=c.time)


@construction(3)
def fronted_place(s: Speaker) -> Pair:
    """As in: in the garden the children are playing ."""
    c = s.clause(frame=s.rng.choice(["intransitive", "location"]), extras=1)
    if not c.place or GOALS[c.verb] or c.subject.pronoun or c.verb.en in ("live", "stay"):
        raise Unfit
    return sentence(c, front=c.place)


@construction(3)
def fronted_circumstance(s: Speaker) -> Pair:
    """As in: despite the rain ... , because of the storm ... , after the concert ... ."""
    en, nouns = s.rng.choice(
        [
            ("despite", ["rain", "snow", "noise", "storm"]),
            ("because of", ["rain", "snow", "noise", "storm"]),
            ("after", ["concert", "party", "film", "wedding", "war", "storm", "journey"]),
            ("during", ["concert", "party", "film", "wedding", "war", "storm", "journey"]),
        ]
    )
    de, case = LEXICON["prepositions"][en].split()
    circumstance = Adverbial(en, de, s.describe(NP(NOUNS[s.pick(nouns)], "the"), 0.2), case)
    names = (
        "sleep",
        "laugh",
        "cry",
        "sing",
        "smile",
        "work",
        "dance",
        "wake up",
        "fall asleep",
        "come back",
        "stay",
        "go",
        "drive",
        "wait",
    )
    name = s.pick(("stay", "come back", "wake up", "cry") if en == "because of" else names)
    c = s.clause(s.rng.choice(["past", "past", "future"]), verb=find_verb(name), extras=0.2)
    c.time = circumstance
    return sentence(c, front=circumstance)


@construction(2.5)
def fronted_attitude(s: Speaker) -> Pair:
    """As in: unfortunately , the actress lost her ring ."""
    c = s.clause(extras=0.2)
    attitude = s.adverb("attitude")
    pair = sentence(c)
    front = english_adverbial(attitude)
    if attitude.en != "perhaps":
        front.append(tok(",", maybe=[key for t in front for key in t.keys]))
    pair.english = front + pair.english
    pair.german = german_adverbial(attitude) + german_clause(c, "question") + [STOP]
    return pair


@construction(9)
def negation(s: Speaker) -> Pair:
    """As in: the boy does not eat the apple . the boy does not eat an apple ."""
    c = s.clause(extras=0.1, frame="have" if s.chance(0.05) else "")
    c.negated = True
    c.company = c.manner = None
    if c.verb is HAVE and c.direct.det in ("a", "") and s.chance(0.7):
        c.direct.det, c.negated = "no", False
        return sentence(c)
    if c.verb is HAVE and c.direct.definite:
        raise Unfit
    for np in (c.direct, c.dative, c.prepositional, c.subject):
        if (
            np is not None
            and np.noun
            and (
                np.det in ("many", "some", "every", *LEXICON["numerals"])
                or np.both
                or np.content
                or (np.det in ("a", "") and np is not c.direct and not np.owner)
            )
        ):
            raise Unfit
        if np is not None and np.both and np is not c.subject:
            raise Unfit
    if c.uses_kein and (c.verb.frame == "ditransitive" or c.place):
        raise Unfit
    if c.place and (c.direct or (c.verb.frame == "intransitive" and not GOALS[c.verb])):
        raise Unfit
    if c.time is None and s.chance(0.15) and c.tense in ("past", "future"):
        c.time = s.adverb(c.tense)
    return sentence(c)


@construction(7)
def modal(s: Speaker) -> Pair:
    """As in: the nurse must help the old man . she wanted to buy a car ."""
    c = modal_clause(s)
    if s.chance(0.25):
        c.negated = c.modal in ("can", "want", "should", "may") and c.direct is None
    if c.negated:
        c.manner = c.company = None
        c.place = c.place if c.verb.frame in ("motion", "location") else None
    elif (
        s.chance(0.2)
        and c.modal in ("must", "want", "would", "can", "should")
        and c.tense != "past"
    ):
        c.time = s.adverb("future")
    return sentence(c)


def modal_clause(s: Speaker, subject: NP | None = None, verb: Verb | None = None) -> Clause:
    """A clause with a modal verb and an animate subject."""
    c = s.clause("future", subject=subject, verb=verb, extras=0.25)
    person = (
        c.subject.pronoun or c.subject.name or c.subject.both or "person" in c.subject.noun.tags
    )
    if (
        not person
        or c.verb in (KNOW, BECOME)
        or c.verb.en in ("suffer from", "forget", "sneeze", "lose")
    ):
        raise Unfit
    c.modal = s.weighted({"can": 5, "must": 5, "want": 5, "should": 3, "may": 3, "would": 3})
    c.tense = "past" if c.modal in ("can", "must", "want") and s.chance(0.35) else "present"
    if c.verb.en == "like" and c.modal != "want":
        raise Unfit
    if c.verb.stative and c.modal in ("may", "would", "want"):
        raise Unfit
    return c


@construction(7)
def yes_no_question(s: Speaker) -> Pair:
    """As in: did the thief steal the ring ? can you help me ?"""
    r = s.rng.random()
    c = modal_clause(s) if r < 0.25 else s.clause(extras=0.3)
    if r > 0.85:
        c = s.state(s.subject(HUMAN, simple=True))
    if c.modal == "would" or c.tense == "future" or (c.subject.pronoun == "I" and not c.modal):
        raise Unfit
    if 0.25 <= r <= 0.85 and s.chance(0.2):
        s.when(c)
        if c.frequency and c.frequency.en in ("never", "rarely"):
            raise Unfit
    return Pair([*english_clause(c, question=True), ASK], [*german_clause(c, "question"), ASK], [c])


@construction(8)
def wh_question(s: Speaker) -> Pair:
    """As in: who bought the car ? what does Anna buy ? where do you live ? which book ... ?"""
    c, front = questioned(s)
    en, de = asked(c, front)
    return Pair([*en, ASK], [*de, ASK], [c])


def questioned(s: Speaker) -> tuple[Clause, NP | Adverbial]:
    """A clause and its part that is asked for."""
    kind = s.weighted(
        {
            "subject": 6,
            "object": 8,
            "dative": 3,
            "which": 6,
            "many": 4,
            "place": 7,
            "why": 5,
            "when": 4,
        }
    )
    if kind == "subject":
        subject = NP(question="who")
        verb = s.verb(
            s.weighted({"transitive": 5, "intransitive": 2, "dative": 2, "motion": 1}),
            lambda v: {"man", "woman"} <= SUBJECTS[v],
        )
        return s.clause(verb=verb, subject=subject, extras=0.2), subject
    if kind == "place":
        frame = s.rng.choice(["motion", "location", "location"])
        c = s.clause(frame=frame)
        goal = "to" if frame == "motion" else ""
        if c.verb.en == "come":
            raise Unfit
        c.place = Adverbial("where", "wohin" if goal else "wo")
        c.company = c.manner = None
        return c, c.place
    if kind in ("why", "when"):
        c = s.clause(extras=0.2, tense="past" if kind == "when" else "")
        front = Adverbial(kind, {"why": "warum", "when": "wann"}[kind])
        if c.tense == "future":
            raise Unfit
        c.time = front
        return c, front
    frame = "dative" if kind == "dative" else "transitive"
    c = s.clause(frame=frame, extras=0.1)
    c.company = c.manner = None
    if c.subject.person == 2 and c.tense == "progressive":
        raise Unfit
    old = c.dative if kind == "dative" else c.direct
    if kind == "dative":
        if " " in c.verb.en:
            raise Unfit
        c.dative = NP(question="who")
        return c, c.dative
    if not old.noun or old.content or old.both or c.verb.en in ("look for", "hunt", "answer"):
        raise Unfit
    if kind == "object":
        person = "person" in old.noun.tags
        if person or old.noun.tags & {"animal"}:
            raise Unfit
        c.direct = NP(question="what")
        return c, c.direct
    mass = old.noun.plural is None
    if mass or (kind == "many" and old.noun.tags & {"person", "switch"}):
        raise Unfit
    det = "which many" if kind == "many" else "which"
    c.direct = NP(old.noun, det, plural=kind == "many" or (old.plural and s.chance(0.5)))
    return c, c.direct


def asked(c: Clause, front: object, order: str = "main") -> tuple[list[Token], list[Token]]:
    """A question for `front`, direct ("main") or indirect ("final")."""
    en = english_clause(c, question=order == "main", front=front)
    if order == "main":
        return en, german_clause(c, "main", front=front)
    if front is c.subject:
        return en, german_clause(c, "final")
    first = (
        german_np(front, case_of(c, front)) if isinstance(front, NP) else german_adverbial(front)
    )
    return en, first + german_clause_without(c, front)


def german_clause_without(c: Clause, front: object) -> list[Token]:
    """A verb-final clause less its part that stands before it already."""
    if isinstance(front, NP):
        return german_clause(c, "final", gap=front)
    slot = "place" if front is c.place else "time"
    return german_clause(replace(c, **{slot: None}, key=c.key), "final")


@construction(7)
def because(s: Speaker) -> Pair:
    """As in: the child sleeps because it is tired . Anna buys the coat because it is cheap ."""
    kind = s.weighted({"state": 4, "object": 5, "dative": 3, "weather": 2, "modal": 3})
    tense = s.rng.choice(["present", "past", "progressive"])
    test = {
        "state": lambda v: v.why,
        "object": lambda v: v.why_object,
        "dative": lambda v: v.why_dative,
    }
    be_tense = "past" if tense == "past" else "present"
    if kind in test:
        frames = {
            "state": ["intransitive", "location", "transitive"],
            "object": ["transitive"],
            "dative": ["dative", "ditransitive"],
        }[kind]
        verb = s.verb(s.rng.choice(frames), test[kind])
        if tense == "progressive" and verb.stative:
            raise Unfit
        c = s.clause(tense, verb=verb, extras=0.1)
        c.company = None
        cause = {"state": c.subject, "object": c.direct, "dative": c.dative}[kind]
        if (
            cause.both
            or cause.content
            or (cause.noun and "mass" in cause.noun.tags and not cause.det)
        ):
            raise Unfit
        if kind != "state" and (
            cause.pronoun or cause.they == c.subject.they or cause.they in ("I", "we")
        ):
            raise Unfit
        if kind == "object" and c.dative:
            raise Unfit
        adjectives = getattr(
            verb, {"state": "why", "object": "why_object", "dative": "why_dative"}[kind]
        )
        taken = {a.en for a in cause.adjectives}
        if kind != "state" or cause.noun:
            cause.adjectives = []
        return joined(
            c,
            ("because", "weil"),
            s.state(
                stands_for(cause) if not cause.pronoun else NP(pronoun=cause.pronoun),
                be_tense,
                set(adjectives.split()) - taken,
            ),
        )
    if kind == "weather":
        verb = (
            s.verb("location", lambda v: v.en == "stay")
            if s.chance(0.5)
            else s.verb("transitive", lambda v: v.en in ("wear", "close"))
        )
        c = s.clause("present", verb=verb, extras=0)
        clothes = ["coat", "hat", "jacket", "sweater", "scarf", "glove", "cap"]
        if c.direct is not None and c.verb.en == "wear" and c.direct.noun.en not in clothes:
            raise Unfit
        if c.place and c.place.np.noun and c.place.np.noun.tags & {"nature", "garden"}:
            raise Unfit
        return joined(c, ("because", "weil"), s.weather())
    go = find_verb(s.pick({"go", "drive", "come", "stay", "wait", "come back", "get up"}))
    c = s.clause(s.rng.choice(["present", "future", "progressive"]), verb=go, extras=0)
    why = find_verb(
        s.pick(SENSE["reasons"].split())
        if s.chance(0.8)
        else s.pick({"look for", "pick up", "look after"})
    )
    reason = modal_clause(s, same_subject(c.subject), why)
    if reason.tense == "past" or reason.modal not in ("want", "must"):
        raise Unfit
    return joined(c, ("because", "weil"), reason)


def same_subject(np: NP) -> NP:
    """A pronoun for the subject of the clause before."""
    return NP(pronoun=np.pronoun) if np.pronoun else stands_for(np)


@construction(6)
def that_clause(s: Speaker) -> Pair:
    """As in: the boss believes that the lawyer lost the letter ."""
    past = s.chance(0.35)
    verb = (
        KNOW if s.chance(0.2) else s.verb("clausal", lambda v: v.that and not (past and v.nopast))
    )
    main = Clause(verb, s.subject(SUBJECTS[verb], simple=True), "past" if past else "present")
    check(main)
    sub = s.state(s.subject(HUMAN, simple=True)) if s.chance(0.2) else s.clause(extras=0.25)
    if (past and sub.tense != "past") or (
        verb.en == "hope" and sub.tense == "present" and not past
    ):
        raise Unfit
    if verb is KNOW and main.subject.pronoun == "you":
        raise Unfit
    return joined(main, ("that", "dass"), sub)


@construction(5)
def if_clause(s: Speaker) -> Pair:
    """As in: if it rains , the children stay in the house ."""
    if s.chance(0.4):
        sub = s.weather("present")
        name = s.pick(
            {
                "stay",
                "wear",
                "close",
                "read",
                "cook",
                "bake",
                "sleep",
                "play",
                "wash",
                "clean",
                "take along",
                "look after",
                "tidy up",
                "drive",
                "dance",
                "cry",
                "visit",
                "sing",
            }
        )
        main = s.clause("future", verb=find_verb(name), extras=0.1)
    elif s.chance(0.5):
        sub = s.state(
            s.subject(HUMAN, simple=True), "present", ["tired", "sick", "hungry", "sad", "thirsty"]
        )
        main = modal_clause(s, subject=same_subject(sub.subject))
        if main.modal not in ("can", "may", "should", "must") or main.tense == "past":
            raise Unfit
        why = main.verb.why or ""
        if sub.predicate.adjective.en not in why.split():
            raise Unfit
    else:
        sub = s.clause(
            "present",
            frame=s.weighted({"transitive": 3, "intransitive": 3, "dative": 1, "motion": 1}),
            extras=0.1,
        )
        main = s.clause("future", extras=0.1)
        if sub.verb.stative or "person" not in _tags(main.subject):
            raise Unfit
    if main.subject.pronoun == "it" and not main.subject.antecedent:
        raise Unfit
    return sub_first(("if", "wenn"), sub, main)


@construction(6)
def indirect_question(s: Speaker) -> Pair:
    """As in: I do not know whether the guest has arrived . he asks where we live ."""
    verb = KNOW if s.chance(0.5) else s.verb("clausal", lambda v: bool(v.whether))
    main = Clause(
        verb, s.subject(SUBJECTS[verb], simple=True), "past" if s.chance(0.3) else "present"
    )
    main.negated = verb is KNOW
    if main.subject.det in ("every", "a", "some", "many", *LEXICON["numerals"]):
        raise Unfit
    check(main)
    if s.chance(0.5):
        sub = s.state(s.subject(HUMAN, simple=True)) if s.chance(0.2) else s.clause(extras=0.25)
        en, de = (
            [tok("whether", "conj"), *english_clause(sub)],
            [tok("ob", "conj"), *german_clause(sub, "final")],
        )
        mark = comma("conj")
    else:
        sub, front = questioned(s)
        en, de = asked(sub, front, "final")
        mark = comma(*en[0].keys)
    if main.tense == "past" and sub.tense != "past":
        raise Unfit
    return Pair(
        [*english_clause(main), *en, STOP],
        [*german_clause(main, "main"), mark, *de, STOP],
        [main, sub],
    )


@construction(9)
def relative_clause(s: Speaker) -> Pair:
    """As in: the man who bought the house is rich . she reads the book that I wrote ."""
    if s.chance(0.5):
        c = (
            s.clause(frame=s.weighted({"transitive": 4, "intransitive": 2, "dative": 2}), extras=0)
            if s.chance(0.6)
            else s.state(s.noun(WITH_RELATIVE, owner=False))
        )
        relate(s, c.subject)
    else:
        verb = s.verb("transitive", lambda v: bool(OBJECTS[v] & WITH_RELATIVE))
        c = s.clause(verb=verb, extras=0)
        if c.direct.noun is None or c.direct.noun.en not in WITH_RELATIVE:
            raise Unfit
        relate(s, c.direct)
    return sentence(c)


def relate(s: Speaker, np: NP) -> None:
    """Give a noun phrase a relative clause."""
    if not np.noun or np.det not in ("the", "a", "this") or np.owner or np.whole or np.content:
        raise Unfit
    if np.det == "this":
        np.det = "the"
    np.adjectives = np.adjectives[:1] if s.chance(0.4) else []
    gap = NP(np.noun, "the", np.plural, gap=True)
    case = s.weighted({"nom": 5, "acc": 5, "dat": 2})
    slots = {"nom": SUBJECTS, "acc": OBJECTS, "dat": DATIVES}[case]
    frames = {
        "nom": ["transitive", "intransitive", "location", "motion", "dative"],
        "acc": ["transitive"],
        "dat": ["dative"],
    }[case]
    verbs = [v for f in frames for v in VERBS[f].values() if np.noun.en in slots[v]]
    verbs = [v for v in verbs if case == "nom" or " " not in v.en or v.prep or v.en == "look for"]
    if not verbs:
        raise Unfit
    name = s.pick({f"{v.frame}/{v.en}" for v in verbs})
    verb = next(v for v in verbs if f"{v.frame}/{v.en}" == name)
    if case == "nom":
        clause = s.clause(verb=verb, subject=gap, extras=0.2)
    else:
        clause = s.clause(verb=verb, extras=0)
        setattr(clause, "direct" if case == "acc" else "dative", gap)
    clause.manner = None
    np.relative = Relative(clause, gap, case)


@construction(5)
def comparison(s: Speaker) -> Pair:
    """As in: the train is faster than the bus . Paul is as tall as his father ."""
    adjective = ADJECTIVES[s.pick(en for en, a in ADJECTIVES.items() if a.comparative)]
    first = s.noun(adjective.nouns, owner=False)
    person = "person" in first.noun.tags
    if first.det not in ("the", "this", *OWNERS.values()) or first.adjectives or first.antecedent:
        raise Unfit
    kinds = {
        "person",
        "animal",
        "fruit",
        "dish",
        "staple",
        "drink",
        "text",
        "art",
        "clothing",
        "vehicle",
        "furniture",
        "device",
        "tool",
        "plant",
        "building",
        "home",
        "town",
        "nature",
        "event",
    }
    kind = next(iter(first.noun.tags & kinds), None)
    rivals = {en for en in adjective.nouns if kind in NOUNS[en].tags} - {first.noun.en}
    if (
        person
        and adjective.en not in ("famous", "new", "good", "strict", "patient", "beautiful", "slow")
        and s.chance(0.5)
    ):
        first = s.person_name()
    second = NP(NOUNS[s.pick(rivals)], "the", plural=bool(first.plural))
    if second.plural and not second.noun.plural:
        raise Unfit
    if person and s.chance(0.4):
        second = s.person_name() if first.name or s.chance(0.5) else second
    if second.noun and "kin" in second.noun.tags:
        second.det = s.rng.choice(["my", "your", "our", "his", "her"])
    c = Clause(BE, first, s.rng.choice(["present", "present", "past"]))
    c.predicate = Predicate(adjective, than=second, equal=s.chance(0.4))
    c.negated = s.chance(0.35) and c.predicate.equal
    return sentence(c)


@construction(5)
def two_clauses(s: Speaker) -> Pair:
    """As in: Anna cooks and Paul reads a book . the car is old , but it is fast ."""
    first = s.clause(
        extras=0.1,
        frame=s.weighted({"transitive": 3, "intransitive": 3, "location": 1, "dative": 1}),
    )
    if s.chance(0.5):
        second = s.clause(tense=first.tense, extras=0.1)
        if first.tense == "future" or second.subject.they == first.subject.they == "it":
            raise Unfit
        link, comma_needed = ("and", "und"), False
    else:
        first = s.state(s.noun(WITH_RELATIVE | HUMAN, owner=False))
        if first.predicate.degree == "too" or first.subject.det in (
            "every",
            "a",
            "many",
            "some",
            "",
        ):
            raise Unfit
        second = s.state(stands_for(first.subject), first.tense)
        good, bad = pleasant(first), pleasant(second)
        said = {first.predicate.adjective.en, second.predicate.adjective.en}
        if (
            good == bad
            or None in (good, bad)
            or any(said <= set(group.split()) for group in SENSE["opposites"])
        ):
            raise Unfit
        link, comma_needed = ("but", "aber"), True
    mark = [tok(",", "comma")] if comma_needed else []
    key = tok(link[0], "conj"), tok(link[1], "conj")
    return Pair(
        [*english_clause(first), *mark, key[0], *english_clause(second), STOP],
        [*german_clause(first, "main"), *mark, key[1], *german_clause(second, "main"), STOP],
        [first, second],
    )


def pleasant(c: Clause) -> bool | None:
    """Whether a state is welcome; None if neither."""
    en = c.predicate.adjective.en
    return (
        True
        if en in SENSE["pleasant"].split()
        else False
        if en in SENSE["unpleasant"].split()
        else None
    )


@construction(4)
def shared_subject(s: Speaker) -> Pair:
    """As in: Emma bought an apple and ate it ."""
    first_verb = s.verb("transitive", lambda v: v.en in LEXICON["next_step"])
    first = s.clause(s.rng.choice(["present", "past", "past"]), verb=first_verb, extras=0)
    first.company = first.manner = None
    if first.direct.antecedent and first_verb.en in ("buy", "order", "steal", "build"):
        raise Unfit
    if not first.direct.noun or first.direct.content or first.direct.both or not first.direct.det:
        raise Unfit
    verb = find_verb(s.pick(LEXICON["next_step"][first_verb.en].split()))
    if first.direct.noun.en not in (OBJECTS[verb] or DATIVES[verb]):
        raise Unfit
    thing = stands_for(first.direct)
    second = Clause(verb, first.subject, first.tense)
    setattr(second, "dative" if verb.frame == "dative" else "direct", thing)
    check(second)
    silent = Clause(verb, NP(pronoun="he"), first.tense)  # the subject is counted once
    aux, main = english_verb(second, support=False)
    german = german_clause(second, "main", share=True)
    and_ = tok("and", "conj")
    after = english_np(thing)
    tail = main[1:] + after if verb.prep or "+" not in verb.info["en"] else after + main[1:]
    return Pair(
        [*english_clause(first), and_, *aux, main[0], *tail, STOP],
        [*german_clause(first, "main"), tok("und", "conj"), *german, STOP],
        [first, silent],
    )


@construction(4)
def possession(s: Speaker) -> Pair:
    """As in: the teacher 's car is new . the roof of the house is red ."""
    if s.chance(0.5):
        np = s.noun(OWNED, owner=True, plural=0.15)
        if np.owner is None:
            np.owner = s.owner(np.noun)
            s.describe(np.owner, 0.0 if np.owner.name else 0.2)
        np.det, np.antecedent = "", None
        c = s.state(np)
    else:
        part = s.pick(LEXICON["parts"])
        whole = s.describe(NP(NOUNS[s.pick(LEXICON["parts"][part].split())], "the"), 0.2)
        np = NP(NOUNS[part], "the", whole=whole)
        options = {
            "end": ["strange", "sad", "funny", "exciting"],
            "price": ["high"],
            "colour": ["beautiful", "ugly", "dark"],
        }.get(part)
        if options:
            adjective = ADJECTIVES[s.pick(options)]
            c = Clause(BE, np, s.rng.choice(["present", "past"]))
            c.predicate = Predicate(
                adjective, s.pick(["very", "too", "quite"]) if s.chance(0.4) else ""
            )
        elif s.chance(0.5) and part in ("door", "window"):
            c = Clause(VERBS["transitive"]["open"], s.subject(HUMAN), "past", direct=np)
            c.verb = VERBS["transitive"][s.rng.choice(["open", "close"])]
        else:
            colours = (
                {"red", "green", "white", "blue", "grey"}
                if part in ("door", "roof", "wall")
                else {"broken", "dirty", "clean"}
            )
            fits = {en for en in colours if part in ADJECTIVES[en].nouns}
            c = Clause(
                BE,
                np,
                s.rng.choice(["present", "past"]),
                predicate=Predicate(ADJECTIVES[s.pick(fits)]),
            )
    return sentence(c)


@construction(3)
def existence(s: Speaker) -> Pair:
    """As in: there is a small lake in the forest . ( es gibt )"""
    place, names = s.rng.choice(
        [
            ("garden", "plant pet chair table"),
            ("kitchen", "table cupboard lamp chair staple"),
            ("room", "bed sofa carpet mirror shelf desk television"),
            ("village", "church school castle bridge"),
            ("city", "museum theatre cinema park castle bridge zoo restaurant library"),
            ("forest", "wild lake mushroom"),
            ("zoo", "wild elephant restaurant"),
            ("park", "plant lake restaurant"),
            ("island", "castle tower hotel beach"),
        ]
    )
    np = s.noun(select(names), owner=False, plural=0.3)
    if np.det in ("the", "this", "every", *OWNERS.values()) or np.relative:
        np.det = "many" if np.plural else "" if "mass" in np.noun.tags else "a"
    where = s.place(VERBS["location"]["sit"], frozenset([place]), goal=False)
    past = s.chance(0.2)
    is_ = {(False, False): "is", (True, False): "are", (False, True): "was", (True, True): "were"}
    key = next(FRESH)
    there, gibt = tok("there", (key, 0)), tok("gab" if past else "gibt", (key, 1))
    be, es = tok(is_[np.plural, past], (key, 1)), tok("es", (key, 0))
    de_np, de_where = german_np(np, "acc"), german_adverbial(where)
    if s.chance(0.35):
        english = [*english_adverbial(where), there, be, *english_np(np), STOP]
        return Pair(english, [*de_where, gibt, es, *de_np, STOP], [np, where])
    return Pair(
        [there, be, *english_np(np), *english_adverbial(where), STOP],
        [es, gibt, *de_np, *de_where, STOP],
        [np, where],
    )


@construction(2)
def measure(s: Speaker) -> Pair:
    """As in: the red coat costs twenty euros . my sister is six years old ."""
    number = s.pick(set(LEXICON["numerals"]) - {"twenty"})
    if s.chance(0.5):
        adjective = ADJECTIVES["old"]
        subject = s.subject(select("kid pet daughter son house tree -baby"), simple=True)
        if subject.is_plural or subject.det == "every" or subject.adjectives:
            raise Unfit
        c = Clause(BE, subject, "present", predicate=Predicate(adjective, years=number))
        return sentence(c)
    cost = VERBS["special"]["cost"]
    subject = s.noun(SUBJECTS[cost], owner=False)
    if not subject.det or subject.det in ("many", "some"):
        raise Unfit
    c = Clause(cost, subject, "present")
    key = next(FRESH)
    return Pair(
        [*english_clause(c), tok(number, (key, 0)), tok("euros", (key, 1)), STOP],
        [
            *german_clause(c, "main"),
            tok(LEXICON["numerals"][number], (key, 0)),
            tok("Euro", (key, 1)),
            STOP,
        ],
        [c],
    )


@construction(4)
def zu_infinitive(s: Speaker) -> Pair:
    """As in: the boy tries to open the door . it is important to help the neighbours ."""
    inner = s.clause(
        "present", frame=s.weighted({"transitive": 6, "dative": 2, "prepositional": 1}), extras=0
    )
    if inner.verb.prefix or inner.verb.stative or "person" not in _tags(inner.subject):
        raise Unfit
    if inner.verb.en in ("suffer from", "lose", "forget", "know", "like"):
        raise Unfit
    inner.manner = inner.company = None
    if s.chance(0.3):
        for np in (inner.direct, inner.dative, inner.prepositional):
            if np is not None and np.noun:
                np.adjectives = []
        adjective = s.pick(
            ["important", "dangerous", "boring", "simple", "useful", "good", "exciting"]
        )
        main = Clause(BE, NP(pronoun="it"), s.rng.choice(["present", "past"]))
        main.predicate = Predicate(ADJECTIVES[adjective], s.rng.choice(["", "", "very"]))
        if uses_possessor(inner, inner.subject):
            raise Unfit
    else:
        verb = s.verb("clausal", lambda v: bool(v.to_infinitive))
        main = Clause(verb, inner.subject, "past" if s.chance(0.5) else "present")
        check(main)
    to, zu = tok("to", ("to", main.key)), tok("zu", ("to", main.key))
    verb_words = inner.verb.en.split()
    en_verb = [
        tok(verb_words[0], inner.key),
        *(tok(w, *particle_keys(inner)) for w in verb_words[1:]),
    ]
    objects = [np for np in (inner.dative, inner.direct, inner.prepositional) if np]
    en = [*english_clause(main), to, *en_verb, *[t for np in objects for t in english_np(np)], STOP]
    middle = german_middle(inner, None, None)
    de = [
        *german_clause(main, "main"),
        comma(("to", main.key)),
        *middle,
        zu,
        tok(inner.verb.infinitive, inner.key),
        STOP,
    ]
    return Pair(en, de, [main, replace(inner, subject=NP(pronoun="he"))])


def uses_possessor(c: Clause, subject: NP) -> bool:
    """Whether an object's possessive refers to the subject."""
    return any(
        np is not None and np.antecedent is subject for np in (c.direct, c.dative, c.prepositional)
    )


def _tags(np: NP) -> frozenset[str]:
    """Tags of the noun; names, pronouns and pairs are persons."""
    return np.noun.tags if np.noun else frozenset(["person"])


EVENTS = {"arrive", "come back", "wake up", "get up", "begin", "depart", "fall asleep"}


@construction(5)
def although_before_while(s: Speaker) -> Pair:
    """As in: the man works although he is sick . before the guests arrive , we bake a cake ."""
    kind = s.rng.choice(["although", "although", "before", "while"])
    if kind == "although":
        main = s.clause(
            s.rng.choice(["present", "past", "progressive"]),
            extras=0.2,
            frame=s.weighted(
                {"intransitive": 3, "transitive": 4, "motion": 2, "dative": 1, "ditransitive": 1}
            ),
        )
        if main.verb.stative or "person" not in _tags(main.subject) or "kid" in _tags(main.subject):
            raise Unfit
        if s.chance(0.25) and main.tense != "past":
            sub = s.weather()
        else:
            past = "past" if main.tense == "past" else "present"
            sub = s.state(
                same_subject(main.subject), past, ["tired", "sick", "sad", "hungry", "old", "poor"]
            )
            sub.predicate.degree = sub.predicate.degree.replace("too", "very")
            if (
                sub.predicate.adjective.en in (main.verb.why or "").split()
                or main.subject.adjectives
            ):
                raise Unfit
        return joined(main, ("although", "obwohl"), sub)
    if kind == "before":
        tense = s.rng.choice(["past", "present"])
        event = s.verb("intransitive", lambda v: v.en in EVENTS)
        sub = s.clause(tense, verb=event, extras=0)
        main = s.clause("past", extras=0.1) if tense == "past" else s.clause("future", extras=0.1)
        if main.verb.stative or main.verb.en in (
            "begin",
            "depart",
            "arrive",
            "come back",
            "wake up",
        ):
            raise Unfit
        return sub_first(("before", "bevor"), sub, main)
    sub, main = s.clause("progressive", extras=0.2), s.clause("progressive", extras=0.2)
    if sub.verb.stative or main.verb.stative:
        raise Unfit
    return sub_first(("while", "während"), sub, main)


@construction(5)
def predicate(s: Speaker) -> Pair:
    """As in: the red shoes are too expensive . we were very tired ."""
    group = s.weighted(
        {
            "person": 4,
            "animal": 2,
            "thing": 3,
            "place building": 3,
            "edible plant": 2,
            "abstract event": 2,
        }
    )
    subject = s.subject(select(group)) if group == "person" else s.noun(select(group), owner=False)
    if subject.det in ("", "a") and subject.noun and not subject.both:
        raise Unfit
    if s.chance(0.12) and group in ("person", "animal"):
        c = Clause(BECOME, subject, s.rng.choice(["present", "past", "progressive"]))
        c.predicate = Predicate(
            ADJECTIVES[s.pick(["tired", "hungry", "nervous", "sick", "angry", "thirsty", "sad"])]
        )
        if (
            subject.noun and subject.noun.en not in c.predicate.adjective.nouns
        ) or subject.pronoun == "you":
            raise Unfit
        return sentence(c)
    c = s.state(subject)
    c.negated = s.chance(0.15)
    if c.negated and (subject.det in ("many", "some", "every") or c.predicate.degree == "quite"):
        raise Unfit
    return sentence(c)


@construction(0)
def long_sentence(s: Speaker) -> Pair:
    """Two or three of the others, joined by "and" or "but": only for test_long.tsv."""
    names = [
        "relative_clause",
        "because",
        "that_clause",
        "if_clause",
        "although_before_while",
        "statement",
        "fronted_time",
        "modal",
        "shared_subject",
        "indirect_question",
    ]
    first, second = (CONSTRUCTIONS[name][1](s) for name in s.rng.sample(names, 2))
    en, de = s.rng.choice([("and", "und"), ("but", "aber")])
    mark = [tok(",", "mid comma")]
    link = tok(en, "mid"), tok(de, "mid")
    second_en = [retag(token) for token in second.english]
    second_de = [retag(token) for token in second.german]
    return Pair(
        [*first.english[:-1], *mark, link[0], *second_en],
        [*first.german[:-1], *mark, link[1], *second_de],
        first.phrases + second.phrases,
    )


def retag(token: Token) -> Token:
    """Keep the second sentence's shared keys ("conj", "comma") apart from the first's."""
    mine = [
        frozenset((k, 2) if isinstance(k, str) else k for k in keys)
        for keys in (token.keys, token.maybe)
    ]
    return Token(token.text, *mine)


# ------------------------------------------------------------------ the corpus


INNER = {  # where the phrases within a phrase are
    NP: ("owner", "whole", "content", "relative"),
    Relative: ("clause",),
    Adverbial: ("np",),
    Predicate: ("than",),
    Clause: (
        "subject",
        "direct",
        "dative",
        "prepositional",
        "predicate",
        "company",
        "place",
        "time",
    ),
}


def walk(part: object) -> Iterator[object]:
    """All phrases within a phrase, but not the gap of a relative clause."""
    if isinstance(part, NP) and part.gap:
        return
    yield part
    inner = [getattr(part, name) for name in INNER[type(part)]]
    for phrase in [*inner, *(getattr(part, "both", None) or ())]:
        if phrase is not None:
            yield from walk(phrase)


def content_words(pair: Pair) -> list[tuple[str, str]]:
    """The nouns, adjectives, verbs and names of a sentence, as (kind, English)."""
    out = []
    for phrase in (p for root in pair.phrases for p in walk(root)):
        if isinstance(phrase, NP):
            out += (
                [("noun", phrase.noun.en)]
                if phrase.noun
                else [("name", phrase.name)]
                if phrase.name
                else []
            )
            out += [("adjective", a.en) for a in phrase.adjectives]
        elif isinstance(phrase, Predicate):
            out.append(("adjective", phrase.adjective.en))
        elif isinstance(phrase, Clause) and phrase.verb not in (BE, HAVE):
            out.append(("verb", phrase.verb.en))
    return out


def related_pairs(pair: Pair) -> set[tuple[str, str]]:
    """Adjective and its noun, verb and its object, as English words."""
    out = set()
    for phrase in (p for root in pair.phrases for p in walk(root)):
        if isinstance(phrase, NP) and phrase.noun:
            out |= {(a.en, phrase.noun.en) for a in phrase.adjectives}
        if isinstance(phrase, Clause) and phrase.direct is not None and phrase.direct.noun:
            out.add((phrase.verb.en, phrase.direct.noun.en))
    return out


def held_out_pairs(rng: random.Random) -> set[tuple[str, str]]:
    """Pairs of words that stand together in no sentence outside test_compositional.tsv."""
    adjective = sorted((a.en, n) for a in ADJECTIVES.values() for n in a.nouns if len(a.nouns) > 12)
    verb = sorted(
        {
            (v.en, n)
            for v in VERBS["transitive"].values()
            for n in OBJECTS[v]
            if len(OBJECTS[v]) > 8 and " " not in v.en and v.en != "like"
        }
    )
    chosen: set[tuple[str, str]] = set()
    for options in (adjective, verb):
        rng.shuffle(options)
        times: Counter = Counter()
        for pair in options:
            if len(times) and max(times[word] for word in pair) >= 3:
                continue
            chosen.add(pair)
            times.update(pair)
            if sum(times.values()) >= HELD_OUT_PAIRS:
                break
    return chosen


@dataclass
class Line:
    """A line of a corpus file, and the construction that it came from."""

    english: str
    german: str
    alignment: str
    construction: str
    held_out: frozenset = frozenset()

    @property
    def words(self) -> list[str]:
        """Words of both sides, marked with their language."""
        return [f"en {w}" for w in self.english.split()] + [f"de {w}" for w in self.german.split()]

    @property
    def length(self) -> tuple[int, int]:
        """Tokens per side."""
        return len(self.english.split()), len(self.german.split())


def without_rare_words(lines: list[Line]) -> list[Line]:
    """Drop lines with a word form that stands fewer than MIN_COUNT times, until none is left."""
    while True:
        times = Counter(word for line in lines for word in line.words)
        kept = [line for line in lines if all(times[word] >= MIN_COUNT for word in line.words)]
        if len(kept) == len(lines):
            return kept
        lines = kept


class Corpus:
    """Draws lines, all different, and sorts them into files."""

    def __init__(self, seed: int) -> None:
        self.speaker = Speaker(seed)
        self.unseen = held_out_pairs(random.Random(seed + 1))
        self.partners: dict[str, set[str]] = {}
        for a, b in self.unseen:
            self.partners.setdefault(a, set()).add(b)
        self.german_of: dict[str, str] = {}

    def draw(self, name: str) -> Line | None:
        """One line of a construction, or None if the draw did not fit or is not new."""
        try:
            pair = CONSTRUCTIONS[name][1](self.speaker)
        except Unfit:
            return None
        found = content_words(pair)
        if max(Counter(found).values(), default=1) > 1:
            return None  # "the man sees the man"
        english, german = tidy(pair.english), tidy(pair.german)
        line = Line(
            " ".join(t.text for t in english),
            " ".join(t.text for t in german),
            align(english, german),
            name,
        )
        known = self.german_of.setdefault(line.english, line.german)
        if known != line.german:
            raise ValueError(f"two translations of {line.english!r}: {known!r}, {line.german!r}")
        present = {word for _, word in found}
        line.held_out = frozenset(
            (a, b) for a in present for b in self.partners.get(a, ()) if b in present
        )
        if line.held_out and not (len(line.held_out) == 1 and line.held_out <= related_pairs(pair)):
            return None
        return line

    def make(self) -> dict[str, list[Line]]:
        """All files' lines."""
        weights = {name: weight for name, (weight, _) in CONSTRUCTIONS.items() if weight}
        pool: dict[str, Line] = {}
        compositional: dict[str, Line] = {}
        times: Counter = Counter()
        want = int(sum(SIZES.values()) * 1.15)
        while len(pool) < want or len(compositional) < EXTRA_SIZE * 1.2:
            line = None
            name = self.speaker.weighted(weights)
            while line is None:
                line = self.draw(name)
            if max(line.length) > MAX_TOKENS or line.english in pool:
                continue
            if not line.held_out and len(pool) < want:
                pool[line.english] = line
            elif line.held_out and times[line.held_out] < 4:
                times[line.held_out] += 1
                compositional[line.english] = line
        return self.split(list(pool.values()), list(compositional.values()))

    def split(self, pool: list[Line], compositional: list[Line]) -> dict[str, list[Line]]:
        """Cut the pool, less its rare words; the two other files use only words of train."""
        pool = without_rare_words(pool)
        self.speaker.rng.shuffle(pool)
        files, start = {}, 0
        for name, size in SIZES.items():
            files[name] = pool[start : start + size]
            start += size
        seen = {word for line in files["train"] for word in line.words}
        files["test_compositional"] = [x for x in compositional if seen.issuperset(x.words)][
            :EXTRA_SIZE
        ]
        files["test_long"] = self.long_lines(max(max(x.length) for x in files["train"]), seen)
        return files

    def long_lines(self, longest: int, seen: set[str]) -> list[Line]:
        """Lines longer on both sides than any in train."""
        lines: dict[str, Line] = {}
        while len(lines) < EXTRA_SIZE:
            line = self.draw("long_sentence")
            if line is None or line.held_out or not seen.issuperset(line.words):
                continue
            if longest < min(line.length) and max(line.length) <= MAX_LONG:
                lines[line.english] = line
        return list(lines.values())


def write(files: dict[str, list[Line]], folder: Path) -> None:
    """Write the files: English, German, alignment, separated by tabs."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        rows = "".join(f"{x.english}\t{x.german}\t{x.alignment}\n" for x in lines)
        (folder / f"{name}.tsv").write_bytes(rows.encode())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "en_de", help="folder to write to")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    files = Corpus(options.seed).make()
    write(files, options.out)
    for name, lines in files.items():
        print(f"{name}: {len(lines)} pairs, longest {max(max(x.length) for x in lines)} tokens")
    for name, number in Counter(x.construction for x in files["train"]).most_common():
        print(f"{number:6d}  {name}")


if __name__ == "__main__":
    main()
