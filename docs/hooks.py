"""What the site has beside the pages in docs/: the README as its first page, the API, notebooks and demos.

MkDocs calls the functions `on_*`. Notebooks are run and demo pages made once, into build/; they are made again
when what they are made of has changed. With SEQJAX_SITE=quick in the environment nothing is run.
"""

import hashlib
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "build"
QUICK = os.environ.get("SEQJAX_SITE") == "quick"  # runs nothing, to check pages and links
DISPLAYED = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
MATHS = re.compile(r"\$([^$\n]+)\$")
FRACTION = re.compile(r"\\frac\{((?:[^{}]|\{[^{}]*\})*)\}\{((?:[^{}]|\{[^{}]*\})*)\}")
SIGNS = {  # longer names first, where one begins another
    **{
        "cdots": "⋯",
        "cdot": "·",
        "dots": "…",
        "qquad": "  ",
        "quad": "  ",
        "tilde ": "~",
        "mathrm": "",
    },
    **{
        "sigma": "σ",
        "prod": "∏",
        "sum": "∑",
        "approx": "≈",
        "partial ": "∂",
        "partial": "∂",
        "odot": "⊙",
    },
    **{
        "lambda": "λ",
        "rho": "ρ",
        "infty": "∞",
        "tanh": "tanh",
        "log": "log",
        "le": "≤",
        ",": " ",
        "%": "%",
    },
}
DEMOS = ("gates_demo", "beam_demo")
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": "licence.md",
}
API = {  # page: its title, and the packages whose public names stand on it
    "cells": ("Cells", ["seqjax.cells", "seqjax.tree_cells", "seqjax.wrappers", "seqjax.init"]),
    "running": ("Running them", ["seqjax", "seqjax.diagnose"]),
    "models": (
        "Layers and models",
        ["seqjax.layers", "seqjax.models", "seqjax.losses", "seqjax.penalties"],
    ),
    "training": (
        "Training and runs",
        [
            "seqjax.training",
            "seqjax.decode",
            "seqjax.runs",
            "seqjax.search",
            "seqjax.search.engines",
            "seqjax.devices",
        ],
    ),
    "data": ("Data and tasks", ["seqjax.data", "seqjax.tasks"]),
    "interop": ("In and out", ["seqjax.interop"]),
}


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that are made here."""

    def add(name: str, text: str) -> None:
        files.append(File.generated(config, name, content=text))

    index = files.get_file_from_path("index.md")
    add("pages.md", index.content_string)
    files.remove(index)
    for source, name in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        add(name, f"# Licence\n\n```text\n{text}```\n" if source == "LICENSE" else text)
    for name, (title, packages) in API.items():
        add(f"api/{name}.md", api_page(title, packages))
    add("notebooks/index.md", (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8"))
    for path in sorted((ROOT / "notebooks").glob("*.py")):
        add(f"notebooks/{path.stem}.md", notebook_page(path))
    for name in DEMOS:
        add(f"demos/{name}.html", demo_page(name))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turns links between files of the repository into links between pages."""
    here = page.file.src_uri

    def link(match: re.Match[str]) -> str:
        place, anchor = match[1], match[2] or ""
        if "://" in place:
            return match[0]
        made = here in (*PAGES.values(), "pages.md") or here.startswith("notebooks/")
        if here in PAGES.values():
            path = place
        elif here.startswith("notebooks/") and made:
            path = os.path.normpath(f"notebooks/{place}")
        else:
            path = os.path.normpath(f"docs/{os.path.dirname(here)}/{place}")
        target = site_path(path)
        if target is None:
            return match[0]
        return f"]({os.path.relpath(target, os.path.dirname(here) or '.')}{anchor})"

    return re.sub(r"\]\(([^)#\s]+)(#[^)\s]*)?\)", link, markdown)


def site_path(path: str) -> str | None:
    """The page that a file of the repository became; None if it is on no page."""
    if path in PAGES:
        return PAGES[path]
    if path == "docs/index.md":
        return "pages.md"
    if path == "notebooks/README.md":
        return "notebooks/index.md"
    return path.removeprefix("docs/") if path.startswith("docs/") else None


