// What a task prints while it runs. All of it becomes text nodes, never markup, and a page keeps no more than the end of it.

// The same module as that of the page: its address has the version too.
const { refresh } = await import(`./reading.js${new URL(import.meta.url).search}`);

const MOST = 400_000;
const PIECE = 8_000;
const section = document.querySelector("[data-output]");
const pre = document.getElementById("live-output");
const status = document.getElementById("output-status");
let source = null;
let kept = 0;
// A stream that begins anew tells all again: what is on the screen stays until it does.
let isStale = false;

// Cuts from the beginning what is too much, whole nodes at a time.
function trim() {
  while (kept > MOST && pre.childNodes.length > 1) {
    kept -= pre.firstChild.textContent.length;
    pre.firstChild.remove();
  }
}

// The line that is being written begins anew.
function restart() {
  for (let last = pre.lastChild; last && last.dataset.kind !== "gap"; last = pre.lastChild) {
    const text = last.textContent;
    const end = text.lastIndexOf("\n") + 1;
    kept -= text.length - end;
    if (end > 0) {
      last.firstChild.data = text.slice(0, end);
      return;
    }
    last.remove();
  }
}

function add(kind, text, style = "") {
  if (kind === "restart") {
    restart();
    return;
  }
  const last = pre.lastChild;
  if (last && last.dataset.kind === kind && last.dataset.look === style && kind !== "gap" && last.textContent.length < PIECE) {
    last.firstChild.appendData(text);
  } else {
    const span = document.createElement("span");
    span.dataset.kind = kind;
    span.dataset.look = style;
    span.className = style ? `${kind} ${style}` : kind;
    span.append(document.createTextNode(text));
    pre.append(span);
  }
  kept += text.length;
}

function clear() {
  pre.replaceChildren();
  kept = 0;
}

// The page tells more than the output: what it says of the task is of another time now. An answer is shared for a second.
function tell() {
  refresh();
  setTimeout(refresh, 1200);
}

function show(event) {
  if (event.begin) {
    isStale = true;
    if (event.is_cut) {
      clear();
      add("gap", "… only the end of the output is kept …");
      isStale = false;
    }
  }
  if (event.pieces) {
    if (isStale) clear();
    isStale = false;
    // Who reads further up is not moved.
    const isAtEnd = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 30;
    for (const [kind, text, style] of event.pieces) add(kind, text, style);
    trim();
    pre.hidden = false;
    if (isAtEnd) pre.scrollTop = pre.scrollHeight;
  }
  if (!event.phase) return;
  status.textContent = event.status;
  const was = section.dataset.phase;
  section.dataset.phase = event.phase;
  if (event.phase === "over") close();
  if (event.phase === "over" || (event.phase === "runs" && was === "waits")) tell();
}

// When it has ended, what was shown stays. If it is tried again, the stream of that attempt is opened.
document.addEventListener("refreshed", ({ detail: fresh }) => {
  const live = fresh.getElementById("live");
  if (!live && section.dataset.phase === "over") {
    if (status.querySelector("a")) return;
    status.textContent = "the task has ended; this is what was shown while it ran. ";
    const link = document.createElement("a");
    link.href = location.href;
    link.textContent = "Show what is stored";
    status.append(link);
  } else if (live && section.dataset.phase === "over" && !source && !document.hidden) {
    section.dataset.phase = live.dataset.phase;
    open();
  }
});

function open() {
  if (source || section.dataset.phase === "over") return;
  source = new EventSource(section.dataset.output);
  source.onmessage = (message) => show(JSON.parse(message.data));
  source.onerror = () => {
    if (source?.readyState !== EventSource.CLOSED) {
      status.textContent = "not live; retrying";
      return;
    }
    // Refused: too many are followed, or the session has ended, which the other stream finds out.
    close();
    status.textContent = "cannot be followed now; retrying later";
    setTimeout(() => { if (!document.hidden) open(); }, 15_000);
  };
}

function close() {
  source?.close();
  source = null;
}

// As with the figures: a hidden page costs nobody anything.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) close();
  else open();
});
addEventListener("pagehide", close);
addEventListener("pageshow", (event) => { if (event.persisted) open(); });
if (!document.hidden) open();
