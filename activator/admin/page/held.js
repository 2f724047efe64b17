// The requests whose clients wait for an endpoint: one a row, some at a time.

import { cells, fill } from "./rows.js";
import { bytes, element, setText, span } from "./words.js";

const SHOWN = 25;
const $ = (id) => document.getElementById(id);
const seen = { name: null, first: 0, held: 0 };
let act = null;

// What to ask for, of this endpoint.
export function turnHeld(name) {
  if (seen.name !== name) Object.assign(seen, { name, first: 0 });
  return `first=${seen.first}&limit=${SHOWN}`;
}

// `told`: what was answered, null: nothing. `change` cancels one, `again` asks anew.
export function showHeld(told, { change, again }) {
  act = { change, again };
  const requests = told?.requests ?? [];
  seen.held = told?.held ?? 0;
  if (told && !requests.length && seen.first && seen.held) { turn(-1); return; }
  $("held").hidden = !requests.length;
  $("no-held").hidden = requests.length > 0;
  const elsewhere = told?.held_elsewhere ? `${told.held_elsewhere} wait at other activators, which list them.` : "";
  setText($("held-elsewhere"), elsewhere);
  const last = seen.first + requests.length;
  $("held-pages").hidden = seen.held <= SHOWN;
  setText($("held-page"), `${seen.first + 1} to ${last} of ${seen.held}`);
  $("held-previous").disabled = !seen.first;
  $("held-next").disabled = last >= seen.held;
  // ids are the clients', who may use one twice
  const times = new Map();
  const keyed = requests.map((one) => {
    times.set(one.id, (times.get(one.id) ?? 0) + 1);
    return { ...one, row: `${one.id} ${times.get(one.id)}` };
  });
  fill($("held").tBodies[0], keyed, (one) => one.row, heldRow, updateHeld);
}

function turn(pages) {
  seen.first = Math.max(0, seen.first + pages * SHOWN);
  act?.again();
}

function heldRow(one) {
  const row = cells(element("tr", {}), "Place", "For", "Request", "Id", "Key", "Urgency", "Body", "Change");
  const button = element("button", { type: "button", "aria-label": `Cancel ${one.id}` }, "Cancel");
  button.addEventListener("click", () => act.change(seen.name, one.id));
  row.lastChild.firstChild.append(button);
  return row;
}

function updateHeld(row, one) {
  const [place, since, request, id, key, urgency, body] = [...row.cells].map((cell) => cell.firstChild);
  setText(place, one.place === null ? "body arrives" : String(one.place));
  setText(since, span(one.seconds));
  setText(request, `${one.method} ${one.path}`);
  setText(id, one.id);
  setText(key, one.key);
  setText(urgency, String(one.urgency));
  setText(body, bytes(one.held_bytes));
}

$("held-previous").addEventListener("click", () => turn(-1));
$("held-next").addEventListener("click", () => turn(1));
