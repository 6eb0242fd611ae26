"""Lists every program with its claim: `python -m experiments`."""

import ast
from pathlib import Path

HERE = Path(__file__).parent


def programs() -> dict[str, str]:
    """The name of every program and the first line of its docstring, without importing any."""
    files = [
        *(path for path in HERE.glob("*.py") if not path.name.startswith("__")),
        *HERE.glob("*/program.py"),
    ]
    claims = {}
    for path in files:
        name = path.parent.name if path.name == "program.py" else path.stem
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        claims[name] = text.partition("\n")[0]
    return dict(sorted(claims.items()))


def main() -> None:
    claims = programs()
    width = max(map(len, claims))
    print("python -m experiments.NAME, where NAME is one of\n")
    for name, claim in claims.items():
        print(f"  {name:{width}}  {claim}")
    print("\nEach takes --help.")


if __name__ == "__main__":
    main()
