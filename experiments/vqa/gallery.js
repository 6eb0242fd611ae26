// Cards of questions, and a box for one's own: the network of seqjax.models.QuestionAnswerer, computed in the page.
// All text is put in as text.

function makeAnswerer(data) {
  const layers = data.layers.map((layer) =>
    Object.fromEntries(Object.entries(layer).map(([name, array]) => [name, unpack(array)])));
  const [embedding, seen] = [data.embedding, data.seen].map(unpack);
  const dense = (x, [kernel, bias]) => addProduct(startOf(unpack(bias)), x, unpack(kernel));
  const row = ({ shape: [, size], values }, place) => values.subarray(place * size, (place + 1) * size);
  const ids = new Map(data.tokens.map((token, id) => [token, id])), cell = CELLS[data.cell];

  // The words, those that training never showed, and the probability of each answer.
  return function ask(text, place) {
    const words = text.toLowerCase().match(/[\p{L}\p{N}_']+|[^\s\p{L}\p{N}_']/gu) ?? [];
    const v = row(seen, place);
    let state = layers.map(({ u }) => ({ h: zeros(u.shape[0]), c: zeros(u.shape[0]) })), h = state.at(-1).h;
    for (const word of words) {
      let x = row(embedding, ids.get(word) ?? data.unknown);
      if (data.fusion === "step") x = Float64Array.of(...x, ...v);
      state = layers.map((layer, k) => {
        const after = cell(layer, state[k], x);
        x = after.h;
        return after;
      });
      h = state.at(-1).h;
    }
    const q = dense(h, data.query).map(Math.tanh);
    const joined = { product: () => q.map((value, k) => value * v[k]), concat: () => Float64Array.of(...q, ...v), step: () => q };
    const logits = dense(dense(joined[data.fusion](), data.hidden).map((value) => Math.max(0, value)), data.head);
    const most = Math.max(...logits), weights = logits.map((value) => Math.exp(value - most));
    const total = weights.reduce((a, b) => a + b);
    return { words, unknown: words.filter((word) => !ids.has(word)), shares: Array.from(weights, (w) => w / total) };
  };
}

globalThis.makeAnswerer = makeAnswerer;

function showPage() {
  const find = (id) => document.getElementById(id), ask = DATA.network && makeAnswerer(DATA.network);
  let chosen = DATA.cards[0];

  function answer() {
    const { words, unknown, shares } = ask(find("question").value, chosen.place);
    find("unknown").textContent = !words.length ? "Write a question."
      : unknown.length ? `Never seen in training: ${[...new Set(unknown)].slice(0, 10).join(" ")}` : "";
    const order = shares.map((share, k) => [share, DATA.network.answers[k]]).sort((a, b) => b[0] - a[0]).slice(0, 6);
    find("answers").replaceChildren(...(words.length ? order : []).map(([share, name]) => {
      const bar = make("span", { class: "bar" });
      bar.style.width = `${100 * share}%`;
      return make("li", {}, make("span", {}, name), bar, make("span", { class: "share" }, `${(100 * share).toFixed(1)} %`));
    }));
  }

  function choose(card) {
    chosen = card;
    for (const button of find("cards").children) button.setAttribute("aria-pressed", String(button.dataset.place === `${card.place}`));
    if (!ask) return;
    find("chosen").setAttribute("src", card.image);
    find("chosen").setAttribute("alt", card.about);
    find("question").value = card.question;
    answer();
  }

  function cardOf(card) {
    const button = make("button", { type: "button", class: card.right ? "right" : "wrong", "data-place": card.place, "aria-pressed": String(card === chosen) },
      make("img", { src: card.image, alt: card.about, width: 64, height: 64 }),
      make("b", {}, card.question),
      make("span", {}, `${card.given}, ${(100 * card.share).toFixed(0)} %`), make("br"),
      make("small", {}, card.right ? "right" : `right would be ${card.answer}`));
    button.addEventListener("click", () => choose(card));
    return button;
  }

  function show(which) {
    const cards = DATA.cards.filter((card) => which === "all" || card.right === (which === "right"));
    find("cards").replaceChildren(...cards.map(cardOf));
    find("count").textContent = `${cards.length} of ${DATA.cards.length} questions`;
    for (const button of find("choices").children) button.setAttribute("aria-pressed", String(button.dataset.which === which));
  }

  find("about").textContent = DATA.about;
  for (const which of ["all", "right", "wrong"]) {
    const button = make("button", { type: "button", "data-which": which }, which);
    button.addEventListener("click", () => show(which));
    find("choices").append(button);
  }
  find("ask").hidden = !ask;
  find("ask").addEventListener("submit", (event) => event.preventDefault());
  find("question").addEventListener("input", () => answer());
  show("all");
  choose(chosen);
}

if (typeof document !== "undefined") showPage();
