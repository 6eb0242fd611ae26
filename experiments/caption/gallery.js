// Cards of images and what was said of them. All text is put in as text.

const VERDICTS = { all: "all", right: "the better half", wrong: "the worse half" };

// Where attention has a map for each word: squares over the picture, the darker the less they were read.
function map(weights) {
  const side = Math.round(Math.sqrt(weights.length));
  const top = Math.max(...weights);
  const box = make("div", { class: "map", "aria-hidden": "true" });
  box.style.gridTemplateColumns = `repeat(${side}, 1fr)`;
  weights.forEach((weight) => {
    const square = make("i");
    square.style.opacity = (0.85 * (1 - weight / top)).toFixed(2);
    box.append(square);
  });
  return box;
}

function title(card, picture) {
  if (!card.maps) return make("h2", {}, card.caption);
  const words = card.caption.split(" ").map((word, k) => {
    const button = make("button", { type: "button", "aria-label": `${word}: show what was read for it` }, word);
    const show = () => {
      picture.querySelector(".map")?.remove();
      if (card.maps[k]) picture.append(map(card.maps[k]));
    };
    button.addEventListener("click", show);
    button.addEventListener("focus", show);
    button.addEventListener("pointerenter", show);
    return button;
  });
  return make("h2", {}, ...words);
}

function article(card) {
  const image = make("img", { src: card.image, alt: `Image: ${card.said[0]}`, width: card.width, height: card.height });
  const picture = make("div", { class: card.width < 64 ? "picture small" : "picture" }, image);
  const list = make("dl");
  const add = (name, text) => list.append(make("dt", {}, name), make("dd", {}, text));
  add("log-probability", `${card.log_prob.toFixed(2).replace("-", "−")} nats; ${card.verdict}`);
  add(card.said.length > 1 ? "people said" : "one of the true captions", card.said.join(" · "));
  if (card.nearest) add("of the most similar training image", card.nearest);
  return make("article", { class: card.right ? "right" : "wrong" }, picture, title(card, picture), list);
}

function show(which) {
  const cards = DATA.cards.filter((card) => which === "all" || card.right === (which === "right"));
  document.getElementById("cards").replaceChildren(...cards.map(article));
  document.getElementById("count").textContent = `${cards.length} of ${DATA.cards.length} images`;
  for (const button of document.getElementById("choices").children)
    button.setAttribute("aria-pressed", String(button.dataset.which === which));
}

document.getElementById("about").textContent = DATA.about;
for (const [which, name] of Object.entries(DATA.verdicts ?? VERDICTS)) {
  const button = make("button", { type: "button", "data-which": which }, name);
  button.addEventListener("click", () => show(which));
  document.getElementById("choices").append(button);
}
show("all");
