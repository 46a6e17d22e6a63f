# ruff: noqa: E501 (the golden sentences stay on one line)
"""The English-German corpus: its files, its grammar, its alignments."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

DATA = Path(__file__).parent.parent / "data"
NAMES = ("train", "valid", "test", "test_compositional", "test_long")


def load_generator():
    spec = importlib.util.spec_from_file_location("generate_en_de", DATA / "generate_en_de.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate_en_de"] = module
    spec.loader.exec_module(module)
    return module


gen = load_generator()


@pytest.fixture(scope="module")
def files():
    return {
        name: [
            tuple(line.split("\t"))
            for line in (DATA / "en_de" / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
        ]
        for name in NAMES
    }


# ------------------------------------------------------------------ files


def test_same_seed_same_bytes(tmp_path):
    gen.write(gen.Corpus(0).make(), tmp_path)
    for name in NAMES:
        made = (tmp_path / f"{name}.tsv").read_bytes()
        assert made == (DATA / "en_de" / f"{name}.tsv").read_bytes(), name


def test_sizes(files):
    sizes = {name: len(lines) for name, lines in files.items()}
    assert sizes == {"train": 20_000, "valid": 1_000, "test": 1_000,
                     "test_compositional": 500, "test_long": 500}  # fmt: skip
    assert all(len(line) == 3 for lines in files.values() for line in lines)


def test_unique_and_a_function(files):
    english = [en for lines in files.values() for en, _, _ in lines]
    assert len(english) == len(set(english))  # so no overlap, and one German for each English
    assert all(" ".join(text.split()) == text for lines in files.values() for line in lines
               for text in line)  # fmt: skip


@pytest.mark.parametrize("side", [0, 1])
def test_every_word_is_in_train(files, side):
    seen = {word for line in files["train"] for word in line[side].split()}
    for name in NAMES[1:]:
        assert {word for line in files[name] for word in line[side].split()} <= seen, name


def test_vocabulary_size(files):
    german = {word for line in files["train"] for word in line[1].split()}
    assert 900 <= len(german) <= 1600


def test_long_is_longer(files):
    for side in (0, 1):
        longest = max(len(line[side].split()) for line in files["train"])
        assert longest <= gen.MAX_TOKENS
        assert min(len(line[side].split()) for line in files["test_long"]) > longest


def test_alignment_in_range_and_complete(files):
    for lines in files.values():
        for en, de, links in lines:
            sizes = len(en.split()), len(de.split())
            seen = set(), set()
            for link in links.split():
                i, j = map(int, re.fullmatch(r"(\d+)[-p](\d+)", link).groups())
                assert i < sizes[0], (en, link)
                assert j < sizes[1], (de, link)
                seen[0].add(i)
                seen[1].add(j)
            assert [len(side) for side in seen] == list(sizes), (en, de, links)


def test_nouns_have_a_sure_link(files):
    nouns = {form for n in gen.NOUNS.values() for form in (n.en, n.en_plural)}
    for en, _, links in files["test"]:
        sure = {int(link.split("-")[0]) for link in links.split() if "-" in link}
        for i, word in enumerate(en.split()):
            assert word not in nouns or i in sure, (en, word)


def test_sentence_ends(files):
    for lines in files.values():
        for en, de, _ in lines:
            assert en[-2:] == de[-2:] in (" .", " ?")
            assert ", ," not in de
            assert ", ." not in de


# ------------------------------------------------------------------ unseen pairs


def forms(word):
    """All surface forms that an English word can have."""
    out = {word}
    if word in gen.NOUNS:
        out.add(gen.NOUNS[word].en_plural)
    if word in gen.ADJECTIVES:
        out.add(gen.english_comparative(gen.ADJECTIVES[word])[-1])
    for frame in gen.VERBS.values():
        if word in frame:
            out |= {gen.english_past(frame[word])[0], gen.english_ing(frame[word])[0],
                    gen.add_s(word)}  # fmt: skip
    return out


def test_compositional_pairs_are_unseen_and_their_words_seen(files):
    pairs = [(forms(a), forms(b)) for a, b in sorted(gen.Corpus(0).unseen)]
    sentences = [set(en.split()) for name in ("train", "valid", "test") for en, _, _ in files[name]]
    where = {}
    for number, sentence in enumerate(sentences):
        for word in sentence:
            where.setdefault(word, set()).add(number)

    def found(some):
        return set().union(*(where.get(word, set()) for word in some))

    for a, b in pairs:
        assert not found(a) & found(b), (a, b)
    for en, _, _ in files["test_compositional"]:
        sentence = set(en.split())
        used = [(a, b) for a, b in pairs if a & sentence and b & sentence]
        assert used, en
        assert all(found(a) and found(b) for a, b in used), en


# ------------------------------------------------------------------ lexicon


def test_lexicon_counts():
    verbs = {v.infinitive for frame in gen.VERBS.values() for v in frame.values()}
    assert len(gen.NOUNS) >= 180
    assert len(verbs) + len(gen.LEXICON["modals"]) >= 110
    assert len(gen.ADJECTIVES) >= 70
    assert len(gen.CONSTRUCTIONS) >= 14


def test_selection_that_picks_nothing_is_an_error():
    with pytest.raises(ValueError, match="picks no noun"):
        gen.select("unicorn")


@pytest.mark.parametrize(
    ("infinitive", "forms"),
    {
        "spielen": "spiele spielst spielt spielen gespielt",
        "lächeln": "lächle lächelst lächelt lächeln gelächelt",
        "arbeiten": "arbeite arbeitest arbeitet arbeiten gearbeitet",
        "öffnen": "öffne öffnest öffnet öffnen geöffnet",
        "lesen": "lese liest liest lesen gelesen",
        "halten": "halte hältst hält halten gehalten",
        "einladen": "lade lädst lädt laden eingeladen",
        "mögen": "mag magst mag mögen gemocht",
        "wissen": "weiß weißt weiß wissen gewusst",
        "haben": "habe hast hat haben gehabt",
        "reparieren": "repariere reparierst repariert reparieren repariert",
        "besuchen": "besuche besuchst besucht besuchen besucht",
        "aufwachen": "wache wachst wacht wachen aufgewacht",
        "gehören": "gehöre gehörst gehört gehören gehört",
        "bellen": "belle bellst bellt bellen gebellt",
        "überlegen": "überlege überlegst überlegt überlegen überlegt",
        "füttern": "füttere fütterst füttert füttern gefüttert",
        "essen": "esse isst isst essen gegessen",
    }.items(),
)
def test_german_verb_forms(infinitive, forms):
    verb = next(v for f in gen.VERBS.values() for v in f.values() if v.infinitive == infinitive)
    made = [gen.german_present(verb, p, False) for p in (1, 2, 3)]
    made += [gen.german_present(verb, 3, True), gen.german_participle(verb)]
    assert " ".join(made) == forms


@pytest.mark.parametrize(
    ("det", "slot", "forms"),
    [  # nominative, accusative, dative, genitive of "alt"
        ("the", "m", "der alte den alten dem alten des alten"),
        ("the", "f", "die alte die alte der alten der alten"),
        ("the", "n", "das alte das alte dem alten des alten"),
        ("the", "pl", "die alten die alten den alten der alten"),
        ("a", "m", "ein alter einen alten einem alten eines alten"),
        ("a", "f", "eine alte eine alte einer alten einer alten"),
        ("a", "n", "ein altes ein altes einem alten eines alten"),
        ("", "m", "alter alten altem alten"),
        ("", "f", "alte alte alter alter"),
        ("", "n", "altes altes altem alten"),
        ("", "pl", "alte alte alten alter"),
        ("my", "pl", "meine alten meine alten meinen alten meiner alten"),
        ("our", "m", "unser alter unseren alten unserem alten unseres alten"),
        ("this", "f", "diese alte diese alte dieser alten dieser alten"),
        ("many", "pl", "viele alte viele alte vielen alten viele alter"),
    ],
)
def test_adjective_endings(det, slot, forms):
    cases = ("nom", "acc", "dat") if det == "many" else ("nom", "acc", "dat", "gen")
    made = [
        f"{gen.german_determiner(det, slot, case)} alt{gen.adjective_ending(det, slot, case)}"
        for case in cases
    ]
    assert " ".join(" ".join(made).split()) == " ".join(forms.split()[: 2 * len(cases)])


# ------------------------------------------------------------------ golden sentences


def noun_phrase(text):
    """Read a noun phrase of the lexicon: "the old woman", "Anna 's dog", "he", "water"."""
    if text in gen.PRONOUNS:
        return gen.NP(pronoun=text)
    if text in ("who", "what"):
        return gen.NP(question=text)
    if text.istitle() and " " not in text:
        return gen.NP(name=text)
    if " and " in text:
        return gen.NP(both=tuple(map(noun_phrase, text.split(" and "))))
    if " 's " in text:
        owner, rest = text.split(" 's ")
        np = noun_phrase(rest)
        np.owner = noun_phrase(owner)
        return np
    if " of " in text:
        head, rest = text.split(" of ")
        np = noun_phrase(head)
        np.content, np.whole = (
            (None, noun_phrase(rest)) if "the" in rest else (noun_phrase(rest), None)
        )
        return np
    *before, noun = text.split()
    plurals = {n.en_plural: n.en for n in gen.NOUNS.values()}
    det = {"an": "a", "these": "this"}.get(before[0], before[0]) if before else ""
    if det in gen.ADJECTIVES:
        det = ""
    else:
        before = before[1:]
    singular = noun if noun in gen.NOUNS else plurals[noun]
    adjectives = [gen.ADJECTIVES[word] for word in before]
    return gen.NP(gen.NOUNS[singular], det, singular != noun, adjectives)


def adverbial(text):
    """An adverb of the lexicon, or "in / in dat / the garden"."""
    if "/" in text:
        en, german, inner = (part.strip() for part in text.split("/"))
        return gen.Adverbial(en, german.split()[0], noun_phrase(inner), german.split()[1])
    table = next(t for t in gen.LEXICON["adverbs"].values() if text in t)
    return gen.Adverbial(text, table[text])


def clause(verb, subject, tense="present", **slots):
    """A clause from strings."""
    if verb == "be":
        predicate = slots.pop("predicate")
        if isinstance(predicate, str):
            *degree, adjective = predicate.split()
            predicate = gen.Predicate(gen.ADJECTIVES[adjective], *degree)
        slots["predicate"] = predicate
    frames = [slots.pop("frame")] if "frame" in slots else list(gen.VERBS)
    found = next(v for f in frames for v in gen.VERBS[f].values() if v.en == verb)
    subject = noun_phrase(subject) if isinstance(subject, str) else subject
    for name, value in slots.items():
        if name in ("direct", "dative", "prepositional") and isinstance(value, str):
            slots[name] = noun_phrase(value)
        elif name in ("time", "frequency", "manner", "company", "place") and isinstance(value, str):
            slots[name] = adverbial(value)
    return gen.Clause(found, subject, tense, **slots)


def say(c, front=None):
    return gen.sentence(c, front=getattr(c, front) if front else None)


def ask(c, front=None):
    part = getattr(c, front) if front else None
    en = gen.english_clause(c, question=True, front=part)
    de = gen.german_clause(c, "main" if front else "question", front=part)
    return gen.Pair([*en, gen.ASK], [*de, gen.ASK], [c])


def compare(adjective, than, equal=False):
    return gen.Predicate(gen.ADJECTIVES[adjective], than=noun_phrase(than), equal=equal)


def it_after(np):
    """The pronoun that takes up this noun phrase."""
    return gen.stands_for(np)


def because_it(verb, subject, tense, adjective, of, **slots):
    main = clause(verb, subject, tense, **slots)
    cause = getattr(main, of)
    state = clause(
        "be", it_after(cause), "past" if tense == "past" else "present", predicate=adjective
    )
    return gen.joined(main, ("because", "weil"), state)


def relative(verb, subject, tense, whose, case, inner, **slots):
    """A sentence; `inner` (verb, tense, slots) is a relative clause on its phrase `whose`."""
    main = clause(verb, subject, tense, **slots)
    np = getattr(main, whose)
    gap = gen.NP(np.noun, "the", np.plural, gap=True)
    inner_verb, inner_tense, inner_slots = inner
    role = {"nom": "subject", "acc": "direct", "dat": "dative"}[case]
    sub = clause(inner_verb, inner_slots.pop("subject", gap), inner_tense, **inner_slots)
    setattr(sub, role, gap)
    np.relative = gen.Relative(sub, gap, case)
    return say(main)


def sub(link, main, second, first=False):
    return gen.sub_first(link, second, main) if first else gen.joined(main, link, second)


DASS, OB = ("that", "dass"), ("whether", "ob")
WENN, OBWOHL, BEVOR, WHILE = ("if", "wenn"), ("although", "obwohl"), ("before", "bevor"), (
    "while", "während")  # fmt: skip

GOLDEN = {
    # statement, tenses, dative
    "the old woman gives the child a red apple . = die alte Frau gibt dem Kind einen roten Apfel .":
        lambda: say(clause("give", "the old woman", dative="the child", direct="a red apple")),
    "the farmer sold his horse . = der Bauer hat sein Pferd verkauft .":
        lambda: say(clause("sell", "the farmer", "past", direct="his horse")),
    "the boys are reading a long story . = die Jungen lesen eine lange Geschichte .":
        lambda: say(clause("read", "the boys", "progressive", direct="a long story")),
    "she drank cold milk . = sie hat kalte Milch getrunken .":
        lambda: say(clause("drink", "she", "past", direct="cold milk")),
    "the nurse helped the sick children . = die Krankenschwester hat den kranken Kindern geholfen .":
        lambda: say(clause("help", "the nurse", "past", dative="the sick children")),
    "the policeman followed the thief . = der Polizist ist dem Dieb gefolgt .":
        lambda: say(clause("follow", "the policeman", "past", dative="the thief")),
    "the car belongs to my neighbour . = das Auto gehört meinem Nachbarn .":
        lambda: say(clause("belong to", "the car", dative="my neighbour")),
    "Anna will wait for the bus . = Anna wird auf den Bus warten .":
        lambda: say(clause("wait for", "Anna", "future", prepositional="the bus")),
    "he explained the rule to the pupils . = er hat den Schülern die Regel erklärt .":
        lambda: say(clause("explain", "he", "past", dative="the pupils", direct="the rule")),
    "we had no money . = wir hatten kein Geld .":
        lambda: say(clause("have", "we", "past", direct="no money")),
    "the boy sees the bear . = der Junge sieht den Bären .":
        lambda: say(clause("see", "the boy", direct="the bear")),
    "Paul drinks two cups of tea . = Paul trinkt zwei Tassen Tee .":
        lambda: say(clause("drink", "Paul", direct="two cups of tea")),
    "the woman is buying bread and cheese . = die Frau kauft Brot und Käse .":
        lambda: say(clause("buy", "the woman", "progressive", direct="bread and cheese")),
    "the dog always barks . = der Hund bellt immer .":
        lambda: say(clause("bark", "the dog", frequency="always")),
    "every child likes chocolate . = jedes Kind mag Schokolade .":
        lambda: say(clause("like", "every child", direct="chocolate")),
    # separable verbs
    "Maria turns on the lamp . = Maria schaltet die Lampe ein .":
        lambda: say(clause("turn on", "Maria", direct="the lamp")),
    "the train has no price . = der Zug hat keinen Preis .":
        lambda: say(clause("have", "the train", direct="no price")),
    "my brother got up . = mein Bruder ist aufgestanden .":
        lambda: say(clause("get up", "my brother", "past")),
    "she picked him up . = sie hat ihn abgeholt .":
        lambda: say(clause("pick up", "she", "past", direct="he")),
    "the boss invites the new colleague . = der Chef lädt den neuen Kollegen ein .":
        lambda: say(clause("invite", "the boss", direct="the new colleague")),
    # verb second
    "yesterday the children played in the garden . = gestern haben die Kinder im Garten gespielt .":
        lambda: say(clause("play", "the children", "past", time="yesterday",
                           place="in / in dat / the garden"), "time"),
    "tomorrow I will travel to Vienna . = morgen werde ich nach Wien reisen .":
        lambda: say(clause("travel", "I", "future", time="tomorrow",
                           place="to / nach dat / Vienna"), "time"),
    "next to the bed a small lamp lies . = neben dem Bett liegt eine kleine Lampe .":
        lambda: say(clause("lie", "a small lamp", place="next to / neben dat / the bed"), "place"),
    "despite the rain they went to the market . = trotz des Regens sind sie auf den Markt gegangen .":
        lambda: say(clause("go", "they", "past", time="despite / trotz gen / the rain",
                           place="to / auf acc / the market"), "time"),
    "on Monday our teacher flew to Rome with his sister . = am Montag ist unser Lehrer mit seiner Schwester nach Rom geflogen .":
        lambda: say(clause("fly", "our teacher", "past", time="on Monday", place="to / nach dat / Rome",
                           company="with / mit dat / his sister"), "time"),
    # places
    "the pupils go to the school . = die Schüler gehen zur Schule .":
        lambda: say(clause("go", "the pupils", place="to / zu dat / the school")),
    "she is driving to the sea . = sie fährt ans Meer .":
        lambda: say(clause("drive", "she", "progressive", place="to / an acc / the sea")),
    "the cat ran into the kitchen . = die Katze ist in die Küche gelaufen .":
        lambda: say(clause("run", "the cat", "past", place="into / in acc / the kitchen")),
    # negation
    "the boy does not eat the soup . = der Junge isst die Suppe nicht .":
        lambda: say(clause("eat", "the boy", direct="the soup", negated=True)),
    "the boy does not eat an apple . = der Junge isst keinen Apfel .":
        lambda: say(clause("eat", "the boy", direct="an apple", negated=True)),
    "I did not see him . = ich habe ihn nicht gesehen .":
        lambda: say(clause("see", "I", "past", direct="he", negated=True)),
    "we are not waiting for the doctor . = wir warten nicht auf den Arzt .":
        lambda: say(clause("wait for", "we", "progressive", prepositional="the doctor", negated=True)),
    "Tom cannot sleep . = Tom kann nicht schlafen .":
        lambda: say(clause("sleep", "Tom", modal="can", negated=True)),
    "the red shoes are not expensive . = die roten Schuhe sind nicht teuer .":
        lambda: say(clause("be", "the red shoes", predicate="expensive", negated=True)),
    # modals
    "the soldier must clean the dirty windows . = der Soldat muss die schmutzigen Fenster putzen .":
        lambda: say(clause("clean", "the soldier", modal="must", direct="the dirty windows")),
    "the prince wanted to marry the actress . = der Prinz wollte die Schauspielerin heiraten .":
        lambda: say(clause("marry", "the prince", "past", modal="want", direct="the actress")),
    "I would like to order a pizza . = ich möchte eine Pizza bestellen .":
        lambda: say(clause("order", "I", modal="would", direct="a pizza")),
    "the guests had to get up . = die Gäste mussten aufstehen .":
        lambda: say(clause("get up", "the guests", "past", modal="must")),
    # questions
    "can you help me ? = kannst du mir helfen ?":
        lambda: ask(clause("help", "you", modal="can", dative="I")),
    "did the thief steal the ring ? = hat der Dieb den Ring gestohlen ?":
        lambda: ask(clause("steal", "the thief", "past", direct="the ring")),
    "who bought the white house ? = wer hat das weiße Haus gekauft ?":
        lambda: ask(clause("buy", "who", "past", direct="the white house"), "subject"),
    "what does the chef cook ? = was kocht der Koch ?":
        lambda: ask(clause("cook", "the chef", direct="what"), "direct"),
    "whom are the waiters helping ? = wem helfen die Kellner ?":
        lambda: ask(clause("help", "the waiters", "progressive", dative="who"), "dative"),
    "which book did Lena read ? = welches Buch hat Lena gelesen ?":
        lambda: ask(clause("read", "Lena", "past", direct="which book"), "direct"),
    # verb-final clauses
    "the man works although he is sick . = der Mann arbeitet , obwohl er krank ist .":
        lambda: sub(OBWOHL, clause("work", "the man"), clause("be", "he", predicate="sick")),
    "she believes that the guest has a dog . = sie glaubt , dass der Gast einen Hund hat .":
        lambda: sub(DASS, clause("believe", "she"), clause("have", "the guest", direct="a dog")),
    "I do not know whether the train departed . = ich weiß nicht , ob der Zug abgefahren ist .":
        lambda: sub(OB, clause("know", "I", negated=True, frame="special"),
                    clause("depart", "the train", "past")),
    "if it rains , we will stay in the hotel . = wenn es regnet , werden wir im Hotel bleiben .":
        lambda: sub(WENN, clause("stay", "we", "future", place="in / in dat / the hotel"),
                    clause("rain", "it"), first=True),
    "before the guests arrive , I will tidy up the kitchen . = bevor die Gäste ankommen , werde ich die Küche aufräumen .":
        lambda: sub(BEVOR, clause("tidy up", "I", "future", direct="the kitchen"),
                    clause("arrive", "the guests"), first=True),
    "while the baby is sleeping , Emma is cooking . = während das Baby schläft , kocht Emma .":
        lambda: sub(WHILE, clause("cook", "Emma", "progressive"),
                    clause("sleep", "the baby", "progressive"), first=True),
    # "it" has the gender of what it stands for
    "the old woman gives the child a red apple because it is hungry . = die alte Frau gibt dem Kind einen roten Apfel , weil es hungrig ist .":
        lambda: because_it("give", "the old woman", "present", "hungry", "dative",
                           dative="the child", direct="a red apple"),
    "Paul bought the coat because it was cheap . = Paul hat den Mantel gekauft , weil er billig war .":
        lambda: because_it("buy", "Paul", "past", "cheap", "direct", direct="the coat"),
    "Paul bought the jacket because it was cheap . = Paul hat die Jacke gekauft , weil sie billig war .":
        lambda: because_it("buy", "Paul", "past", "cheap", "direct", direct="the jacket"),
    # relative clauses
    "the man who lives in Cologne is rich . = der Mann , der in Köln wohnt , ist reich .":
        lambda: relative("be", "the man", "present", "subject", "nom",
                         ("live", "present", {"place": "in / in dat / Cologne"}), predicate="rich"),
    "the girl reads the book that her aunt bought . = das Mädchen liest das Buch , das ihre Tante gekauft hat .":
        lambda: relative("read", "the girl", "present", "direct", "acc",
                         ("buy", "past", {"subject": "her aunt"}), direct="the book"),
    "the children whom Anna helps are tired . = die Kinder , denen Anna hilft , sind müde .":
        lambda: relative("be", "the children", "present", "subject", "dat",
                         ("help", "present", {"subject": "Anna"}), predicate="tired"),
    "Tom called the boy whom the dog bit . = Tom hat den Jungen angerufen , den der Hund gebissen hat .":
        lambda: relative("call", "Tom", "past", "direct", "acc",
                         ("bite", "past", {"subject": "the dog"}), direct="the boy"),
    # comparison, possession
    "the train is faster than the bus . = der Zug ist schneller als der Bus .":
        lambda: say(clause("be", "the train", predicate=compare("fast", "the bus"))),
    "the tower was higher than our house . = der Turm war höher als unser Haus .":
        lambda: say(clause("be", "the tower", "past", predicate=compare("high", "our house"))),
    "Julia is not as tall as her brother . = Julia ist nicht so groß wie ihr Bruder .":
        lambda: say(clause("be", "Julia", negated=True, predicate=compare("tall", "her brother", True))),
    "the film is more interesting than the book . = der Film ist interessanter als das Buch .":
        lambda: say(clause("be", "the film", predicate=compare("interesting", "the book"))),
    "the student 's bicycle is too old . = das Fahrrad des Studenten ist zu alt .":
        lambda: say(clause("be", "the student 's bicycle", predicate="too old")),
    "we see Anna 's black cat . = wir sehen Annas schwarze Katze .":
        lambda: say(clause("see", "we", direct="Anna 's black cat")),
    "the roof of the house was green . = das Dach des Hauses war grün .":
        lambda: say(clause("be", "the roof of the house", "past", predicate="green")),
    "the dark room is very cold . = das dunkle Zimmer ist sehr kalt .":
        lambda: say(clause("be", "the dark room", predicate="very cold")),
}  # fmt: skip


@pytest.mark.parametrize("pair", GOLDEN)
def test_golden_sentences(pair):
    english, german = pair.split(" = ")
    made = GOLDEN[pair]()
    assert " ".join(t.text for t in gen.tidy(made.english)) == english
    assert " ".join(t.text for t in gen.tidy(made.german)) == german


@pytest.mark.parametrize(
    ("pair", "links"),
    [
        # an article's noun is a possible link: 1p0
        ("the boy does not eat an apple . = der Junge isst keinen Apfel .",
         "0-0 1p0 1-1 2p2 3-3 4-2 5-3 6p3 6-4 7-5"),
        # verb and separable prefix; "on" belongs to the verb
        ("Maria turns on the lamp . = Maria schaltet die Lampe ein .",
         "0-0 1-1 1-4 2-1 2-4 3-2 4p2 4-3 5-5"),
        # the participle is sure, the auxiliary possible
        ("my brother got up . = mein Bruder ist aufgestanden .",
         "0-0 1p0 1-1 2p2 2-3 3p2 3-3 4-4"),
        # "did" and "hat" are both auxiliaries
        ("did the thief steal the ring ? = hat der Dieb den Ring gestohlen ?",
         "0-0 0p5 1-1 2p1 2-2 3p0 3-5 4-3 5p3 5-4 6-6"),
        # the comma is called for by "because"; "it" is decided by the jacket
        ("Paul bought the jacket because it was cheap . = Paul hat die Jacke gekauft , weil sie billig war .",
         "0-0 1p1 1-4 2-2 3p2 3-3 3p7 4p5 4-6 5-7 6-9 7-8 8-10"),
    ],
)  # fmt: skip
def test_golden_alignments(pair, links):
    made = GOLDEN[pair]()
    assert gen.align(gen.tidy(made.english), gen.tidy(made.german)) == links


def test_two_germans_for_one_english_is_an_error(monkeypatch):
    corpus = gen.Corpus(0)
    corpus.german_of = dict.fromkeys(["I laugh ."], "falsch")
    pair = say(clause("laugh", "I"))
    monkeypatch.setitem(gen.CONSTRUCTIONS, "statement", (1, lambda speaker: pair))
    with pytest.raises(ValueError, match="two translations"):
        corpus.draw("statement")
