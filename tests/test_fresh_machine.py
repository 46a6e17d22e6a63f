"""What `make` does before its first command: it makes .venv, once, and mends what went wrong.

The Makefile and Python are the real ones; pip is a stand-in that counts its runs and can be killed.
"""

import os
import shutil
import subprocess
import sys

import pytest

from notebooks import ROOT

PIP = """\
import os, pathlib, signal, sysconfig
here = pathlib.Path.cwd()
with (here / "runs.txt").open("a") as runs:
    print("run", file=runs)
if (here / "break").exists():
    os.kill(os.getpid(), signal.SIGKILL)
pathlib.Path(sysconfig.get_path("purelib"), "course.pth").write_text(f"{here}\\n", "utf-8")
"""
PYTHON = f"""\
#!/bin/sh
if [ "$2" = venv ]; then set -- "$@" --without-pip; fi
exec '{sys.executable}' "$@"
"""


def write(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(content, "utf-8")
    path.chmod(0o755)


@pytest.fixture
def course(tmp_path):
    """Copy what the install needs into a folder with a difficult name."""
    course = tmp_path / "Zoë's Übung"
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "transformer_lib/__init__.py"):
        (course / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, course / name)
    write(tmp_path / "pip" / "__init__.py", "")
    write(tmp_path / "pip" / "__main__.py", PIP)
    write(tmp_path / "matplotlib" / "font_manager.py", "")
    write(tmp_path / "python", PYTHON)
    return course


def make(course):
    """Install as the first command does; return how it ended, and how often pip has run."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    env["PYTHONPATH"] = str(course.parent)
    command = ["make", f"PYTHON='{course.parent / 'python'}'", ".venv/.installed"]
    done = subprocess.run(command, cwd=course, env=env, capture_output=True, text=True)
    runs = course / "runs.txt"
    return done, runs.read_text("utf-8").count("run") if runs.exists() else 0


def test_a_second_run_installs_nothing(course):
    done, runs = make(course)
    assert (done.returncode, runs) == (0, 1), done.stderr
    done, runs = make(course)
    assert (done.returncode, runs) == (0, 1), done.stderr
    assert "up to date" in done.stdout


def test_an_interrupted_install_starts_afresh(course):
    (course / "break").touch()
    done, runs = make(course)
    assert (done.returncode, runs) == (2, 1), done.stderr
    half = course / ".venv" / "half-installed"
    half.touch()
    (course / "break").unlink()
    done, runs = make(course)
    assert (done.returncode, runs) == (0, 2), done.stderr
    assert not half.exists()


def test_a_new_requirement_is_installed_into_what_is_there(course):
    make(course)
    (course / ".venv" / "kept").touch()
    os.utime(course / ".venv" / ".installed", (0, 0))  # older than the requirements
    done, runs = make(course)
    assert (done.returncode, runs) == (0, 2), done.stderr
    assert (course / ".venv" / "kept").exists()


def test_a_moved_folder_is_installed_again(course):
    make(course)
    moved = course.rename(course.with_name("moved"))
    done, runs = make(moved)
    assert (done.returncode, runs) == (0, 2), done.stderr


def test_an_old_python_is_named_before_anything_is_made(course):
    write(course.parent / "python", "#!/bin/sh\nexit 1\n")
    done, runs = make(course)
    assert (done.returncode, runs) == (2, 0)
    assert "Python 3.11 or newer is needed. Name yours: make lab PYTHON=python3.12" in done.stdout
    assert not (course / ".venv").exists()
