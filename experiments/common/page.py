"""Pages that need no server and no network: one file with its style, its script and its data."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

HERE = Path(__file__).parent
CELLS = ("lstm", "gru", "rnn", "mgu")  # of cells.js


def page(folder: Path, name: str, data: Any = None, *, scripts: Sequence[str] = ()) -> str:
    """A page of NAME.html, NAME.css and NAME.js of a folder, within page.html, page.css and page.js of all pages.

    NAME.html begins with the heading, `<h1>`, which is the title, too; what follows the first empty line is the body.

    Args:
      folder: where its three files are.
      name: of them.
      data: JSON values that the script finds as `DATA`; None for none.
      scripts: of this folder, that come before: "cells".
    """
    body, css, js = (
        (folder / f"{name}.{kind}").read_text("utf-8") for kind in ("html", "css", "js")
    )
    heading, _, body = body.partition("\n\n")
    frame, base, script = (
        (HERE / f"page.{kind}").read_text("utf-8") for kind in ("html", "css", "js")
    )
    if data is not None:
        # (no text in the data can end the script that it stands in)
        text = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
        script += f"\nconst DATA = {text};\n"
    script += "".join((HERE / f"{part}.js").read_text("utf-8") for part in scripts)
    title = heading.partition("</h1>")[0].removeprefix("<h1>")
    parts = {"title": title, "heading": heading, "body": body.strip()}
    return fill(frame, **parts, style=base + css, script=script + js)


def fill(template: str, **parts: str) -> str:
    """The template with every `{{name}}` replaced; braces within the parts stay as they are."""
    pieces = template.split("{{")
    out = [pieces[0]]
    for piece in pieces[1:]:
        name, text = piece.split("}}", 1)
        out += [parts[name], text]
    return "".join(out)


def packed(array: Any) -> dict[str, Any]:
    """An array as the scripts of cells.js unpack it: base64 of little-endian float32."""
    values = np.ascontiguousarray(jax.device_get(array), "<f4")
    return {"shape": list(values.shape), "data": base64.b64encode(values.tobytes()).decode()}
