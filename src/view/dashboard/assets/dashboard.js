// Keeps a page up to date. All text comes ready to be shown and is set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const page = document.body.dataset.page;
const byId = (id) => document.getElementById(id);

// Elements

function setText(node, text) {
  if (node && node.textContent !== text) node.textContent = text;
}

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function setBar(rect, percent) {
  const width = `${percent ?? 0}%`;
  if (rect && rect.getAttribute("width") !== width) rect.setAttribute("width", width);
}

function bar(tone) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `bar ${tone}`);
  svg.setAttribute("aria-hidden", "true");
  const rect = document.createElementNS(SVG, "rect");
  rect.setAttribute("class", "fill");
  rect.setAttribute("height", "100%");
  rect.setAttribute("width", "0%");
  svg.append(rect);
  return svg;
}

// Tables

const meter = (tone) => (key) => ({
  make: (cell) => { cell.className = "m"; cell.append(bar(tone), element("span")); },
  set: (cell, row) => { setBar(cell.querySelector("rect"), row[`${key}_percent`]); setText(cell.lastChild, row[key]); },
});
const plain = (key, className) => ({
  make: (cell) => { cell.className = className ?? ""; },
  set: (cell, row) => setText(cell, row[key]),
});
const state = {
  make: (cell) => cell.append(element("span")),
  set: (cell, row) => { cell.firstChild.className = `state ${row.state}`; setText(cell.firstChild, row.state); },
};
const spark = (key) => ({
  make: (cell) => {
    cell.className = "spark";
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", "0 0 119 100");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `${KINDS.get(key)} in use over the last ten minutes`);
    svg.append(document.createElementNS(SVG, "polyline"));
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
    const shift = 120 - values.length;
    const points = values.flatMap((value, at) => (value === null ? [] : [`${at + shift},${(98 - value * 0.96).toFixed(1)}`]));
    cell.querySelector("polyline").setAttribute("points", points.join(" "));
  },
});
// The kinds of resources, as the table names them: key and noun.
const KINDS = new Map((document.querySelector("[data-kinds]")?.dataset.kinds ?? "").trim().split(/\s+/).map((kind) => kind.split(":")));
const each = (...makes) => [...KINDS.keys()].flatMap((key) => makes.map((make) => make(key)));
const NARROW = [state, plain("beat", "n"), meter("busy")("running"), ...each(meter("calm")),
  plain("finished", "n"), plain("failed", "n"), plain("waits", "waits")];
const WIDE = [state, plain("beat", "n"), meter("busy")("running"), ...each(meter("calm"), spark),
  plain("finished", "n"), plain("failed", "n"), plain("timed_out", "n"), plain("returned", "n"), plain("host"), plain("waits", "waits")];

function makeRow(name, columns) {
  const row = element("tr");
  row.dataset.name = name;
  const head = element("th");
  head.scope = "row";
  const link = element("a", "", name);
  link.href = `/tasks?state=in_progress&worker=${encodeURIComponent(name)}`;
  head.append(link);
  row.append(head);
  for (const column of columns) {
    const cell = element("td");
    row.append(cell);
    column.make(cell);
  }
  return row;
}

function showWorkers(workers) {
  const table = document.querySelector("[data-workers]");
  if (!table) return;
  const columns = "wide" in table.dataset ? WIDE : NARROW;
  const body = table.tBodies[0];
  const shown = workers.slice(0, Number(table.dataset.workers));
  const rows = new Map([...body.rows].map((row) => [row.dataset.name, row]));
  shown.forEach((worker, at) => {
    const row = rows.get(worker.name) ?? makeRow(worker.name, columns);
    rows.delete(worker.name);
    if (body.rows[at] !== row) body.insertBefore(row, body.rows[at] ?? null);
    columns.forEach((column, index) => column.set(row.cells[index + 1], worker));
  });
  for (const row of rows.values()) row.remove();
  showChosen(shown);
  const empty = document.querySelector('[data-empty="workers"]');
  if (empty) empty.hidden = workers.length > 0;
}

// Batches

