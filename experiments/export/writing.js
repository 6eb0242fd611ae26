// A language model of seqjax: an embedding, recurrent layers, a head.

function makeModel(data) {
  const layers = data.layers.map((layer) =>
    Object.fromEntries(Object.entries(layer).map(([name, array]) => [name, unpack(array)])));
  const [embedding, head, bias] = [data.embedding, data.head, data.bias].map(unpack);
  const size = embedding.shape[1], cell = CELLS[data.cell];
  const ids = new Map(data.tokens.map((token, id) => [token, id]));
  return {
    tokens: data.tokens,
    start: () => layers.map(({ u }) => ({ h: zeros(u.shape[0]), c: zeros(u.shape[0]) })),
    step(state, token) {
      let x = embedding.values.subarray(token * size, (token + 1) * size);
      const next = layers.map((layer, k) => {
        const after = cell(layer, state[k], x);
        x = after.h;
        return after;
      });
      return [next, addProduct(startOf(bias), x, head)];
    },
    encode(text) {
      const parts = data.unit === "char" ? Array.from(text)
        : text.split("\n").flatMap((line, k, all) =>
          [...line.split(/\s+/).filter(Boolean), ...(k < all.length - 1 ? ["<eos>"] : [])]);
      const unknown = parts.filter((part) => !ids.has(part));
      return { ids: parts.map((part) => ids.get(part) ?? 0), unknown };
    },
    decode(tokens) {
      const shown = tokens.map((id) => (id === 0 && data.unit === "char" ? "\ufffd" : data.tokens[id]));
      return data.unit === "char" ? shown.join("") : shown.join(" ").replaceAll(/ ?<eos> ?/g, "\n");
    },
  };
}

function choose(logits, temperature, random) {
  let best = 0;
  for (let k = 1; k < logits.length; k++) if (logits[k] > logits[best]) best = k;
  if (temperature === 0) return best;
  const weights = logits.map((v) => Math.exp((v - logits[best]) / temperature));
  let left = random() * weights.reduce((a, b) => a + b);
  for (let k = 0; k < weights.length; k++) if ((left -= weights[k]) <= 0) return k;
  return best;
}

// What the model makes of tokens: its state, and the logits of the next one.
function read(model, ids) {
  let state = model.start(), logits = null;
  for (const id of ids) [state, logits] = model.step(state, id);
  return [state, logits];
}

function write(model, ids, length, temperature = 0, random = Math.random) {
  let [state, logits] = read(model, ids.length ? ids : [0]);
  const written = [];
  while (written.length < length) {
    const token = choose(logits, temperature, random);
    written.push(token);
    [state, logits] = model.step(state, token);
  }
  return written;
}

globalThis.writing = { makeModel, read, write };

function showPage() {
  const find = (id) => document.getElementById(id), model = makeModel(DATA);
  const count = [...DATA.layers.flatMap(Object.values), DATA.embedding, DATA.head, DATA.bias]
    .reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b), 0);
  find("about").textContent =
    `${DATA.layers.length} × ${DATA.cell}, ${count.toLocaleString("en")} numbers, computed in this page as you type.`;
  let run = 0;

  function showNext(logits) {
    const most = Math.max(...logits), weights = Array.from(logits, (v) => Math.exp(v - most));
    const total = weights.reduce((a, b) => a + b);
    const order = weights.map((w, id) => [w / total, id]).sort((a, b) => b[0] - a[0]).slice(0, 8);
    find("next").replaceChildren(...order.map(([share, id]) => {
      const item = document.createElement("li"), token = document.createElement("code");
      const bar = document.createElement("span"), text = document.createElement("span");
      token.textContent = JSON.stringify(model.tokens[id]).slice(1, -1).replaceAll(" ", "\u2423");
      bar.className = "bar";
      bar.style.width = `${100 * share / order[0][0]}%`;
      text.className = "share";
      text.textContent = `${(100 * share).toFixed(1)} %`;
      item.append(token, bar, text);
      return item;
    }));
  }

  // In pieces between which the page stays alive.
  function update() {
    const own = ++run, { ids, unknown } = model.encode(find("text").value);
    const temperature = Number(find("temperature").value);
    const length = Math.min(2000, Math.max(1, Number(find("length").value) || 1));
    find("shown").textContent = temperature ? `${temperature}` : "0, the most probable";
    find("unknown").textContent = unknown.length
      ? `Never seen in training: ${[...new Set(unknown)].slice(0, 10).join(" ")}` : "";
    let [state, logits] = read(model, ids.length ? ids : [0]);
    showNext(logits);
    const written = [];
    find("written").textContent = "";
    (function piece() {
      if (own !== run) return;
      const until = performance.now() + 12;
      while (written.length < length && performance.now() < until) {
        const token = choose(logits, temperature, Math.random);
        written.push(token);
        [state, logits] = model.step(state, token);
      }
      find("written").textContent = model.decode(written);
      if (written.length < length) setTimeout(piece);
      else find("written").dataset.done = `${own}`;
    })();
  }

  for (const id of ["text", "temperature", "length"]) find(id).addEventListener("input", update);
  find("again").addEventListener("click", update);
  find("text").value = DATA.unit === "char" ? "import " : "the ";
  update();
}

if (typeof document !== "undefined") showPage();
