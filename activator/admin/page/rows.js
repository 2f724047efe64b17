// Tables: rows that stay are updated in place, so that focus and selection stay where they are.

import { element } from "./words.js";

export function fill(body, items, keyOf, make, update) {
  const old = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  let place = body.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let row = old.get(key);
    if (row) old.delete(key);
    else { row = make(item); row.dataset.key = key; }
    update(row, item);
    if (row !== place) body.insertBefore(row, place);
    else place = place.nextElementSibling;
  }
  for (const gone of old.values()) gone.remove();
}

export function cells(row, ...labels) {
  for (const label of labels) row.append(element("td", { "data-label": label }, element("div", {})));
  return row;
}
