"""A table of many rows measured in a page: from click to drawn rows, scrolling.

Shared by the browser test and the benchmark. All is JavaScript over the root of a browser.
"""

from __future__ import annotations

# clicks on a header; the time until the rows of the other order are drawn and painted
SORT = """
async (root, column) => {
  const frame = () => new Promise(r => requestAnimationFrame(r));
  const grid = root.querySelector(".ng-table");
  const head = [...grid.querySelectorAll("[role=columnheader]")]
    .find(cell => cell.textContent.startsWith(column));
  const look = () => [...grid.querySelectorAll("[role=columnheader]")]
    .map(cell => cell.getAttribute("aria-sort")).join();
  const before = look();
  const began = performance.now();
  head.click();
  while (look() === before) {
    if (performance.now() - began > 20000) throw new Error("not sorted");
    await frame();
  }
  await frame();
  const first = grid.querySelector('.ng-row[data-row="0"]');
  if (first.matches(".ng-row-blank")) throw new Error("blank");
  return performance.now() - began;
}
"""
# types into a field; the time until the line above the table says another number
FILTER = """
async (root, [selector, text]) => {
  const frame = () => new Promise(r => requestAnimationFrame(r));
  const [field, found] = [root.querySelector(selector), root.querySelector(".ng-found")];
  const before = found.textContent;
  const began = performance.now();
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  while (found.textContent === before) {
    if (performance.now() - began > 20000) throw new Error(`not filtered: ${found.textContent}`);
    await frame();
  }
  await frame();
  return performance.now() - began;
}
"""
# scrolls by `step` px a frame from where it is; looks at all rows that can be seen in each frame
SCROLL = """
async (root, { step, n }) => {
  const frame = () => new Promise(r => requestAnimationFrame(r));
  const grid = root.querySelector(".ng-table");
  const top = grid.querySelector(".ng-row-top").offsetHeight;
  const taken = [];
  let [rows, blank, missing] = [0, 0, 0];
  await frame();
  for (let k = 0; k < n; k++) {
    grid.scrollTop += step;
    const began = performance.now();
    await frame();
    taken.push(performance.now() - began);
    const [from, to] = [grid.scrollTop, grid.scrollTop + grid.clientHeight - top];
    for (let i = Math.ceil(from / 26); (i + 1) * 26 <= to; i++) {
      const row = grid.querySelector(`.ng-row[data-row="${i}"]`);
      rows++;
      if (!row) missing++;
      else if (row.matches(".ng-row-blank")) blank++;
    }
  }
  return { taken: taken.sort((a, b) => a - b), rows, blank, missing };
}
"""
# goes to the last row; the time until it is no longer blank
TO_END = """
async (root) => {
  const frame = () => new Promise(r => requestAnimationFrame(r));
  const grid = root.querySelector(".ng-table");
  const last = Number(grid.getAttribute("aria-rowcount")) - 2;
  const began = performance.now();
  grid.scrollTop = grid.scrollHeight;
  while (grid.querySelector(`.ng-row[data-row="${last}"]:not(.ng-row-blank)`) === null) {
    if (performance.now() - began > 20000) throw new Error("the last row did not come");
    await frame();
  }
  return performance.now() - began;
}
"""
