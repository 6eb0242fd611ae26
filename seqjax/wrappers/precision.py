"""Products in a low precision, everything else as it was: a policy of the caller."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from seqjax.errors import InputError, shown
from seqjax.fast_scan.jaxprs import Eqn, evaluate, flatten, interpret, is_float, struct
from seqjax.types import Array, Cell, check_cell


def low_precision_products(cell: Cell, dtype: Any = jnp.bfloat16) -> Cell:
    """The same cell with every matrix product in `dtype`, accumulated in the state's precision.

    Parameters, state, gates and gradients keep their precision (float32, say). On a GPU or TPU the
    operands are cast and the product accumulates in the wider type. XLA's CPU backend has no such
    product, so there the operands are rounded to `dtype` and multiplied in their own: the same
    numbers, no gain in speed.

    Args:
      cell: any cell.
      dtype: a float type, bfloat16 or float16.

    Raises:
      InputError: if it is no cell, or no such type.
    """
    check_cell("low_precision_products", cell)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise InputError(f"dtype must be a float type, such as jnp.bfloat16, got {shown(dtype)}.")

    def rule(eqn: Eqn, inputs: list[Any]) -> list[Any]:
        if eqn.primitive.name == "dot_general" and is_float(eqn.outvars[0]):
            return [_product(eqn, inputs[0], inputs[1], dtype)]
        return evaluate(eqn, inputs)

    def lowered(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*inputs: Any) -> Any:
            closed, tree = jax.make_jaxpr(function, return_shape=True)(*inputs)
            jaxpr, consts = flatten(closed)
            values = [*consts, *jax.tree.leaves(inputs)]
            return jax.tree.unflatten(jax.tree.structure(tree), interpret(jaxpr, values, rule))

        return run

    noise = cell.noise
    return cell._replace(
        step=lowered(cell.step),
        gates=lowered(cell.gates) if cell.gates else None,
        noise=noise._replace(step=lowered(noise.step)) if noise else None,
    )


def _product(eqn: Eqn, a: Array, b: Array, dtype: Any) -> Array:
    if jax.default_backend() == "cpu":
        info = jnp.finfo(dtype)
        # Not a cast there and back, which XLA may leave out.
        a, b = (lax.reduce_precision(v, info.nexp, info.nmant) for v in (a, b))
        return evaluate(eqn, [a, b])[0]
    out = struct(eqn.outvars[0]).dtype
    return lax.dot_general(
        a.astype(dtype),
        b.astype(dtype),
        eqn.params["dimension_numbers"],
        preferred_element_type=out,
    )
