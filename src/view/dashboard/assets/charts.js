// The charts.

import { all, at, now, one, setText } from "./dom.js";
import { KINDS, past, times } from "./past.js";
import { chosenWorker } from "./workers.js";

const CHARTS = {
  finished_rate: { tone: "--good", unit: " per second", whole: false },
  failed_rate: { tone: "--bad", unit: " per second", whole: false },
  running: { tone: "--busy", unit: " running", whole: true, also: "slots" },
  todo: { tone: "--calm", unit: " waiting", whole: true },
};
[...KINDS].forEach(([key, noun], index) => {
  CHARTS[`worker_${key}`] = { tone: index === 0 ? "--busy" : "--calm", unit: ` % of the ${noun}`, whole: true, top: 100 };
});
const charts = new Map();
const RANGES = [...all("[data-range]")].map((button) => button.dataset.range);
// Of a node there are ten minutes.
const NODE_SPAN = 600;
let range = new URLSearchParams(location.search).get("range");
if (!RANGES.includes(range)) [range] = RANGES;
let columns = null;
// Whether Redis has been away since the last point.
let wasAway = false;

const short = (value) => {
  const [unit, by] = value >= 1e6 ? ["M", 1e6] : value >= 1e4 ? ["k", 1e3] : ["", 1];
  return `${Number((value / by).toPrecision(3))}${unit}`;
};
const spanOf = (key) => (key.startsWith("worker_") ? NODE_SPAN : columns.span);
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });
const day = (seconds) => new Date(seconds * 1000).toLocaleDateString([], { weekday: "short", day: "numeric" });
const moment = (seconds, span) => (span > 86_400 ? `${day(seconds)}, ${clock(seconds).slice(0, 5)}` : clock(seconds));
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function makeChart(holder, key) {
  const { tone, unit, whole, top, also } = CHARTS[key];
  const ink = color("--soft"), grid = { stroke: color("--line"), width: 1 }, stroke = color(tone);
  const font = "11px system-ui, sans-serif";
  const under = holder.closest(".card").querySelector(".under");
  const options = {
    width: Math.max(holder.clientWidth, 120), height: holder.clientHeight, legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
    padding: [6, 18, 0, 0],
    scales: { x: { range: () => { const end = now(); return [end - spanOf(key), end]; } }, y: { range: (_, __, max) => [0, top ?? Math.max(max * 1.15, whole ? 4 : 1)] } },
    axes: [
      { stroke: ink, font, grid: { show: false }, ticks: { show: false }, size: 22, space: 70,
        values: (chart, ticks) => ticks.map((tick) => (spanOf(key) > 86_400 ? day(tick) : clock(tick).slice(0, chart.scales.x.max - chart.scales.x.min < 240 ? 8 : 5))) },
      { stroke: ink, font, grid, ticks: { show: false }, size: 40, space: 32, incrs: whole ? [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7] : undefined,
        values: (_, ticks) => ticks.map(short) },
    ],
    series: [{}, { stroke, width: 1.6, fill: `${stroke}22`, points: { show: false }, spanGaps: false },
      ...(also ? [{ stroke: ink, width: 1, dash: [4, 4], points: { show: false }, spanGaps: false }] : [])],
    hooks: {
      setCursor: [(chart) => {
        const index = chart.cursor.idx;
        if (index === null || index === undefined || chart.cursor.left < 0) {
          delete under.dataset.hover;
          setText(under, under.dataset.last ?? under.textContent);
          return;
        }
        if (!("hover" in under.dataset)) { under.dataset.hover = ""; under.dataset.last ??= under.textContent; }
        const value = chart.data[1][index];
        const text = value === null || value === undefined ? "not known" : `${short(value)}${unit}`;
        setText(under, `${text} at ${moment(chart.data[0][index], spanOf(key))}`);
      }],
    },
  };
  return new uPlot(options, dataOf(key), holder);
}

// Times and values; null while there are none.
function dataOf(key) {
  if (!key.startsWith("worker_")) {
    const { also } = CHARTS[key];
    return columns && [columns.t, columns[key], ...(also ? [columns[also]] : [])];
  }
  const values = past.get(chosenWorker())?.[key.slice("worker_".length)];
  return values ? [times, values] : null;
}

export function drawCharts() {
  if (typeof uPlot === "undefined") return;
  for (const holder of all("[data-chart]")) {
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

export async function loadHistory() {
  if (!one("[data-range]")) return;
  const answer = await fetch(at(`/api/v1/history?range=${range}`));
  if (!answer.ok) return;
  columns = await answer.json();
  drawCharts();
}

// Adds the point of a frame. Where Redis was away there is a gap.
export function addPoint(point, isOutage) {
  if (isOutage) wasAway = true;
  if (!columns || !point || columns.step > 10) return;
  const last = columns.t.at(-1) ?? 0;
  if (point.t <= last || point.t - last < columns.step * 0.9) return;
  if (last > 0 && (wasAway || point.t - last > 15)) add(last + 0.1, {});
  wasAway = false;
  add(point.t, point);
  while (columns.t[0] < point.t - columns.span) for (const column of series()) columns[column].shift();
  drawCharts();
}

const series = () => Object.keys(columns).filter((key) => Array.isArray(columns[key]));

function add(t, point) {
  for (const key of series()) columns[key].push(key === "t" ? t : point[key] ?? null);
}

// Coarse ranges are asked for anew: their points come from the history of the queue.
setInterval(() => {
  if (columns?.step > 10 && !document.hidden) loadHistory().catch(() => {});
}, 30_000);

function press() {
  for (const button of all("[data-range]")) button.setAttribute("aria-pressed", String(button.dataset.range === range));
}
press();

for (const button of all("[data-range]")) {
  button.addEventListener("click", () => {
    range = button.dataset.range;
    const query = new URLSearchParams(location.search);
    query.set("range", range);
    history.replaceState(null, "", `${location.pathname}?${query}${location.hash}`);
    press();
    loadHistory().catch(() => {});
  });
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", remakeCharts);
document.addEventListener("themechange", remakeCharts);
let resizing;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(remakeCharts, 150);
});