const badge = {
  make: (cell) => cell.append(element("span")),
  set: (cell, row) => { cell.firstChild.className = `badge ${row.tone}`; setText(cell.firstChild, row.state); },
};
const BATCH = [badge, plain("tasks", "n"), meter("good")("done"), plain("running", "n"), plain("waiting", "n"), plain("blocked", "n"),
  plain("failed", "n"), plain("rate", "n"), plain("to_go", "n"), plain("note", "note")];

function makeBatch(batch) {
  const row = element("tr");
  row.dataset.name = batch.name;
  const head = element("th");
  head.scope = "row";
  const link = element("a", "", batch.name);
  link.href = batch.href;
  head.append(link);
  row.append(head);
  for (const column of BATCH) {
    const cell = element("td");
    row.append(cell);
    column.make(cell);
  }
  return row;
}

async function showBatches() {
  const table = document.querySelector("[data-batches]");
  if (!table || document.hidden) return;
  const answer = await fetch(table.dataset.batches, { headers: { accept: "application/json" } });
  if (!answer.ok) return;
  const found = await answer.json();
  // A list of batches, or one with its steps.
  const list = (found.batches ?? [found, ...found.steps]).map((batch) => batch.texts);
  const body = table.tBodies[0];
  const rows = new Map([...body.rows].map((row) => [row.dataset.name, row]));
  list.forEach((batch, at) => {
    const row = rows.get(batch.name) ?? makeBatch(batch);
    rows.delete(batch.name);
    if (body.rows[at] !== row) body.insertBefore(row, body.rows[at] ?? null);
    BATCH.forEach((column, index) => column.set(row.cells[index + 1], batch));
  });
  for (const row of rows.values()) row.remove();
  setText(document.querySelector("[data-told]"), found.told ?? "");
  const empty = document.querySelector('[data-empty="batches"]');
  if (empty) empty.hidden = list.length > 0;
}

function showFailures(failures) {
  const body = document.querySelector("[data-failures]");
  if (!body) return;
  body.closest("section").hidden = failures.length === 0;
  const signature = JSON.stringify(failures);
  if (body.dataset.seen === signature) return;
  body.dataset.seen = signature;
  body.replaceChildren(...failures.map((failure) => {
    const row = element("tr");
    const line = element("td", "line");
    const link = element("a", "", failure.line);
    link.href = `/task/${failure.id}`;
    line.append(link);
    row.append(element("td", "n", failure.count), element("td", "kind", failure.kind), line);
    return row;
  }));
}

function showLimits(limits) {
  const body = document.querySelector("[data-limits]");
  if (!body) return;
  body.closest("section").hidden = limits.length === 0;
  const signature = JSON.stringify(limits);
  if (body.dataset.seen === signature) return;
  body.dataset.seen = signature;
  body.replaceChildren(...limits.map((limit) => {
    const row = element("tr");
    const name = element("th", "", limit.name);
    name.scope = "row";
    row.append(name, ...[limit.most, limit.per_node, limit.in_use, limit.waiting].map((text) => element("td", "n", text)));
    return row;
  }));
}

function showList(name, items) {
  const list = document.querySelector(`[data-list="${name}"]`);
  if (!list) return;
  const old = [...list.children].map((item) => item.textContent);
  if (old.length !== items.length || old.some((text, at) => text !== items[at])) {
    list.replaceChildren(...items.map((item) => element("li", "", item)));
  }
  const section = list.closest("[data-hide-empty]");
  if (section) section.hidden = items.length === 0;
}

// Charts

const CHARTS = {
  finished_rate: { tone: "--good", unit: " per second", whole: false },
  running: { tone: "--busy", unit: " running", whole: true },
  todo: { tone: "--calm", unit: " waiting", whole: true },
  failed: { tone: "--bad", unit: " failed", whole: true },
};
[...KINDS].forEach(([key, noun], at) => {
  CHARTS[`worker_${key}`] = { tone: at === 0 ? "--busy" : "--calm", unit: ` % of the ${noun}`, whole: true, top: 100 };
});
const KEEP = { minutes: 600, hour: 720 };
const charts = new Map();
let range = "minutes";
let columns = null;
let coarse = 0;

