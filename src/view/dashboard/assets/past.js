// What the nodes of the shown workers had in use: asked for once, then kept up from the rows of the table.

import { all, at, one } from "./dom.js";

const LOOKS = 120;
const STEP = 4.5;

export const past = new Map();
export let times = [];
const holder = one("[data-kinds]");
// The kinds of resources, as the table names them: key and noun.
export const KINDS = new Map((holder?.dataset.kinds ?? "").trim().split(/\s+/).map((kind) => kind.split(":")));

export async function loadPast() {
  if (!one("[data-wide]")) return;
  const answer = await fetch(at(`/api/v1/history?${new URLSearchParams({ range: "workers", filter: new URLSearchParams(location.search).get("filter") ?? "" })}`));
  if (!answer.ok) return;
  const told = await answer.json();
  past.clear();
  times = told.t;
  for (const worker of told.workers) past.set(worker.name, worker);
}

// Adds what the rows say now; answers whether anything was added.
export function addPast(time, rows) {
  if (all("[data-wide]").length === 0 || time - (times.at(-1) ?? 0) < STEP) return false;
  times.push(time);
  const drop = Math.max(times.length - LOOKS, 0);
  times.splice(0, drop);
  for (const [name, kept] of past) {
    if (!rows.has(name)) for (const key of KINDS.keys()) kept[key].push(null);
  }
  for (const [name, row] of rows) {
    const is_heard = row.state !== "silent" && row.state !== "dead";
    const kept = past.get(name) ?? Object.fromEntries([...KINDS.keys()].map((key) => [key, Array(times.length - 1 + drop).fill(null)]));
    past.set(name, kept);
    for (const key of KINDS.keys()) kept[key].push(is_heard ? row[`${key}_percent`] : null);
  }
  for (const kept of past.values()) for (const key of KINDS.keys()) kept[key].splice(0, drop);
  return true;
}
