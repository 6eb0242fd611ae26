"""Fixtures for all tests, their tiers, and a compilation cache that lives as long as the run."""

import os
import shutil
import tempfile
from pathlib import Path

import hypothesis
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
    parser.addoption(
        "--long",
        action="store_true",
        help="whole programs, every cell, hundreds of faults, thousands of cases",
    )
    parser.addoption(
        "--cases", type=int, default=1_000, help="random cases of each kind of input, with --long"
    )


def pytest_configure(config: pytest.Config) -> None:
    configure_hypothesis("long" if config.getoption("--long") else "short", config)
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # workers and programs inherit it
        share_compilations(config)
    if not (config.getoption("--long") or "numeric" in config.getoption("-m")):
        compile_quickly()


def configure_hypothesis(tier: str, config: pytest.Config) -> None:
    """The same fifty cases everywhere, or with `--long` as many as asked, new at every run."""
    health = hypothesis.HealthCheck
    for name, cases in {"short": 50, "long": config.getoption("--cases")}.items():
        hypothesis.settings.register_profile(
            name,
            max_examples=cases,
            derandomize=name == "short",
            database=None,
            deadline=None,  # a test that must not hang sets an alarm
            suppress_health_check=[
                health.too_slow,
                health.data_too_large,
                health.large_base_example,
            ],
        )
    hypothesis.settings.load_profile(tier)


def compile_quickly() -> None:
    """Most of the tests' time is the compiler's, and most of that is optimisation.

    What is computed is the same, but for rounding. With `--long` and with `-m numeric` programs are
    optimised as they are for users.
    """
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # for programs that tests start
    jax.config.update("jax_disable_most_optimizations", True)


def share_compilations(config: pytest.Config) -> None:
    """Nothing is compiled twice in one run, by whichever process; the cache is then removed."""
    directory = tempfile.mkdtemp(prefix="seqjax-tests-")
    config.add_cleanup(lambda: shutil.rmtree(directory, ignore_errors=True))
    os.environ |= {
        "JAX_COMPILATION_CACHE_DIR": directory,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        # An entry that another process is writing, or was killed in writing, is compiled again.
        "PYTHONWARNINGS": "ignore:Error reading persistent compilation cache entry",
    }
    # This process has read its environment already; workers read it when they start.
    jax.config.update("jax_compilation_cache_dir", directory)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without `--long`, tests marked `long` are left out, and `whole` ones unless `-m` names them."""
    if config.getoption("--long"):
        return
    tiers = ("long",) if "whole" in config.getoption("-m") else ("long", "whole")
    kept: list[pytest.Item] = []
    moved: list[pytest.Item] = []
    for item in items:
        (moved if any(map(item.get_closest_marker, tiers)) else kept).append(item)
    config.hook.pytest_deselected(items=moved)
    items[:] = kept


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether a test shall take its time."""
    return request.config.getoption("--long")
