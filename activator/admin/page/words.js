// How figures read, and elements made without markup: what comes from outside is only ever text.

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Keeps the nodes that are there, so that focus and selection stay where they are.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function span(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(Number(seconds))) return "";
  if (seconds < 9.95) return `${Number(seconds).toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} m`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

export function ago(unix) {
  if (unix === null) return "never";
  return `${span(Math.max(0, Date.now() / 1000 - unix))} ago`;
}

export function clock(unix) {
  return new Date(unix * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

export function moment(unix) {
  return new Date(unix * 1000).toLocaleString();
}

export function money(amount) {
  return amount.toFixed(amount < 100 ? 2 : 0);
}

export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) { count /= 1024; unit += 1; }
  return `${unit ? count.toFixed(1) : count} ${units[unit]}`;
}

export function readyReplicas(status) {
  return status.replicas.filter((one) => one.phase === "ready").length;
}

export function stateOf(status) {
  return status.paused ? `${status.state}, paused` : status.state;
}

// Why it is as it is, in one line: the failure's first line, or what its replicas say.
export function reasonOf(status) {
  if (status.failure) {
    const first = status.failure.split("\n")[0].replace(/; its last lines:$/, "");
    return status.retry_in ? `${first}; next start in ${span(status.retry_in)}` : first;
  }
  const told = status.replicas.filter((one) => one.phase !== "ready");
  const words = told.map((one) => [one.phase, one.detail].filter(Boolean).join(": "));
  return [...words, status.trouble].filter(Boolean).join("; ");
}

// In the list, where there is one line for it: why it is so, and who answers while it cannot.
export function noteOf(status) {
  return [reasonOf(status), status.fallback && `fallback ${status.fallback}`].filter(Boolean).join("; ");
}
