// A search goes on by itself in each state that was not looked through, until enough was found there, all was looked at, or somebody stops it.

// The same module as that of the page: its address has the version too.
const { page } = await import(`./reading.js${new URL(import.meta.url).search}`);

const number = new Intl.NumberFormat("en-US");
const line = document.getElementById("searching");
const told = document.getElementById("searching-told");
const bar = line?.querySelector("progress");
const sections = [...document.querySelectorAll("[data-found]")];
const due = sections.filter((section) => section.dataset.next);
let isStopped = false;

function part(address) {
  const url = new URL(address, location.href);
  url.searchParams.set("further", "true");
  return page(url);
}

// The head of a row and its line, of the rows of a list.
function take(body, fresh, enough) {
  const known = new Set([...body.rows].map((row) => row.cells[0].textContent));
  for (const row of fresh.getElementById("rows")?.rows ?? []) {
    const [head, text] = [row.querySelector("th"), row.querySelector("td.line")];
    if (body.rows.length >= enough || !head || !text || known.has(head.textContent)) continue;
    const mine = document.createElement("tr");
    mine.append(document.adoptNode(head), document.adoptNode(text));
    body.append(mine);
  }
}

function say() {
  const [looked, all] = ["looked", "all"].map((name) => sections.reduce((sum, section) => sum + Number(section.dataset[name]), 0));
  bar.max = Math.max(all, 1);
  bar.value = Math.min(looked, all);
  told.textContent = `${number.format(Math.min(looked, all))} of ${number.format(all)} tasks looked at`;
}

async function search(section) {
  const [body, hits, enough] = [section.querySelector("tbody"), section.querySelector("[data-hits]"), Number(section.dataset.enough)];
  const all = Number(section.dataset.all);
  while (section.dataset.next && !isStopped && body.rows.length < enough) {
    // A page in the background waits.
    if (document.hidden) await new Promise((seen) => document.addEventListener("visibilitychange", seen, { once: true }));
    let fresh;
    try {
      fresh = await part(section.dataset.next);
    } catch {
      isStopped = true;
      break;
    }
    take(body, fresh, enough);
    section.querySelector(".scroll").hidden = body.rows.length === 0;
    const next = fresh.querySelector("a[rel=next]");
    section.dataset.next = next?.href ?? "";
    const looked = next ? Number(section.dataset.looked) + Number(fresh.getElementById("told")?.dataset.looked ?? 0) : all;
    section.dataset.looked = String(looked);
    const found = body.rows.length === 0 ? "none" : number.format(body.rows.length);
    hits.textContent = next ? `${found} among the first ${number.format(looked)}` : found;
    say();
  }
  // All was looked at, and all that was found stands here.
  if (!section.dataset.next && body.rows.length < enough) {
    section.querySelector("p.told")?.remove();
    section.hidden = body.rows.length === 0;
  }
}

if (line && due.length > 0) {
  line.hidden = false;
  line.querySelector(".stop").addEventListener("click", () => { isStopped = true; });
  // The numbers change many times a second: they are read out at the end.
  told.removeAttribute("role");
  say();
  for (const section of due) await search(section);
  told.setAttribute("role", "status");
  bar.remove();
  line.querySelector(".stop").remove();
  if (isStopped) told.append(", stopped");
  const isNothing = sections.every((section) => section.hidden) && !document.getElementById("by-id");
  document.getElementById("nothing").hidden = !isNothing || isStopped;
}
