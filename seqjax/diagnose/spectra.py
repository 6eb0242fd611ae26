"""The recurrent matrices alone: what they would do to a gradient, were there nothing else."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.errors import InputError
from seqjax.types import Array, Params


class Spectrum(NamedTuple):
    """Of a recurrent kernel `[H, G·H]`, gate by gate."""

    singular_values: Array  # [G, H], falling
    radius: Array  # [G], spectral radius: the largest modulus of an eigenvalue


def spectrum(kernel: Array) -> Spectrum:
    """Singular values and spectral radius of each `[H, H]` block of a kernel `[H, G·H]`.

    With x @ kernel as with its transpose. Eigenvalues of matrices that are not symmetric may be
    had on CPU alone, depending on the version of JAX.

    Raises:
      InputError: if the columns are not a multiple of the rows.
    """
    shape = jnp.shape(kernel)
    if len(shape) != 2 or not shape[0] or shape[1] % shape[0] or not shape[1]:
        raise InputError(f"a recurrent kernel must have the shape [H, G·H], got {shape}.")
    blocks = kernel.reshape(shape[0], -1, shape[0]).swapaxes(0, 1)
    return Spectrum(
        jnp.linalg.svd(blocks, compute_uv=False),
        jnp.max(jnp.abs(jnp.linalg.eigvals(blocks)), axis=-1),
    )


def recurrent_spectra(params: Params) -> dict[str, Spectrum]:
    """`spectrum` of every recurrent kernel of a cell, by its path in params.

    By the convention of seqjax, recurrent kernels are the matrices whose name begins with u
    ("u", "u_n"), at any depth. For other cells, give `spectrum` the matrix itself.

    Raises:
      InputError: if there is none.
    """
    found: dict[str, Any] = {}
    for path, leaf in jax.tree.leaves_with_path(params):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name.split("/")[-1].startswith("u") and jnp.ndim(leaf) == 2:
            found[name] = spectrum(leaf)
    if not found:
        raise InputError(
            "params has no recurrent kernel, a matrix whose name begins with u: give the matrix"
            " itself to spectrum(kernel)."
        )
    return found
