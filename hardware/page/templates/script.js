// What a page needs to be pleasant and not to be read: without it every figure and every explanation is still there.
"use strict";

// ---- what explains itself when pointed at, focused or touched: the text of `title` ----
const tip = Object.assign(document.createElement("div"), { id: "tip", hidden: true });
tip.setAttribute("role", "tooltip");
document.body.append(tip);

function show(target) {
  tip.textContent = target.dataset.tip;
  tip.hidden = false;
  const at = target.getBoundingClientRect(), below = at.bottom + 6;
  const left = Math.min(at.left, innerWidth - tip.offsetWidth - 8);
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
    if (target) show(target);
  });
  document.addEventListener(off, () => { tip.hidden = true; });
}
document.addEventListener("keydown", event => { if (event.key === "Escape") tip.hidden = true; });

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
    const button = Object.assign(document.createElement("button"), { className: "sort", type: "button", textContent: "↕" });
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
