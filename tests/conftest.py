"""Strict from the first commit: no silent change of dtype."""

import os
from pathlib import Path

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_default_matmul_precision", "highest")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real data sets, where there are any: $SEQJAX_DATA, or `shared/data` beside the checkout."""
    default = Path(__file__).parents[2] / "shared" / "data"
    path = Path(os.environ.get("SEQJAX_DATA", default))
    if not path.is_dir():
        pytest.skip("no data directory; set SEQJAX_DATA to one")
    return path
