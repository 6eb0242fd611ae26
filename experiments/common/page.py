"""Pages that need no server and no network: one file with its style, its script and its data."""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def page(folder: Path, name: str, data: Any = None) -> str:
    """The page NAME.html of a folder, with NAME.css and NAME.js and the style and script of all pages in it.

    Args:
      folder: where the three files are.
      name: of them.
      data: JSON values that the script finds as `DATA`; None for none.
    """
    html, css, js = (
        (folder / f"{name}.{kind}").read_text("utf-8") for kind in ("html", "css", "js")
    )
    base = [(HERE / f"page.{kind}").read_text("utf-8") for kind in ("css", "js")]
    if data is not None:
        # (no text in the data can end the script that it stands in)
        text = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
        base[1] += f"\nconst DATA = {text};\n"
    return html.replace("{{style}}", base[0] + css).replace("{{script}}", base[1] + js)
