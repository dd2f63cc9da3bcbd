// What a page needs to be pleasant and not to be read: without it every figure and every explanation is still there.
"use strict";

// ---- what explains itself when pointed at, focused or touched: the text of `title` ----
const tip = Object.assign(document.createElement("div"), { id: "tip", hidden: true });
tip.setAttribute("role", "tooltip");
document.body.append(tip);

function show(text, at) {
  tip.textContent = text;
  tip.hidden = false;
  const below = at.bottom + 6, left = Math.min(at.left, innerWidth - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(left, 4)}px`;
  tip.style.top = `${below + tip.offsetHeight < innerHeight ? below : at.top - tip.offsetHeight - 6}px`;
}

for (const element of document.querySelectorAll("[title]")) {
  element.dataset.tip = element.title;
  if (element.matches("a")) element.setAttribute("aria-description", element.title);
  element.removeAttribute("title");
}
for (const [on, off] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
  document.addEventListener(on, event => {
    const target = event.target.closest?.("[data-tip]");
    if (target) show(target.dataset.tip, target.getBoundingClientRect());
  });
  document.addEventListener(off, () => { tip.hidden = true; });
}
document.addEventListener("keydown", event => { if (event.key === "Escape") tip.hidden = true; });

// ---- curves: a line across them, and the value of each one there ----
for (const plot of document.querySelectorAll("[data-reading]")) {
  const { title, at, places, top, bottom, now, curves } = JSON.parse(plot.dataset.reading);
  const svg = plot.querySelector("svg"), line = document.createElementNS(svg.namespaceURI, "path");
  line.setAttribute("class", "pointed");
  svg.append(line);
  let index = now;

  function read(next) {
    index = Math.max(0, Math.min(next, at.length - 1));
    line.setAttribute("d", `M${places[index]} ${top}V${bottom}`);
    const values = curves.map(([name, ys]) => [name, ys[index]]).sort((a, b) => b[1] - a[1]);
    show([`${title}: ${at[index]}`, ...values.map(([name, y]) => `${y}  ${name}`)].join("\n"), line.getBoundingClientRect());
  }
  function leave() {
    line.removeAttribute("d");
    tip.hidden = true;
  }
  svg.addEventListener("pointermove", event => {
    const matrix = svg.getScreenCTM(), x = (event.clientX - matrix.e) / matrix.a;
    const distances = places.map(place => Math.abs(place - x));
    read(distances.indexOf(Math.min(...distances)));
  });
  svg.addEventListener("pointerleave", leave);
  plot.addEventListener("keydown", event => {
    const next = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: at.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    read(next);
  });
  plot.addEventListener("focusout", leave);
}

// ---- a link into what is folded opens it ----
function unfold() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const folded = target && target.closest("details");
  if (folded && !folded.open) {
    folded.open = true;
    target.scrollIntoView();
  }
}
addEventListener("hashchange", unfold);
unfold();

// ---- tables sort by a column: numbers with their prefix and in per cent, else words ----
function value(cell) {
  const text = (cell?.textContent ?? "").trim();
  const found = text.replace(/[\u202f\s](?=\d)/g, "").match(/^[<~]?(-?[\d.]+(?:e[-+]?\d+)?)\s*([kMG]?)/);
  return found ? Number(found[1]) * { "": 1, k: 1e3, M: 1e6, G: 1e9 }[found[2]] : text;
}

function compared(a, b) {
  if (typeof a === typeof b) return typeof a === "number" ? a - b : a.localeCompare(b);
  return typeof a === "number" ? -1 : 1;
}

for (const table of document.querySelectorAll("table:not(.fixed)")) {
  const body = table.tBodies[0];
  if (body.rows.length < 3) continue;
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = Object.assign(document.createElement("button"), { className: "sort", type: "button" });
    button.setAttribute("aria-label", `sort by ${head.textContent.trim()}`);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].sort((a, b) => compared(value(a.cells[column]), value(b.cells[column])));
      body.append(...(down ? rows.reverse() : rows));
    });
    head.append(" ", button);
  });
}

// ---- the contents say where one is ----
const links = new Map([...document.querySelectorAll("nav a")].map(link => [link.hash.slice(1), link]));
const seen = new IntersectionObserver(entries => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    for (const link of links.values()) link.removeAttribute("aria-current");
    links.get(entry.target.id)?.setAttribute("aria-current", "true");
  }
}, { rootMargin: "-10% 0px -80% 0px" });
for (const id of links.keys()) seen.observe(document.getElementById(id));