const short = (value) => {
  const [unit, by] = value >= 1e6 ? ["M", 1e6] : value >= 1e4 ? ["k", 1e3] : ["", 1];
  return `${Number((value / by).toPrecision(3))}${unit}`;
};
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function makeChart(holder, key) {
  const { tone, unit, whole, top } = CHARTS[key];
  const ink = color("--soft"), grid = { stroke: color("--line"), width: 1 }, stroke = color(tone);
  const font = "11px system-ui, sans-serif";
  const under = holder.closest(".card").querySelector(".under");
  const options = {
    width: Math.max(holder.clientWidth, 120), height: holder.clientHeight, legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
    padding: [6, 8, 0, 0],
    scales: { y: { range: (_, __, max) => [0, top ?? Math.max(max * 1.15, whole ? 4 : 1)] } },
    axes: [
      { stroke: ink, font, grid: { show: false }, ticks: { show: false }, size: 22, space: 70,
        values: (chart, ticks) => ticks.map((tick) => clock(tick).slice(0, chart.scales.x.max - chart.scales.x.min < 240 ? 8 : 5)) },
      { stroke: ink, font, grid, ticks: { show: false }, size: 40, space: 32, incrs: whole ? [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7] : undefined,
        values: (_, ticks) => ticks.map(short) },
    ],
    series: [{}, { stroke, width: 1.6, fill: `${stroke}22`, points: { show: false }, spanGaps: true }],
    hooks: {
      setCursor: [(chart) => {
        const at = chart.cursor.idx;
        if (at === null || at === undefined || chart.cursor.left < 0) {
          delete under.dataset.hover;
          setText(under, under.dataset.last ?? under.textContent);
          return;
        }
        if (!("hover" in under.dataset)) { under.dataset.hover = ""; under.dataset.last ??= under.textContent; }
        setText(under, `${short(chart.data[1][at])}${unit} at ${clock(chart.data[0][at])}`);
      }],
    },
  };
  return new uPlot(options, dataOf(key), holder);
}

// Times and values; null while there are none.
function dataOf(key) {
  if (!key.startsWith("worker_")) return columns && [columns.t, columns[key]];
  const values = past.get(chosen)?.[key.slice("worker_".length)];
  return values ? [pastTimes, values] : null;
}

function drawCharts() {
  if (typeof uPlot === "undefined") return;
  for (const holder of document.querySelectorAll("[data-chart]")) {
    const key = holder.dataset.chart;
    const chart = charts.get(key);
    const data = dataOf(key);
    if (!data || holder.clientWidth === 0) continue;
    if (chart) chart.setData(data);
    else charts.set(key, makeChart(holder, key));
  }
}

function remakeCharts() {
  for (const chart of charts.values()) chart.destroy();
  charts.clear();
  drawCharts();
}

async function loadHistory() {
  if (!document.querySelector("[data-range]")) return;
  const answer = await fetch(`/api/history?range=${range}`);
  if (!answer.ok) return;
  columns = await answer.json();
  drawCharts();
}

function addPoint(point) {
  if (!columns || !point) return;
  const last = columns.t.at(-1) ?? 0;
  if (point.t <= last || (range === "hour" && point.t - last < 4.5)) return;
  for (const key of Object.keys(columns)) {
    columns[key].push(point[key]);
    if (columns[key].length > KEEP[range]) columns[key].shift();
  }
  drawCharts();
}

// What nodes had in use

const past = new Map();
let pastTimes = [];

// The worker whose charts are shown; the address keeps it.
let chosen = new URLSearchParams(location.hash.slice(1)).get("worker");

function choose(name) {
  chosen = name;
  history.replaceState(null, "", `#${new URLSearchParams({ worker: name })}`);
  for (const row of document.querySelectorAll("[data-wide] tbody tr")) mark(row);
  if (latest) showChosen(latest);
  drawCharts();
}

function mark(row) {
  row.classList.toggle("chosen", row.dataset.name === chosen);
  row.querySelector(".pick")?.setAttribute("aria-pressed", String(row.dataset.name === chosen));
}

let latest = null;

