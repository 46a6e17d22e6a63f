"""One address for the repository, everywhere, and `make stamp` changes it everywhere."""

import re
import shutil
import subprocess
import sys

import pytest

import stamp as module
from notebooks import ROOT
from stamp import PLACEHOLDER, addresses, main, repository, stamp, texts

HERE = repository(ROOT)
OWNER, NAME = HERE.split("/")
WRONG = "a / a/ /b a/b/c -a/b a-/b a--b/c a_b/c ä/b a/. a/.. a/b.git https://github.com/a/b"
COLAB = addresses(HERE)[1].removesuffix(HERE)
PAIR = r"([\w-]+)/([\w.-]*[\w-])"


def wrong_addresses(root):
    """List what has the course's owner, or its name, or is in Colab, and is not its address."""
    owner, name = repository(root).split("/")
    wrong = []
    for path, text in texts(root).items():
        for line in (line for line in text.splitlines() if "github" in line):
            pairs = re.findall(rf"github(?:usercontent)?\.com/{PAIR}", line)
            pairs += re.findall(PAIR.replace("/", r"\.github\.io/"), line)
            found = [pair for pair in pairs if owner in pair or name in pair]
            found += re.findall(rf"google\.com/github/{PAIR}", line)
            right = (owner, name), (owner, f"{name}.git")
            wrong += [(path.name, pair) for pair in found if pair not in right]
    return wrong


def count(root, repository):
    text = "\n".join(texts(root).values())
    return sum(text.count(address) for address in addresses(repository))


def contents(root):
    return {path.relative_to(root): text for path, text in texts(root).items()}


def copy(paths, root):
    """Copy files of the course into a repository of their own."""
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    for path in paths:
        target = root / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return root


@pytest.fixture
def small(tmp_path):
    """Make a repository that knows its address."""
    return copy([ROOT / "pyproject.toml"], tmp_path)


def test_all_addresses_agree():
    assert wrong_addresses(ROOT) == []
    assert count(ROOT, HERE) > 2 * len([*ROOT.glob("notebooks/*.ipynb")])


@pytest.mark.parametrize(
    "wrong",
    [
        f"github.com/{OWNER}/another",
        f"github.com/another/{NAME}",
        f"{COLAB}another/course",
        f"raw.githubusercontent.com/another/{NAME}/main",
        f"another.github.io/{NAME}",
    ],
)
def test_another_address_is_found(small, wrong):
    (small / "WRONG.md").write_text(f"https://{wrong}/", "utf-8")
    assert [path for path, _ in wrong_addresses(small)] == ["WRONG.md"]


def test_a_stamp_leaves_no_trace_of_the_old_and_can_be_taken_back(tmp_path):
    course = copy(texts(ROOT), tmp_path)
    before, number = contents(course), count(course, HERE)
    long = f"an-owner-whose-name-is-a-long-one/{NAME}"
    stamp(course, long)
    assert repository(course) == long
    assert count(course, HERE) == 0
    assert count(course, long) == number
    assert wrong_addresses(course) == []
    for check in (["check"], ["format", "--check"]):  # long lines in cells, too
        command = [sys.executable, "-m", "ruff", *check, "--quiet", "notebooks", "tools/README.md"]
        subprocess.run(command, cwd=course, check=True)
    stamp(course, HERE)
    assert contents(course) == before


def test_every_form_of_the_address_is_stamped_and_nothing_else(small):
    def forms(repository):
        page, colab, files, site = addresses(repository)
        return f"(https://{page}) +https://{page}.git {page}/a {colab}/b {files}/c {site}/ {site}."

    others = (
        f" {HERE} gitlab.com/{HERE} mygithub.com/{HERE} github.com/{HERE}-2 github.com/{HERE}.js"
    )
    (small / "FORMS.md").write_text(forms(HERE) + others, "utf-8")
    stamp(small, "someone/course")
    assert (small / "FORMS.md").read_text("utf-8") == forms("someone/course") + others


@pytest.mark.parametrize("wrong", [*WRONG.split(), "", "a b/c", "a/b c", "a/b\n", "a" * 40 + "/b"])
def test_what_is_no_owner_and_name_is_refused(small, wrong):
    with pytest.raises(ValueError, match=re.escape(f"owner/name as on GitHub, got {wrong!r}")):
        stamp(small, wrong)
    assert repository(small) == HERE


@pytest.mark.parametrize("right", ["a/b", "A-1/b_c.d-e", "1/.github", f"{PLACEHOLDER}/b"])
def test_what_github_allows_is_accepted(small, right):
    stamp(small, right)
    assert repository(small) == right


def test_the_command_says_what_it_did(small, monkeypatch, capsys):
    monkeypatch.setattr(module, "ROOT", small)
    main(["someone/course"])
    assert capsys.readouterr().out == "someone/course: 1 files changed\n"
    with pytest.raises(SystemExit, match="must be owner/name as on GitHub, got ''"):
        main([])