def api_page(title: str, packages: list[str]) -> str:
    """Every public name of some packages, each by its docstring."""
    parts = [f"# {title}"]
    for package in packages:
        module = importlib.import_module(package)
        parts.append(f"## {package}\n\n{inspect.cleandoc(module.__doc__ or '')}")
        for name, value in public(module).items():
            home = getattr(value, "__module__", "")
            if inspect.ismodule(value) or not (inspect.isfunction(value) or inspect.isclass(value)):
                continue
            if getattr(sys.modules[home], name, None) is value:
                parts.append(f"::: {home}.{name}\n    options: {{heading_level: 3}}")
            else:  # made by a function: a variant of the LSTM
                text = inspect.cleandoc(value.__doc__ or "")
                parts.append(f"### {package}.{name}\n\n{text}")
    return "\n\n".join(parts) + "\n"


def public(module: Any) -> dict[str, Any]:
    """What users import from a module, by name."""
    if module.__name__ == "seqjax.cells":
        return dict(module.CELLS)
    own = [n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__]
    names = getattr(module, "__all__", own)
    return {name: getattr(module, name) for name in names if not name.startswith("_")}


def notebook_page(path: Path) -> str:
    """A notebook with its outputs, as Markdown."""
    import jupytext
    import nbformat
    from nbclient import NotebookClient

    text = path.read_text(encoding="utf-8")
    kept = (
        BUILD / "notebooks" / f"{path.stem}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.ipynb"
    )
    if QUICK:
        return "\n\n".join(map(cell_text, jupytext.reads(text, "py:percent").cells)) + "\n"
    if not kept.exists():
        print(f"running {path.name}", flush=True)
        book = jupytext.reads(text, "py:percent")
        environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
        NotebookClient(book, timeout=900, resources={"metadata": {"path": str(ROOT)}}).execute(
            env=environment
        )
        kept.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(book, kept)
    return "\n\n".join(map(cell_text, nbformat.read(kept, 4).cells)) + "\n"


def cell_text(cell: Any) -> str:
    """One cell of a notebook."""
    if cell.cell_type != "code":
        text = DISPLAYED.sub(lambda f: f"\n\n    {plain(f[1].strip())}\n\n", cell.source)
        return MATHS.sub(lambda found: f"`{plain(found[1])}`", text)
    parts = [f"```python\n{cell.source}\n```"] if cell.source.strip() else []
    printed = ""
    for output in cell.outputs:
        data = output.get("data", {})
        if output.output_type == "stream" and output.name == "stdout":
            printed += output.text
            continue
        if "image/png" in data:
            picture = data["image/png"].replace("\n", "")
            parts.append(f'<img alt="figure" src="data:image/png;base64,{picture}">')
        elif text := output.get("text") or data.get("text/plain"):
            parts.append(f"```text\n{text.rstrip()}\n```")
    if printed.strip():
        parts.insert(1, f"```text\n{printed.rstrip()}\n```")
    return "\n\n".join(parts)


def plain(formula: str) -> str:
    """A formula of a notebook in Unicode: the site has no program that sets formulas."""
    formula = re.sub(r"([_^])\{([^{}]{2,})\}", r"\1(\2)", formula)
    formula = FRACTION.sub(r"(\1)/(\2)", formula)
    for name, sign in SIGNS.items():
        formula = formula.replace(f"\\{name}", sign)
    return formula.replace("{", "").replace("}", "")


def demo_page(name: str) -> str:
    """A page that a program writes."""
    sources = sorted(
        [*(ROOT / "experiments" / name).iterdir(), *(ROOT / "experiments" / "common").glob("*.*s*")]
    )
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in sources if p.is_file())).hexdigest()[
        :16
    ]
    folder = BUILD / "demos" / f"{name}-{digest}"
    if QUICK:
        return "<!doctype html><title>not made</title>\n"
    if not folder.exists():
        print(f"making {name}", flush=True)
        command = [sys.executable, "-m", f"experiments.{name}", f"--workdir={folder}"]
        subprocess.run(command, cwd=ROOT, check=True)
    return (folder / f"{name}.html").read_text(encoding="utf-8")
