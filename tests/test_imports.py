"""The direction of data flow: which room may import which, and what a room shows."""

import ast
import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
CORE = {"errors", "types", "init"}
ALLOWED = {  # from the ground floor up; every room may import CORE and itself
    "files": set(),
    "losses": set(),
    "penalties": set(),
    "metrics": set(),
    "tasks": set(),
    "cells": set(),
    "tree_cells": set(),
    "fast_scan": set(),
    "devices": set(),
    "search": set(),
    "data": {"files"},
    "wrappers": {"fast_scan"},
    "recurrence": {"fast_scan"},
    "runs": {"files", "devices"},
    "decode": {"fast_scan"},
    "diagnose": {"recurrence"},
    "layers": {"fast_scan", "recurrence", "wrappers"},
    "models": {"fast_scan", "layers", "recurrence"},
    "interop": {"cells", "data", "files", "models", "recurrence"},
    "training": {
        *("cells", "data", "decode", "devices", "fast_scan", "layers", "losses", "models", "runs")
    },
}
NEEDS = {  # what is no dependency, and the module that needs it
    "equinox": "seqjax.interop.equinox",
    "haiku": "seqjax.interop.haiku",
    "torch": "experiments.regularisation.torch_cost",
}
PURE = {
    "cells",
    "tree_cells",
    "fast_scan",
    "wrappers",
    "recurrence",
    "decode",
    "diagnose",
    "tasks",
}  # of JAX alone
MODULES = [p for p in (ROOT / "seqjax").rglob("*.py") if p != ROOT / "seqjax" / "__init__.py"]
PROGRAMS = sorted((ROOT / "experiments").rglob("*.py"))
BUILT_ON = {
    ("architecture_search", "architectures"),
    ("look_inside", "char_lm"),
    ("mario", "char_lm"),
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from names if node.module in ("seqjax", "experiments") else [node.module]
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_no_room_is_above_another_that_is_above_it():
    rooms = list(ALLOWED)
    for place, (room, below) in enumerate(ALLOWED.items()):
        assert below <= set(rooms[:place]), f"{room} may import {below}: list it after them"


def rooms_of(paths, folder):
    """The files by the room that they are in: one test for each room."""
    rooms = {}
    for path in paths:
        room = path.relative_to(ROOT / folder).parts[0].removesuffix(".py")
        rooms.setdefault(room, []).append(path)
    return [pytest.param(found, id=room) for room, found in rooms.items()]


each_room = pytest.mark.parametrize("paths", rooms_of(MODULES, "seqjax"))


@each_room
def test_library_modules_import_only_what_lies_below(paths):
    for path in paths:
        check_module(path)


def check_module(path):
    room = path.relative_to(ROOT / "seqjax").parts[0].removesuffix(".py")
    allowed = ALLOWED[room] | CORE | {room} if room in ALLOWED else CORE
    for name in imports(path):
        top, *rest = name.split(".")
        assert top not in ("experiments", "tests", "torch", "tensorflow"), name
        if top == "seqjax":
            assert rest[0] in allowed, f"{path.relative_to(ROOT)} imports {name}"
        elif room in PURE | CORE:
            allowed_here = {"jax", "numpy", *sys.stdlib_module_names}
            assert top in allowed_here, f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("paths", rooms_of(PROGRAMS, "experiments"))
def test_studies_do_not_import_each_other(paths):
    """... but `common`, and what a study is built on."""
    for path in paths:
        check_program(path)


def check_program(path):
    room = path.relative_to(ROOT / "experiments").parts[0].removesuffix(".py")
    for name in imports(path):
        if name.startswith("experiments."):
            other = name.split(".")[1]
            assert other in ("common", room) or (room, other) in BUILT_ON, f"{path} imports {name}"
            assert room != "common" or other == "common", f"{path} imports {name}"


@pytest.mark.parametrize("path", list((ROOT / "notebooks").glob("*.py")), ids=lambda p: p.name)
def test_notebooks_read_what_experiments_and_the_library_give(path):
    allowed = {"seqjax", "experiments", "IPython", "matplotlib", "numpy", "jax", "flax", "optax"}
    for name in imports(path):
        assert name.split(".")[0] in allowed | sys.stdlib_module_names, f"{path.name}: {name}"


INTERNALS = {"aval", "manual_axis_type", "str_short", "weak_type"}


@each_room
def test_one_file_touches_what_jax_may_change(paths):
    """`jax.extend`, private modules, and attributes that JAX does not document."""
    for path in paths:
        if path.name != "jaxprs.py":
            check_internals(path)


def check_internals(path):
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    modules = [*imports(path), *(ast.unparse(n) for n in nodes if isinstance(n, ast.Attribute))]
    assert not [
        m for m in modules if m.startswith(("jax.extend", "jax._src", "jax.interpreters"))
    ], path
    assert not {n.attr for n in nodes if isinstance(n, ast.Attribute)} & INTERNALS, path


def names_of_modules(*paths):
    """The names of modules, but for those whose library is not installed."""
    names = [
        p.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        for p in paths
    ]
    absent = [NEEDS[library] for library in NEEDS if not importlib.util.find_spec(library)]
    return [name for name in names if name not in absent]


@pytest.mark.whole
def test_importing_computes_nothing():
    """A module that makes an array starts JAX's backend, after which no flag can choose devices."""
    names = names_of_modules(*MODULES, *PROGRAMS)
    code = f"import importlib\nfor name in {sorted(names)}: importlib.import_module(name)\n"
    code += (
        "import jax\njax.config.update('jax_num_cpu_devices', 3)\nassert len(jax.devices()) == 3"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_module_is_found_under_its_name():
    """`import seqjax.cells.lstm as m` is the module: no function of the same name hides it."""
    for name in names_of_modules(*MODULES):
        importlib.import_module(name)
        found = sys.modules["seqjax"]
        for part in name.split(".")[1:]:
            found = getattr(found, part)
        assert isinstance(found, ModuleType), name


def test_packages_are_attributes_and_internals_are_not_shown():
    code = (
        "import sys, seqjax\n"
        "heavy = {'flax', 'optax', 'orbax', 'numpy.testing', 'datasets', 'tqdm'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "shown = set(dir(seqjax))\n"
        "assert {'models', 'training', 'lstm', 'scan', 'unroll', 'CELLS'} <= shown\n"
        "assert not {'fast_scan', 'errors', 'types', 'importlib'} & shown, shown\n"
        "assert seqjax.models.LanguageModel and seqjax.training.make_optimizer\n"
        "for name in shown: getattr(seqjax, name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