function showChosen(workers) {
  const section = document.querySelector("[data-chosen]");
  if (!section) return;
  latest = workers;
  if (!workers.some((worker) => worker.name === chosen)) chosen = workers[0]?.name ?? null;
  const worker = workers.find((one) => one.name === chosen);
  const isNew = section.hidden || charts.size === 0;
  section.hidden = !worker;
  for (const row of document.querySelectorAll("[data-wide] tbody tr")) mark(row);
  if (!worker) return;
  setText(byId("chosen-name"), worker.name);
  for (const node of section.querySelectorAll("[data-of]")) {
    if ("hover" in node.dataset) node.dataset.last = worker[node.dataset.of];
    else { delete node.dataset.last; setText(node, worker[node.dataset.of]); }
  }
  if (isNew) drawCharts();
}

document.querySelector("[data-wide]")?.addEventListener("click", (event) => {
  const row = event.target.closest(".spark")?.closest("tr");
  if (row) choose(row.dataset.name);
});

async function loadPast() {
  if (!document.querySelector("[data-wide]")) return;
  const answer = await fetch("/api/history?range=workers");
  if (!answer.ok) return;
  const told = await answer.json();
  past.clear();
  pastTimes = told.t;
  for (const worker of told.workers) past.set(worker.name, worker);
  drawCharts();
}

// The stream

let source = null;
let heard = performance.now();

function setLink(name, text) {
  const link = byId("link");
  if (link.dataset.state !== name) link.dataset.state = name;
  setText(byId("link-text"), text);
}

function showBanner(text) {
  const banner = byId("banner");
  setText(banner, text ?? "");
  banner.hidden = !text;
}

function show(frame) {
  heard = performance.now();
  showBanner(frame.outage);
  if (frame.outage) setLink("lost", "Redis is away");
  // The page is live all the same; the alarm says why the mark is red.
  else setLink(frame.figures?.nobody_lives ? "lost" : "live", "live");
  if (!frame.figures) return;
  const figures = frame.figures;
  for (const node of document.querySelectorAll("[data-text]")) {
    const text = figures.text[node.dataset.text];
    if (text === undefined) continue;
    if ("hover" in node.dataset) node.dataset.last = text;
    else { delete node.dataset.last; setText(node, text); }
  }
  document.querySelector(".card.bad .number")?.classList.toggle("some", figures.text.failed !== "0");
  document.querySelectorAll("[data-parts] > svg").forEach((part, at) => part.setAttribute("width", `${figures.parts[at]}%`));
  showList("alarms", figures.alarms);
  showList("notices", figures.notices);
  showList("why", figures.why);
  showLimits(figures.limits);
  showWorkers(figures.workers);
  showFailures(figures.failures);
  addPoint(frame.point);
  coarse += 1;
  if (coarse % 5 === 0) loadPast().catch(() => {});
}

function open() {
  if (source) return;
  source = new EventSource("/live");
  source.onmessage = (event) => show(JSON.parse(event.data));
  source.onerror = () => {
    // The browser tries again by itself unless it was refused: the session has ended, or too many look.
    if (source?.readyState === EventSource.CLOSED) {
      close();
      setTimeout(async () => {
        const answer = await fetch("/api/history", { headers: { accept: "application/json" } }).catch(() => null);
        if (answer?.status === 401) location.assign("/login");
        else if (!document.hidden) open();
      }, 4000);
    }
  };
}

function close() {
  source?.close();
  source = null;
}

setInterval(() => showBatches().catch(() => {}), 2000);

setInterval(() => {
  const silent = Math.round((performance.now() - heard) / 1000);
  if (silent < 5 || document.hidden) return;
  setLink("lost", "not live");
  showBanner(`The dashboard does not answer; the data shown are ${silent} s old. The page recovers on its own.`);
}, 1000);

document.addEventListener("visibilitychange", () => {
  // A hidden page costs nobody anything; a browser has few connections for one place.
  if (document.hidden) return close();
  heard = performance.now();
  loadHistory().catch(() => {});
  loadPast().catch(() => {});
  open();
});

for (const button of document.querySelectorAll("[data-range]")) {
  button.addEventListener("click", () => {
    range = button.dataset.range;
    for (const other of document.querySelectorAll("[data-range]")) other.setAttribute("aria-pressed", String(other === button));
    loadHistory().catch(() => {});
  });
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", remakeCharts);
let resizing;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(remakeCharts, 150);
});

loadHistory().catch(() => {});
await loadPast().catch(() => {});
if (!document.hidden) open();
