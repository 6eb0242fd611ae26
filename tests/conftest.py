"""Fixtures for all tests."""

import os
from pathlib import Path

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 2)  # for the tests of sharding


@pytest.fixture
def strict_promotion():
    """No silent change of dtype. (Optax itself does not run under it.)"""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real data sets, where there are any: $SEQJAX_DATA, or `shared/data` beside the checkout."""
    default = Path(__file__).parents[2] / "shared" / "data"
    path = Path(os.environ.get("SEQJAX_DATA", default))
    if not path.is_dir():
        pytest.skip("no data directory; set SEQJAX_DATA to one")
    return path


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="hundreds of faults, thousands of cases")


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether a test shall take its time."""
    return request.config.getoption("--long")
