// Strips of a day and bars of cold starts, as SVG. Each says in words what it shows.

import { clock, element, moment, span } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes, title) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (title) {
    const told = document.createElementNS(SVG, "title");
    told.textContent = title;
    made.append(told);
  }
  return made;
}

// Cells side by side, those that are alike as one; below them bars for requests.
export function strip(day) {
  const count = day.states.length;
  const drawn = shape("svg", { class: "strip", viewBox: `0 0 ${count} 26`, preserveAspectRatio: "none", role: "img" });
  drawn.setAttribute("aria-label", inWords(day));
  let from = 0;
  for (let cell = 1; cell <= count; cell += 1) {
    if (cell < count && day.states[cell] === day.states[from]) continue;
    const state = day.states[from] || "none";
    const start = day.until - (count - from) * day.span;
    drawn.append(shape("rect", { x: from, y: 0, width: cell - from, height: 12, class: `c-${state}` },
      `${state === "none" ? "not known" : state} from ${clock(start)}`));
    from = cell;
  }
  const most = Math.max(...day.requests, 1);
  day.requests.forEach((requests, cell) => {
    if (!requests) return;
    const height = Math.max(1, (12 * requests) / most);
    drawn.append(shape("rect", { x: cell + 0.1, y: 26 - height, width: 0.8, height, class: "bars" },
      `${requests} requests from ${clock(day.until - (count - cell) * day.span)}`));
  });
  return drawn;
}

function inWords(day) {
  const hours = {};
  for (const state of day.states) if (state) hours[state] = (hours[state] || 0) + day.span / 3600;
  const parts = Object.entries(hours).map(([state, long]) => `${state} in ${long.toFixed(2)} hours`);
  const requests = day.requests.reduce((sum, one) => sum + one, 0);
  return `Last 24 hours: ${parts.join(", ") || "nothing known"}; ${requests} requests`;
}

// One row a start, all to the same scale, with a legend of the phases.
export function starts(list) {
  if (!list.length) return [element("p", { class: "note" }, "None since this activator started.")];
  const phases = [...new Set(list.flatMap((one) => Object.keys(one.phases)))];
  const whole = (one) => Object.values(one.phases).reduce((sum, took) => sum + took, 0);
  const longest = Math.max(...list.map(whole), 0.001);
  const legend = element("ul", { class: "legend" }, ...phases.map((phase, index) => {
    const mark = shape("svg", { viewBox: "0 0 1 1", "aria-hidden": "true" });
    mark.append(shape("rect", { width: 1, height: 1, class: colour(index) }));
    return element("li", {}, mark, phase.replace("_", " "));
  }));
  const rows = list.map((one) => {
    const told = phases.filter((phase) => phase in one.phases)
      .map((phase) => `${phase.replace("_", " ")} ${span(one.phases[phase])}`).join(", ");
    const bar = shape("svg", { viewBox: "0 0 1000 16", preserveAspectRatio: "none", role: "img", "aria-label": told });
    let at = 0;
    phases.forEach((phase, index) => {
      const width = (1000 * (one.phases[phase] || 0)) / longest;
      if (width > 0) {
        bar.append(shape("rect", { x: at, y: 0, width, height: 16, class: colour(index) },
          `${phase.replace("_", " ")} ${span(one.phases[phase])}`));
      }
      at += width;
    });
    return element("div", { class: "start" }, element("span", {}, moment(one.at)), bar,
      element("span", {}, span(whole(one))));
  });
  return [legend, ...rows];
}

function colour(index) {
  return `p${(index % 6) + 1}`;
}
