"""Put the repository's address into every file that shows it: make stamp REPO=owner/name

pyproject.toml holds the address; badges, links and install cells repeat it.
"""

import contextlib
import re
import subprocess
import sys
import tomllib

from notebooks import ROOT

PLACEHOLDER = "your_name"  # no owner on GitHub has an underscore
OWNER = rf"{PLACEHOLDER}|(?=.{{1,39}}/)[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*"
NAME = r"(?!\.+$)(?!.*\.git$)[A-Za-z0-9._-]{1,100}"


def repository(root):
    """Read owner/name out of pyproject.toml."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    return project["urls"]["Repository"].removeprefix("https://github.com/")


def addresses(repository):
    """List the addresses of a repository: its page, in Colab, its files, its site."""
    owner, name = repository.split("/")
    hosts = "github.com", "colab.research.google.com/github", "raw.githubusercontent.com"
    return [*(f"{host}/{repository}" for host in hosts), f"{owner}.github.io/{name}"]


def texts(root):
    """Map every text file that git does not ignore to its content."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True).stdout.decode()
    found = {}
    for path in (root / name for name in listed.split("\0")):
        if path.is_file() and not path.is_symlink():
            with contextlib.suppress(UnicodeDecodeError):
                found[path] = path.read_bytes().decode("utf-8")
    return found


def stamp(root, new):
    """Replace the repository's addresses in every text file, and return the changed files.

    Raises:
        ValueError: new is no name of a repository on GitHub.
    """
    if not re.fullmatch(f"(?:{OWNER})/{NAME}", new):
        raise ValueError(f"REPO must be owner/name as on GitHub, got {new!r}")
    pairs = [*zip(addresses(repository(root)), addresses(new), strict=True)]
    changed = []
    for path, text in texts(root).items():
        stamped = text
        for old_address, new_address in pairs:
            if old_address in stamped:
                whole = rf"(?<![\w-]){re.escape(old_address)}(?![\w-]|\.(?!git\b)\w)"
                stamped = re.sub(whole, new_address, stamped)
        if stamped != text:
            path.write_bytes(stamped.encode())
            changed.append(path)
    return changed


def main(arguments):
    """Stamp the repository that this file is in."""
    try:
        changed = stamp(ROOT, " ".join(arguments))
    except ValueError as error:
        sys.exit(str(error))
    print(f"{repository(ROOT)}: {len(changed)} files changed")


if __name__ == "__main__":
    main(sys.argv[1:])
