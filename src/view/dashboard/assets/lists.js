// A search through many tasks goes on by itself, a part at a time, until a page is full, all was looked at, or somebody stops it.

// The same module as that of the page: its address has the version too.
const { page, showTimes } = await import(`./reading.js${new URL(import.meta.url).search}`);

const ENOUGH = 100;
const told = document.getElementById("told");
const body = document.getElementById("rows");
const number = new Intl.NumberFormat("en-US");

function part(address) {
  const url = new URL(address, location.href);
  url.searchParams.set("further", "true");
  return page(url);
}

function take(fresh) {
  const known = new Set([...body.rows].map((row) => row.dataset.id));
  const rows = [...(fresh.getElementById("rows")?.rows ?? [])].filter((row) => !known.has(row.dataset.id));
  body.append(...rows.map((row) => document.adoptNode(row)));
  showTimes(body);
  if (body.rows.length === 0) return;
  body.closest(".scroll").hidden = false;
  document.querySelector("main > .empty")?.remove();
}

async function search() {
  let looked = Number(told.dataset.looked);
  let link = document.querySelector("a[rel=next]");
  const all = Number(told.dataset.all);
  let isStopped = false;
  const stop = document.createElement("button");
  stop.type = "button";
  stop.textContent = "Stop";
  stop.className = "stop";
  stop.addEventListener("click", () => { isStopped = true; });
  const bar = document.createElement("progress");
  bar.setAttribute("aria-label", "Tasks looked at");
  bar.max = Math.max(all, 1);
  // The numbers change many times a second: they are read out at the end.
  told.removeAttribute("role");
  told.after(" ", bar, " ", stop);
  const say = (how) => {
    bar.value = looked;
    told.textContent = `${number.format(body.rows.length)} match among ${number.format(Math.min(looked, all))} of ${number.format(all)} looked at${how}`;
  };
  say("");
  while (link && !isStopped && body.rows.length < ENOUGH) {
    // A page in the background waits.
    if (document.hidden) await new Promise((seen) => document.addEventListener("visibilitychange", seen, { once: true }));
    let fresh;
    try {
      fresh = await part(link.href);
    } catch {
      isStopped = true;
      break;
    }
    take(fresh);
    looked += Number(fresh.getElementById("told")?.dataset.looked ?? 0);
    const next = fresh.querySelector("a[rel=next]");
    if (next) link.href = next.href;
    else {
      const isFull = body.rows.length >= ENOUGH;
      link.closest("nav").hidden = !isFull;
      link.remove();
      link = null;
      looked = all;
    }
    say("");
  }
  bar.remove();
  stop.remove();
  told.setAttribute("role", "status");
  if (link) {
    link.textContent = "Look further";
    say(isStopped ? ", stopped" : "");
  } else {
    told.textContent = `${number.format(body.rows.length)} of ${number.format(Math.max(all, body.rows.length))} match`;
    const empty = document.querySelector("main > .empty");
    if (empty) empty.textContent = "No task matches.";
  }
}

if (told?.dataset.looked !== undefined && body) search();
