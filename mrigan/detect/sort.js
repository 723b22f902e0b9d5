"use strict";
// The table of files can be read without this; with it, each head of a column is a button that sorts.
(() => {
  const table = document.querySelector("table.index");
  const said = document.querySelector("#sorted");
  const body = table.tBodies[0];
  const heads = Array.from(table.tHead.rows[0].cells);
  const rows = Array.from(body.rows);
  const words = new Intl.Collator(undefined, { numeric: true });
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const first = head.dataset.first;
      const other = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const way = order === "ascending" ? 1 : -1;
      const key = (row) => row.cells[column].dataset.key;
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === ""); // nothing known: last, either way
        return way * (head.dataset.kind === "number" ? x - y : words.compare(x, y));
      };
      body.append(...rows.slice().sort(compare));
      said.textContent = `Sorted by ${button.textContent}, ${order}.`;
    });
  });
  table.classList.add("sortable");
})();
