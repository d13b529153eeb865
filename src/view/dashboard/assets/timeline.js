// What each worker has run in the last minutes, and histograms of it.

import { all, at, bar, element, one, setBar, setText, shape } from "./dom.js";

const ROW = 5;
const DEPTH = 16;
const section = one("[data-timeline]");
const lanes = one("[data-lanes]");
let told = null;

const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });

// Attempts that overlap get rows of their own, as many as there is room for.
function pack(attempts) {
  const ends = [];
  return attempts.toSorted((a, b) => a[0] - b[0]).flatMap((attempt) => {
    let row = ends.findIndex((end) => end <= attempt[0] + 0.05);
    if (row < 0) row = ends.length;
    if (row >= DEPTH) return [];
    ends[row] = attempt[1];
    return [[row, attempt]];
  });
}

function axis() {
  const row = element("div", "lane axis");
  row.setAttribute("aria-hidden", "true");
  const ticks = element("div", "ticks");
  for (let tick = 0; tick < 4; tick += 1) ticks.append(element("span", "", clock(told.from + (told.to - told.from) * tick / 4)));
  ticks.append(element("span", "", "now"));
  row.append(element("span"), ticks);
  return row;
}

function draw() {
  if (!told || !lanes) return;
  const width = Math.max(section.clientWidth - 25 - (innerWidth > 560 ? 145 : 105), 120);
  const x = (seconds) => Math.max(0, (seconds - told.from) / (told.to - told.from)) * width;
  lanes.replaceChildren(...told.lanes.map((lane) => {
    const packed = pack(lane.attempts);
    const rows = packed.reduce((most, [row]) => Math.max(most, row + 1), 1);
    const failed = lane.attempts.filter((attempt) => attempt[2] === "failed").length;
    const svg = shape("svg", {
      width, height: rows * ROW + 3, role: "img", "aria-label": `${lane.attempts.length} attempts, ${failed} failed`,
    });
    for (const [row, [start, end, how, id, attempt]] of packed) {
      const rect = shape("rect", { x: x(start).toFixed(1), y: row * ROW + 2, width: Math.max(x(end) - x(start) - 0.5, 1).toFixed(1), height: ROW - 1, class: how });
      rect.append(shape("title", {}));
      rect.firstChild.textContent = `${how === "runs" ? "runs since" : `${how} after ${(end - start).toFixed(1)} s, from`} ${clock(start)}, attempt ${attempt}\n${id}`;
      if (id) rect.dataset.id = id;
      svg.append(rect);
    }
    const name = element("a", "name", lane.worker);
    name.href = at(`/timeline?worker=${encodeURIComponent(lane.worker)}`);
    name.title = lane.worker;
    const row = element("div", "lane");
    row.append(name, svg);
    return row;
  }), axis());
}

function drawHistograms() {
  told.histograms.forEach((histogram, which) => {
    const key = ["run", "wait", "memory"][which];
    setText(one(`[data-hist-told="${key}"]`), histogram.told);
    const body = one(`[data-hist="${key}"]`).tBodies[0];
    const most = Math.max(...histogram.counts, 1);
    while (body.rows.length < histogram.labels.length) {
      const row = element("tr");
      const head = element("th");
      head.scope = "row";
      const cell = element("td");
      cell.append(bar("busy"));
      row.append(head, cell, element("td", "n"));
      body.append(row);
    }
    histogram.labels.forEach((label, index) => {
      const row = body.rows[index];
      setText(row.cells[0], label);
      setBar(row.querySelector("rect"), histogram.counts[index] / most * 100);
      setText(row.cells[2], histogram.counts[index].toLocaleString("en"));
    });
  });
}

async function load() {
  if (document.hidden) return;
  const answer = await fetch(at(`/api/v1/timeline?${new URLSearchParams({ worker: section.dataset.timeline })}`));
  if (!answer.ok) return;
  told = await answer.json();
  setText(one("[data-timeline-told]"), told.told);
  one('[data-empty="timeline"]').hidden = told.lanes.length > 0;
  // Under the mouse nothing moves.
  if (!lanes.matches(":hover")) draw();
  drawHistograms();
}

lanes?.addEventListener("click", (event) => {
  const id = event.target.closest("rect")?.dataset.id;
  if (id) location.assign(at(`/task/${id}`));
});
let resizing;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(draw, 150);
});
for (const table of all("[data-hist]")) table.hidden = false;
setInterval(() => load().catch(() => {}), 5000);
document.addEventListener("visibilitychange", () => load().catch(() => {}));
load().catch(() => {});
