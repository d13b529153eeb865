// Keeps a page up to date. All text comes ready to be shown and is set as text, never as markup.

import { addPoint, drawCharts, loadHistory } from "./charts.js";
import { at, badge, byId, element, makeRow, meter, now, plain, setNow, setText } from "./dom.js";
import { addPast, loadPast } from "./past.js";
import { stackTables } from "./stack.js";
import { drawSparks, filter, onChosen, onFilter, showWorkers, shownRows } from "./workers.js";

// Batches

const BATCH = [badge("badge", "tone", "state"), plain("tasks", "n"), meter("good")("done"), plain("running", "n"), plain("waiting", "n"), plain("blocked", "n"),
  plain("failed", "n"), plain("cancelled", "n"), plain("rate", "n"), plain("to_go", "n"), plain("note", "note")];

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
  list.forEach((batch, index) => {
    const row = rows.get(batch.name) ?? makeRow(batch.name, batch.href, BATCH);
    rows.delete(batch.name);
    if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] ?? null);
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
    link.href = at(`/task/${failure.id}`);
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
  if (old.length !== items.length || old.some((text, index) => text !== items[index])) {
    list.replaceChildren(...items.map((item) => element("li", "", item)));
  }
  const section = list.closest("[data-hide-empty]");
  if (section) section.hidden = items.length === 0;
}

// The stream

let title = document.title;
// Whether there are workers, and none is alive; told when it changes.
let nobodyLives = false;
// Workers that are dead.
let dead = 0;
let source = null;
let heard = performance.now();

// What the page shows of the figures; the stream brings no more.
function streamAddress() {
  const table = document.querySelector("[data-workers]");
  if (!table) return at("/live?view=texts");
  return at("wide" in table.dataset ? `/live?${new URLSearchParams({ view: "workers", filter: filter() })}` : "/live?view=overview");
}

function setLink(name, text) {
  const link = byId("link");
  if (link.dataset.state !== name) link.dataset.state = name;
  setText(byId("link-text"), text);
}

// The banner counts seconds; what is read out says once what has changed.
function showBanner(text, said = "") {
  const banner = byId("banner");
  setText(banner, text ?? "");
  banner.hidden = !text;
  const wasSaid = byId("said").textContent !== "";
  if (text) setText(byId("said"), said);
  else if (wasSaid) setText(byId("said"), "");
  if (text) document.title = `! ${said} · ${title}`;
}

// A part of the page was fetched anew: its title says how the task stands now.
document.addEventListener("refreshed", ({ detail: fresh }) => {
  if (fresh.title === title) return;
  const isPlain = document.title === title;
  title = fresh.title;
  if (isPlain) document.title = title;
});

// What to begin with, until there is a task.
function showBegin() {
  const begin = document.querySelector("[data-begin]");
  if (!begin) return;
  const counts = ["todo", "running", "finished", "failed"].map((name) => document.querySelector(`[data-text="${name}"]`)?.textContent);
  begin.hidden = counts.some((text) => text !== "0");
}

function show(frame) {
  heard = performance.now();
  // Redis is slow to answer; the dashboard is there.
  if (frame.waits) return;
  if (frame.at) setNow(frame.at);
  showBanner(frame.outage, "Redis does not answer");
  if (frame.outage) addPoint(null, true);
  if (frame.figures?.nobody_lives !== undefined) nobodyLives = frame.figures.nobody_lives;
  if (frame.figures?.dead !== undefined) dead = frame.figures.dead;
  if (frame.outage) setLink("lost", "Redis is away");
  // The page is live all the same; the alarm says why the mark is red.
  else setLink(nobodyLives ? "lost" : "live", "live");
  const trouble = nobodyLives ? "no worker is alive" : dead === 1 ? "a worker died" : dead > 1 ? `${dead} workers died` : "";
  if (!frame.outage) document.title = trouble ? `! ${trouble} · ${title}` : title;
  if (!frame.figures) return;
  const figures = frame.figures;
  const texts = figures.text ?? {};
  for (const node of document.querySelectorAll("[data-text]")) {
    const text = texts[node.dataset.text];
    if (text === undefined) continue;
    if ("hover" in node.dataset) node.dataset.last = text;
    else { delete node.dataset.last; setText(node, text); }
  }
  if (texts.failed) document.querySelector(".card.bad .number")?.classList.toggle("some", texts.failed !== "0");
  showBegin();
  if (figures.parts) document.querySelectorAll("[data-parts] > svg").forEach((part, index) => part.setAttribute("width", `${figures.parts[index]}%`));
  if (figures.alarms) showList("alarms", figures.alarms);
  if (figures.notices) showList("notices", figures.notices);
  if (figures.why) showList("why", figures.why);
  if (figures.limits) showLimits(figures.limits);
  if (figures.failures) showFailures(figures.failures);
  showWorkers(figures);
  addPoint(frame.point);
  if (addPast(now(), shownRows())) { drawSparks(); drawCharts(); }
}

function open() {
  if (source) return;
  source = new EventSource(streamAddress());
  source.onmessage = (event) => show(JSON.parse(event.data));
  source.onerror = () => {
    // The browser tries again by itself unless it was refused: the session has ended, or too many look.
    if (source?.readyState === EventSource.CLOSED) {
      close();
      setTimeout(async () => {
        const answer = await fetch(at("/api/v1/history"), { headers: { accept: "application/json" } }).catch(() => null);
        if (answer?.status === 401) location.assign(at(`/login?${new URLSearchParams({ next: `/${location.pathname.slice(at("/").length)}${location.search}` })}`));
        else if (!document.hidden) open();
      }, 4000);
    }
  };
}

function close() {
  source?.close();
  source = null;
}

onFilter(() => {
  close();
  open();
});
onChosen(drawCharts);

setInterval(() => showBatches().catch(() => {}), 2000);

setInterval(() => {
  const silent = Math.round((performance.now() - heard) / 1000);
  if (silent < 5 || document.hidden) return;
  setLink("lost", "not live");
  showBanner(`The dashboard does not answer; the data shown are ${silent} s old. The page recovers on its own.`, "the dashboard does not answer");
}, 1000);

document.addEventListener("visibilitychange", () => {
  // A hidden page costs nobody anything; a browser has few connections for one place.
  if (document.hidden) return close();
  heard = performance.now();
  loadHistory().catch(() => {});
  loadPast().then(drawSparks).catch(() => {});
  open();
});

stackTables();
loadHistory().catch(() => {});
await loadPast().catch(() => {});
if (!document.hidden) open();
