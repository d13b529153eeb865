// The table of workers, its totals, the map of many, and the filter.

import { all, at, badge, byId, element, makeRow, meter, one, plain, setText, shape } from "./dom.js";
import { KINDS, past } from "./past.js";

const spark = (key) => ({
  make: (cell) => {
    cell.className = "spark";
    const svg = shape("svg", {
      viewBox: "0 0 119 100", preserveAspectRatio: "none", role: "img", "aria-label": `${KINDS.get(key)} in use over the last ten minutes`,
    });
    svg.append(shape("path", {}));
    // The first is for the keyboard; the mouse may take any.
    const [first] = KINDS.keys();
    const holder = element(key === first ? "button" : "span", "pick");
    if (key === first) {
      holder.type = "button";
      holder.setAttribute("aria-label", `Charts of ${cell.parentElement?.dataset.name ?? "this worker"}`);
    }
    holder.append(svg);
    cell.append(holder);
  },
  set: (cell, row) => {
    const values = past.get(row.name)?.[key];
    if (!values) return;
    if (!cell.firstChild) spark(key).make(cell);
    cell.querySelector("path").setAttribute("d", line(values));
  },
});

// A line with a gap where nothing is known.
function line(values) {
  const shift = 120 - values.length;
  let pen = "M";
  let drawn = "";
  values.forEach((value, index) => {
    if (value === null || value === undefined) { pen = "M"; return; }
    drawn += `${pen}${index + shift},${(98 - value * 0.96).toFixed(1)}`;
    pen = "L";
  });
  return drawn;
}

const each = (...makes) => [...KINDS.keys()].flatMap((key) => makes.map((make) => make(key)));
const state = badge("state", "state", "state");
const NARROW = [state, plain("beat", "n"), meter("busy")("running"), ...each(meter("calm")),
  plain("finished", "n"), plain("failed", "n"), plain("waits", "waits")];
const WIDE = [state, plain("waits", "waits"), plain("beat", "n"), meter("busy")("running"), ...each(meter("calm"), spark),
  plain("finished", "n"), plain("failed", "n"), plain("timed_out", "n"), plain("returned", "n"), plain("host", "host")];

const table = one("[data-workers]");
const columns = table && "wide" in table.dataset ? WIDE : NARROW;
// The data of the rows by name, in the order of the table.
let rows = new Map();
const drawn = new Map(table ? [...table.tBodies[0].rows].map((row) => [row.dataset.name, row]) : []);

const address = (name) => at(`/tasks?state=in_progress&worker=${encodeURIComponent(name)}`);

function draw(data) {
  let row = drawn.get(data.name);
  if (!row) {
    row = makeRow(data.name, address(data.name), columns);
    drawn.set(data.name, row);
  }
  columns.forEach((column, index) => column.set(row.cells[index + 1], data));
}

export const shownRows = () => rows;

// Takes what has changed: rows, and the order where that has.
export function showWorkers(figures) {
  if (!table) return;
  if (figures.whole) rows = new Map();
  for (const change of figures.workers ?? []) rows.set(change.name, { ...rows.get(change.name), ...change });
  if (figures.order || figures.whole) {
    rows = new Map((figures.order ?? []).flatMap((name) => (rows.has(name) ? [[name, rows.get(name)]] : [])));
    for (const data of rows.values()) draw(data);
    for (const [name, row] of drawn) {
      if (!rows.has(name)) { row.remove(); drawn.delete(name); }
    }
    const body = table.tBodies[0];
    [...rows.keys()].forEach((name, index) => {
      const row = drawn.get(name);
      if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] ?? null);
    });
  } else {
    for (const change of figures.workers ?? []) draw(rows.get(change.name));
  }
  if (figures.told !== undefined) setText(one("[data-told]"), figures.told);
  if (figures.totals) showTotals(figures.totals);
  if (figures.names) names = figures.names;
  if (figures.map !== undefined) showMap(figures.map);
  showChosen();
  const empty = one('[data-empty="workers"]');
  if (empty) empty.hidden = rows.size > 0 || Boolean(filterInput?.value);
}

export function drawSparks() {
  if (columns !== WIDE) return;
  for (const data of rows.values()) draw(data);
}

