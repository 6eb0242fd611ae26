"""Whether jax2onnx converts `seqjax.unroll`, for every cell; run by hand, for it needs an environment of its own.

    python -m venv ENV && ENV/bin/pip install jax2onnx onnxruntime && ENV/bin/python -m tests.interop.with_jax2onnx

It prints the largest difference from ONNX Runtime for each cell, or why the conversion failed.
"""

import jax
import jax.numpy as jnp
import numpy as np

from seqjax import CELLS, unroll

T, B, D, H = 7, 3, 5, 8


def difference(name: str) -> float:
    """The largest, over the outputs of one random sequence."""
    import onnxruntime
    from jax2onnx import to_onnx

    cell = CELLS[name](H)
    params = cell.init(jax.random.key(0), D)
    params = jax.tree.map(lambda a: a + 0.1 * jax.random.normal(jax.random.key(1), a.shape), params)

    def outputs(xs: jax.Array) -> jax.Array:
        return unroll(cell, params, xs)[1]

    model = to_onnx(outputs, [jax.ShapeDtypeStruct((T, B, D), jnp.float32)])
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    xs = np.random.default_rng(0).normal(size=(T, B, D)).astype(np.float32)
    (found,) = session.run(None, {session.get_inputs()[0].name: xs})
    return float(np.abs(found - np.asarray(outputs(jnp.asarray(xs)))).max())


def main() -> None:
    for name in CELLS:
        try:
            print(f"{name}: {difference(name):.1e}")
        except Exception as error:  # of any kind: another library's
            print(f"{name}: {type(error).__name__}: {error!s:.120}")


if __name__ == "__main__":
    main()
