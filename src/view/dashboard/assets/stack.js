// On a phone each row of such a table is a card; its cells then need the names of their columns.

import { all } from "./dom.js";

export function stackTables() {
  for (const table of all("table.stack")) {
    const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
    const name = () => {
      for (const row of table.tBodies[0].rows) {
        if (row.lastElementChild?.dataset.label !== undefined) continue;
        [...row.cells].forEach((cell, index) => { cell.dataset.label = names[index] ?? ""; });
      }
    };
    name();
    new MutationObserver(name).observe(table.tBodies[0], { childList: true });
  }
}
