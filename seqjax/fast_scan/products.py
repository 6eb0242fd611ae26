"""Matrix products with a weight, in a loop and for all steps at once.

XLA's product on a CPU first rearranges its operands into tiles, and the few rows of one step do not
make up for that. A weight that is larger than a core's cache is rearranged faster as the left operand
`[N, K]`, though the product's result has to be transposed then, than as the right operand `[K, N]`: 16
rows x 512 x 1536 are 1.45 times as fast on one core and 1.2 on two, x 1024 x 4096 are 2.5 and 2.1
(a Xeon with 2 MiB of cache for each core).
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from seqjax.fast_scan.jaxprs import Eqn, struct
from seqjax.types import Array

LARGE = 2 << 20  # bytes of a weight; turning a smaller one gains nothing, and loses with few rows
ROWS = 8  # other numbers of rows than its multiples are read slowly in columns


def is_plain_product(eqn: Eqn) -> bool:
    """Whether an equation is `a [..., K] @ b [K, N]`, all of one dtype."""
    if eqn.primitive.name != "dot_general":
        return False
    a, b = map(struct, eqn.invars)
    plain = (((len(a.shape) - 1,), (0,)), ((), ()))
    return (
        len(b.shape) == 2
        and eqn.params["dimension_numbers"] == plain
        and a.dtype == b.dtype == struct(eqn.outvars[0]).dtype
    )


def is_large(weight: Any) -> bool:
    """Whether a weight, or what has its shape and dtype, is faster as the left operand."""
    num_bytes = math.prod(weight.shape) * weight.dtype.itemsize
    return num_bytes >= LARGE and jax.default_backend() == "cpu"


def pays_to_turn(product: Eqn) -> bool:
    """Whether `a @ b` is faster turned in a forward loop, where much reads its result, in columns."""
    a, b = map(struct, product.invars)
    return is_large(b) and math.prod(a.shape[:-1]) % ROWS == 0


def turned(weight: Array) -> Array:
    """`[K, N] -> [N, K]`, as it is laid out in memory."""
    return lax.optimization_barrier(weight.T)


def turned_product(a: Array, weight: Array, precision: Any) -> Array:
    """`a [..., K] @ weight.T`, of weight `[N, K]`, whose result XLA makes transposed."""
    axes = (((1,), (a.ndim - 1,)), ((), ()))
    transposed = lax.dot_general(weight, a, axes, precision=precision)
    # Behind a barrier, or XLA makes the plain product of it.
    return jnp.moveaxis(lax.optimization_barrier(transposed), 0, -1)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def rows_product(a: Array, b: Array, precision: Any) -> Array:
    """`a [steps, ..., K] @ b [K, N]`, whose weight gradient comes out as it is stored.

    JAX's own rule forms it transposed, and XLA on a CPU then copies the cotangents of all steps.
    """
    return jnp.matmul(a, b, precision=precision)


def _rows_product_forward(a: Array, b: Array, precision: Any) -> tuple[Array, tuple[Array, Array]]:
    return rows_product(a, b, precision), (a, b)


def _rows_product_backward(
    precision: Any, saved: tuple[Array, Array], ct: Array
) -> tuple[Array, Array]:
    a, b = saved
    ct_a = jnp.matmul(ct, b.T, precision=precision)
    return ct_a, sum_of_outer_products(a, ct, precision)


rows_product.defvjp(_rows_product_forward, _rows_product_backward)


def sum_of_outer_products(a: Array, b: Array, precision: Any) -> Array:
    """Σ aᵀ b over all leading axes: `[..., K], [..., N] -> [K, N]`."""
    leading = tuple(range(a.ndim - 1))
    total = jax.ShapeDtypeStruct((a.shape[-1], b.shape[-1]), b.dtype)
    # Rows in one axis need no transposed copy, which costs more than it gains where it is small.
    if is_large(total) and not _may_be_split():
        a, b, leading = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1]), (0,)
    return lax.dot_general(a, b, ((leading, leading), ((), ())), precision=precision)


def _may_be_split() -> bool:
    """Whether the compiler may have the batch on several devices, where axes must not be joined.

    Within `jax.shard_map` all arrays are a device's own.
    """
    mesh = jax.sharding.get_abstract_mesh()
    own = not mesh.empty and set(mesh.manual_axes) == set(mesh.axis_names)
    return jax.device_count() > 1 and not own
