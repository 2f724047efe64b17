// What each API key has cost at an endpoint this month.

import { cells, fill } from "./rows.js";
import { element, money, setText, span } from "./words.js";

const EVERY = 60000;
const SHOWN = 50;
const NAMES = { "": "nobody", "*": "others" };
const $ = (id) => document.getElementById(id);
let known = { name: null, at: 0, keys: [] };

// By key, who costs most first; asked for once a minute.
export async function keyCosts(name, call) {
  if (known.name === name && Date.now() < known.at + EVERY) return known.keys;
  const told = await call(`/api/costs?by=key&endpoint=${encodeURIComponent(name)}`);
  const sums = new Map();
  for (const day of told.days) {
    const sum = sums.get(day.key) ?? { key: day.key, requests: 0, replica_seconds: 0, cost: 0 };
    for (const figure of ["requests", "replica_seconds", "cost"]) sum[figure] += day[figure];
    sums.set(day.key, sum);
  }
  const keys = [...sums.values()].sort((a, b) => b.cost - a.cost || b.replica_seconds - a.replica_seconds);
  known = { name, at: Date.now(), keys };
  return keys;
}

// Where no key has asked for anything there is nothing to divide.
export function showKeys(keys) {
  const rows = (keys ?? []).slice(0, SHOWN);
  $("keys-part").hidden = !rows.some((one) => one.key);
  fill($("keys").tBodies[0], rows, (one) => one.key, () => cells(element("tr", {}), "Key", "Requests", "Replica time", "Cost"), update);
}

function update(row, one) {
  const [key, requests, time, cost] = [...row.cells].map((cell) => cell.firstChild);
  setText(key, NAMES[one.key] ?? one.key);
  setText(requests, String(one.requests));
  setText(time, span(one.replica_seconds));
  setText(cost, money(one.cost));
}