function showTotals(totals) {
  for (const cell of all("[data-total]")) {
    const key = cell.dataset.total;
    setText(cell, key.startsWith("kind-") ? totals.kinds[Number(key.slice(5))] : totals[key]);
  }
}

// The map

const LETTERS = { d: "dead", s: "silent", u: "suspect", r: "draining" };
const map = one("[data-map]");
let names = [];

function showMap(cells) {
  const section = map?.closest("section");
  if (!section) return;
  section.hidden = cells.length === 0;
  while (map.childElementCount > cells.length) map.lastChild.remove();
  while (map.childElementCount < cells.length) {
    const cell = element("button", "cell");
    cell.type = "button";
    cell.tabIndex = map.childElementCount === 0 ? 0 : -1;
    map.append(cell);
  }
  [...cells].forEach((mark, index) => {
    const cell = map.children[index];
    const said = `${names[index]}: ${LETTERS[mark] ?? `${mark * 10} to ${mark * 10 + 10} % of its cores in use`}`;
    if (cell.title === said) return;
    cell.className = `cell c${mark}`;
    cell.title = said;
    cell.setAttribute("aria-label", said);
    setText(cell, mark in LETTERS ? mark : "");
  });
}

map?.addEventListener("keydown", (event) => {
  const cells = [...map.children];
  const now = cells.indexOf(document.activeElement);
  if (now < 0) return;
  const across = cells.findIndex((cell) => cell.offsetTop > cells[0].offsetTop);
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across > 0 ? across : 1, ArrowUp: across > 0 ? -across : -1, Home: -now, End: cells.length - 1 - now };
  const next = cells[now + (steps[event.key] ?? 0)];
  if (!(event.key in steps) || !next) return;
  event.preventDefault();
  cells[now].tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
});

map?.addEventListener("click", (event) => {
  const index = [...map.children].indexOf(event.target.closest(".cell"));
  if (index < 0) return;
  filterInput.value = names[index];
  narrow();
});

// The filter: the address keeps it, and the stream is asked for what it leaves.

const filterInput = one("[data-worker-filter]");
let whenNarrowed = () => {};
let typing;

export const filter = () => filterInput?.value.trim() ?? "";
export function onFilter(call) { whenNarrowed = call; }

function narrow() {
  clearTimeout(typing);
  const query = new URLSearchParams(location.search);
  if (filter()) query.set("filter", filter());
  else query.delete("filter");
  history.replaceState(null, "", `${location.pathname}${query.size > 0 ? `?${query}` : ""}${location.hash}`);
  whenNarrowed();
}

filterInput?.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(narrow, 250);
});
filterInput?.form.addEventListener("submit", (event) => {
  event.preventDefault();
  narrow();
});

// The worker whose charts are shown; the address keeps it.

let chosen = new URLSearchParams(location.hash.slice(1)).get("worker");
let whenChosen = () => {};

export const chosenWorker = () => chosen;
export function onChosen(call) { whenChosen = call; }

function choose(name) {
  chosen = name;
  history.replaceState(null, "", `${location.search}#${new URLSearchParams({ worker: name })}`);
  showChosen();
  whenChosen();
}

function mark(row) {
  row.classList.toggle("chosen", row.dataset.name === chosen);
  one(".pick", row)?.setAttribute("aria-pressed", String(row.dataset.name === chosen));
}

function showChosen() {
  const section = one("[data-chosen]");
  if (!section) return;
  if (!rows.has(chosen)) [chosen] = rows.keys();
  const worker = rows.get(chosen);
  const isNew = section.hidden || byId("chosen-name").textContent !== (worker?.name ?? "");
  section.hidden = !worker;
  for (const row of all("[data-wide] tbody tr")) mark(row);
  if (!worker) return;
  setText(byId("chosen-name"), worker.name);
  for (const node of all("[data-of]", section)) {
    const amounts = worker[node.dataset.of];
    const text = amounts === "-" ? amounts : `${amounts}${node.dataset.unit}`;
    if ("hover" in node.dataset) node.dataset.last = text;
    else { delete node.dataset.last; setText(node, text); }
  }
  if (isNew) whenChosen();
}

one("[data-wide]")?.addEventListener("click", (event) => {
  const row = event.target.closest(".spark")?.closest("tr");
  if (row) choose(row.dataset.name);
});
