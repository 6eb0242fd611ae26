"""The list of all programs with their claims, without importing any."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent


def programs() -> dict[str, str]:
    """The name of every program and the first line of its docstring."""
    files = [
        *(path for path in ROOT.glob("*.py") if not path.name.startswith("__")),
        *ROOT.glob("*/program.py"),
    ]
    claims = {}
    for path in files:
        name = path.parent.name if path.name == "program.py" else path.stem
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        claims[name] = text.partition("\n")[0]
    return dict(sorted(claims.items()))


def show(command: str) -> None:
    """Prints every program with its claim.

    Args:
      command: how a program is run, with NAME in the place of its name.
    """
    claims = programs()
    width = max(map(len, claims))
    print(f"{command}, where NAME is one of\n")
    for name, claim in claims.items():
        print(f"  {name:{width}}  {claim}")
    print("\nEach takes --help.")
