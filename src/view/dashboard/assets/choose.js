// Chooses all tasks of a list at once, says how many are chosen, and keeps what is chosen while the list changes. Without this the boxes still work.

// As many as one order may name.
const MOST = 500;
const all = document.querySelector("[data-choose-all]");
const told = document.querySelector("[data-chosen-count]");
const body = all?.closest("table").tBodies[0];
const boxes = () => [...document.querySelectorAll("input[form=selection][name=id]")];
const chosen = new Set();

function show() {
  const [there, count] = [boxes().length, boxes().filter((box) => box.checked).length];
  const isMuch = count > MOST;
  told.textContent = count === 0 ? "none chosen" : `${count} chosen${isMuch ? `, and one action takes at most ${MOST}: choose fewer, or act on a failure group or a batch` : ""}`;
  for (const button of document.querySelectorAll("#selection button")) button.disabled = count === 0 || isMuch;
  all.checked = count > 0 && count === there;
  all.indeterminate = count > 0 && count < there;
}

function remember() {
  for (const box of boxes()) {
    if (box.checked) chosen.add(box.value);
    else chosen.delete(box.value);
  }
  show();
}

if (body) {
  document.addEventListener("change", (event) => {
    if (event.target === all) for (const box of boxes()) box.checked = all.checked;
    if (event.target.matches("[data-choose-all], [form=selection]")) remember();
  });
  // Rows that were put in place of others, or come to them.
  new MutationObserver(() => {
    for (const box of boxes()) box.checked = chosen.has(box.value);
    show();
  }).observe(body, { childList: true, subtree: true });
  // A browser may have kept what was chosen before it went back.
  addEventListener("pageshow", remember);
  remember();
}
