// Cells of seqjax in plain JavaScript, for pages in which a trained network computes. Sums in double precision,
// parameters in single.
const sigmoid = (v) => 1 / (1 + Math.exp(-v));

function unpack({ shape, data }) {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  return { shape, values: new Float32Array(bytes.buffer) };
}

// out[j] += sum_i x[i] m[i, j]
function addProduct(out, x, { shape: [rows, columns], values }) {
  for (let i = 0; i < rows; i++) {
    const scale = x[i];
    if (scale === 0) continue;
    for (let j = 0, at = i * columns; j < columns; j++, at++) out[j] += scale * values[at];
  }
  return out;
}

const startOf = ({ values }) => Float64Array.from(values);
const zeros = (n) => new Float64Array(n);

// The equations of seqjax.cells, one file for each there.
const CELLS = {
  lstm({ w, u, b }, { h, c }, x) {
    const n = h.length, z = addProduct(addProduct(startOf(b), x, w), h, u);
    const next = { h: zeros(n), c: zeros(n) };
    for (let k = 0; k < n; k++) {
      next.c[k] = sigmoid(z[n + k]) * c[k] + sigmoid(z[k]) * Math.tanh(z[2 * n + k]);
      next.h[k] = sigmoid(z[3 * n + k]) * Math.tanh(next.c[k]);
    }
    return next;
  },
  gru({ w, u, b, b_hn }, { h }, x) {
    const n = h.length, z = addProduct(startOf(b), x, w), from = addProduct(zeros(3 * n), h, u);
    const next = zeros(n);
    for (let k = 0; k < n; k++) {
      const r = sigmoid(z[k] + from[k]), keep = sigmoid(z[n + k] + from[n + k]);
      const candidate = Math.tanh(z[2 * n + k] + r * (from[2 * n + k] + b_hn.values[k]));
      next[k] = (1 - keep) * candidate + keep * h[k];
    }
    return { h: next };
  },
  mgu({ w, u, u_n, b }, { h }, x) {
    const n = h.length, z = addProduct(startOf(b), x, w), from = addProduct(zeros(n), h, u);
    const f = zeros(n).map((_, k) => sigmoid(z[k] + from[k]));
    const candidate = addProduct(zeros(n), h.map((v, k) => f[k] * v), u_n);
    return { h: h.map((v, k) => (1 - f[k]) * v + f[k] * Math.tanh(z[n + k] + candidate[k])) };
  },
  rnn({ w, u, b }, { h }, x) {
    return { h: addProduct(addProduct(startOf(b), x, w), h, u).map(Math.tanh) };
  },
};
