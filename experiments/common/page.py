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
    """The page NAME.html of a folder, with NAME.css and NAME.js and the style and script of all pages in it.

    Args:
      folder: where the three files are.
      name: of them.
      data: JSON values that the script finds as `DATA`; None for none.
      scripts: of this folder, that come before: "cells".
    """
    html, css, js = (
        (folder / f"{name}.{kind}").read_text("utf-8") for kind in ("html", "css", "js")
    )
    base = [(HERE / f"page.{kind}").read_text("utf-8") for kind in ("css", "js")]
    if data is not None:
        # (no text in the data can end the script that it stands in)
        text = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
        base[1] += f"\nconst DATA = {text};\n"
    base[1] += "".join((HERE / f"{script}.js").read_text("utf-8") for script in scripts)
    return html.replace("{{style}}", base[0] + css).replace("{{script}}", base[1] + js)


def packed(array: Any) -> dict[str, Any]:
    """An array as the scripts of cells.js unpack it: base64 of little-endian float32."""
    values = np.ascontiguousarray(jax.device_get(array), "<f4")
    return {"shape": list(values.shape), "data": base64.b64encode(values.tobytes()).decode()}
