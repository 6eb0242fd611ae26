"""The direction of data flow: who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = {"errors", "types"}
ALLOWED = {
    "errors": set(),
    "types": set(),
    "init": CORE,
    "cells": CORE | {"init"},
    "compose": CORE,
    "tasks": CORE,
    "omega": CORE | {"cells", "scan"},
    "products": CORE,
    "stepgraph": CORE | {"products"},
    "precision": CORE | {"stepgraph"},
    "sharding": CORE | {"train"},
    "blocks": CORE | {"products", "stepgraph"},
    "loops": CORE | {"blocks", "products", "stepgraph"},
    "scan": CORE | {"blocks", "gates", "loops", "stepgraph"},
    "unroll": CORE | {"scan"},
    "models": CORE | {"init", "unroll"},
    "gates": CORE | {"stepgraph"},
    "tabulate": CORE | {"blocks", "stepgraph"},
    "decode": CORE | {"tabulate"},
    "diagnose": CORE | {"unroll"},
    "train": CORE,
    "population": CORE,
    "masking": CORE,
    "memory": set(),
    "losses": CORE,
    "optimizers": CORE,
    "ngram": CORE,
    "ctc": CORE,
    "data": CORE | {"files", "jsonfiles"},
    "files": CORE,
    "jsonfiles": CORE | {"files"},
    "ledger": CORE | {"jsonfiles"},
    "results": CORE | {"jsonfiles"},
    "stopping": set(),
    "study": CORE | {"ledger", "progress", "stopping"},
    "records": CORE | {"jsonfiles"},
    "progress": set(),
    "workdir": CORE,
    "checkpoint": CORE | {"files", "jsonfiles"},
    "language_modelling": CORE | {"data", "decode", "models", "train"},
}
MODULES = [p for p in (ROOT / "seqjax").rglob("*.py") if p != ROOT / "seqjax" / "__init__.py"]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from names if node.module in ("seqjax", "experiments") else [node.module]
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_library_modules_import_only_what_lies_below(path):
    part = path.relative_to(ROOT / "seqjax").parts[0].removesuffix(".py")
    for name in imports(path):
        top, *rest = name.split(".")
        assert top not in ("experiments", "tests", "torch", "tensorflow"), name
        if top == "seqjax":
            assert rest[0] in ALLOWED[part] | {part}, f"{path.name} imports {name}"
        if part in (
            "cells",
            "unroll",
            "compose",
            "init",
            "types",
            "decode",
            "diagnose",
            "tabulate",
            "scan",
        ):
            allowed = {"seqjax", "jax", *sys.stdlib_module_names}
            assert top in allowed, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", list((ROOT / "experiments").glob("*.py")), ids=lambda p: p.name)
def test_experiments_never_import_each_other(path):
    """... but for a long program's own parts, which carry its name, or that of a pair of programs."""
    shared = tuple(f"experiments.{name}" for name in ("cli", "plots", "published", "tables"))
    first = path.stem.split("_")[0]
    own = (f"experiments.{first}_", f"experiments.{first.removesuffix('s')}_")
    for name in imports(path):
        if name.startswith("experiments"):
            assert name.startswith((*shared, *own)), f"{path.name} imports {name}"


@pytest.mark.parametrize("path", list((ROOT / "notebooks").glob("*.py")), ids=lambda p: p.name)
def test_notebooks_read_what_experiments_and_the_library_give(path):
    allowed = {"seqjax", "experiments", "IPython", "matplotlib", "numpy", "jax", "flax", "optax"}
    for name in imports(path):
        assert name.split(".")[0] in allowed | sys.stdlib_module_names, f"{path.name}: {name}"


def test_importing_computes_nothing():
    """A module that makes an array starts JAX's backend, after which no flag can choose devices."""
    names = [p.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for p in MODULES]
    names += [f"experiments.{p.stem}" for p in (ROOT / "experiments").glob("*.py")]
    code = f"import importlib\nfor name in {sorted(names)}: importlib.import_module(name)\n"
    code += (
        "import jax\njax.config.update('jax_num_cpu_devices', 3)\nassert len(jax.devices()) == 3"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
