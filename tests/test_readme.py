"""What the README and the pages show: it runs, and what they name is there."""

import dataclasses
import importlib
import os
import pkgutil
import re
import shlex
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.common.catalogue import programs
from seqjax import CELLS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "notebooks" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
PLACEHOLDERS = {"NAME", "PATH", "RUN"}  # what a reader writes something else for

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))


def test_the_example_runs():
    example = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    names: dict = {}
    exec(example, names)
    grads = names["grads"]
    assert jax.tree.structure(grads) == jax.tree.structure(names["params"])
    assert all(np.all(np.isfinite(g)) and np.any(g != 0) for g in jax.tree.leaves(grads))


def test_readme_is_short():
    assert len(README.splitlines()) <= 150


def test_every_cell_every_program_and_every_room_is_named():
    cells = (ROOT / "docs" / "cells.md").read_text(encoding="utf-8")
    for name in CELLS:
        assert f"`{name}`" in cells
    assert f"There are {len(CELLS)} [cells]" in README
    for name in programs():
        assert f"`python -m experiments.{name}`" in README
    for path in (ROOT / "seqjax").glob("*/__init__.py"):
        assert f"\n      {path.parent.name}/ " in CONTRIBUTING


@each_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("https://", "#")):
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"]({page.name})" in index, page.name


def code(page):
    """The indented lines of a page, those that end in a backslash joined, and its `spans`."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    lines = re.findall(r"(?m)^    (.+)", text)
    spans = re.findall(r"`([^`]+)`", re.sub(r"(?m)^    .+", "", text))
    return lines, [" ".join(span.split()) for span in spans]


def fields(name):
    """The options of a program, by name."""
    config = importlib.import_module(f"experiments.{name}").Config
    return {field.name: field for field in dataclasses.fields(config)}


def takes(field, value):
    """Whether an option can have a value; None where only `--name` is written."""
    choices = field.metadata["choices"]
    if value is None or field.type is bool:
        return value is None
    if value in field.metadata["words"]:
        return True
    if choices:
        return value in choices or bool(field.metadata["check"] and ":" in value)
    try:
        field.type(value)
    except ValueError:
        return False
    return True


def parse(flag):
    name, given, value = flag.removeprefix("--").partition("=")
    return name, value if given else None


OF_ALL = ("help", "compilation_cache")  # flags of every program
OF_SEVERAL = ("coordinator", "num_processes", "process_id")  # ... of those that train


@each_page
def test_commands_are_commands(page):
    """Every `python -m experiments.X --flag=value` names a program, its flags and their values."""
    lines, spans = code(page)
    for command in re.findall(r"python -m experiments\.\w+.*", "\n".join(lines + spans)):
        program, *arguments = shlex.split(command, comments=True)[2:]
        if "--" in arguments:  # behind it stands another program's command
            place = arguments.index("--")
            inner = re.sub(r"^experiments\.", "", arguments[place + 1])
            names = set(fields(inner))
            assert {parse(a)[0] for a in arguments[place + 2 :]} <= names, command
            arguments = arguments[:place]
        name = program.removeprefix("experiments.")
        if name in PLACEHOLDERS:
            continue
        if "." in name:  # a part of a program that is run by hand
            path = ROOT / "experiments" / f"{name.replace('.', '/')}.py"
            assert "__main__" in path.read_text(encoding="utf-8"), command
        else:
            assert name in programs(), command
        for flag, value in (parse(a) for a in arguments if a.startswith("--")):
            if flag in OF_SEVERAL and "save_seconds" in fields(name):
                continue
            field = fields(name).get(flag)
            assert field is not None, f"{command}: no --{flag}"
            assert value is not None or field.type is bool, f"{command}: --{flag} needs a value"
            assert takes(field, value), f"{command}: --{flag}={value}"


@each_page
def test_flags_belong_to_a_program_of_the_page(page):
    """... where they stand by themselves, as `--flag` or `--flag=value`."""
    lines, spans = code(page)
    text = "\n".join(lines + spans)
    named = [n for n in programs() if n in spans or re.search(rf"experiments\.{n}\b", text)]
    options = [fields(name) for name in named]
    for span in spans:
        for flag, value in (parse(a) for a in shlex.split(span) if span.startswith("--")):
            known = [of[flag] for of in options if flag in of]
            fits = any(value is None or takes(field, value) for field in known)
            assert flag in (*OF_ALL, *OF_SEVERAL) or fits, (
                f"--{flag}={value} is an option of none of {named}"
            )


@each_page
def test_modules_and_files_are_there(page):
    lines, spans = code(page)
    for span in spans + [line for line in lines if "python" in line]:
        for name in re.findall(r"\b(?:seqjax|experiments)(?:\.\w+)+", span):
            if not PLACEHOLDERS & set(name.split(".")):
                pkgutil.resolve_name(name)
        for path in re.findall(r"\b(?:seqjax|experiments|tests|docs|notebooks)/[\w./]*", span):
            if not PLACEHOLDERS & set(re.split(r"\W", path)):
                assert (ROOT / path).exists(), path


CODE = [
    pytest.param(page, code, id=f"{page.name}-{number}")
    for page in PAGES
    for number, code in enumerate(
        re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    )
]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras, NumPy 2
@pytest.mark.parametrize(("page", "code"), CODE)
def test_code_on_pages_runs(page, code):
    for library in ("torch", "keras", "equinox"):
        if re.search(rf"import .*\b{library}\b", code):
            os.environ.setdefault("KERAS_BACKEND", "jax")
            pytest.importorskip(library)
    exec(code, {})
