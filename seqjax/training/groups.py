"""Other learning rates for some of the parameters."""

from collections.abc import Mapping
from typing import Any

import jax
import optax

from seqjax.errors import InputError, check_not_negative, shown
from seqjax.types import Params


def scale_groups(factors: Mapping[str, float]) -> optax.GradientTransformation:
    """Multiplies the updates of some parameters: put it behind the optimizer, in `optax.chain`.

        optax.chain(optax.adam(1e-3), scale_groups({"embedding": 0.1, "layers.0": 0}))

    Args:
      factors: by the beginnings of parameters' paths, names joined by dots; the longest that fits
        counts, and a parameter that none fits keeps its update. 0 freezes.

    Raises:
      InputError: for a negative factor; on the first use, if a beginning fits no parameter.
    """
    for name, factor in factors.items():
        check_not_negative(f"the factor of {name}", factor)

    def label(path: tuple[Any, ...], _: Any) -> str:
        name = _name(path)
        return max((start for start in factors if _begins(name, start)), key=len, default="")

    def labels(params: Params) -> Params:
        names = [_name(path) for path, _ in jax.tree.leaves_with_path(params)]
        for start in factors:
            if not any(_begins(name, start) for name in names):
                raise InputError(
                    f"no parameter's path begins with {shown(start)}; there are {', '.join(names)}."
                )
        return jax.tree.map_with_path(label, params)

    scales = {start: optax.scale(factor) for start, factor in factors.items()}
    return optax.partition({"": optax.identity(), **scales}, labels)


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _begins(name: str, start: str) -> bool:
    return f"{name}.".startswith(f"{start}.")
