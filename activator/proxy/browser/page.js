(() => {
  "use strict";
  const { stream, refresh } = document.currentScript.dataset;
  const opened = Date.now();
  const again = Number(refresh) * 1000;
  const tries = 3;
  let began = null, source = null, late = null, failures = 0, going = false;

  const parts = (name) => document.querySelectorAll(`[data-activator="${name}"]`);
  // only what has changed is touched: a screen reader reads what is written anew
  const write = (name, words) => parts(name).forEach((one) => {
    if (one.textContent !== words) one.textContent = words;
  });
  const span = (seconds) => seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} m ${seconds % 60} s`;

  // at most once a second, whatever it finds: another activator may know sooner than this one
  const reload = (after) => {
    if (going) return;
    going = true;
    source?.close();
    setTimeout(() => location.reload(), Math.max(after, opened + 1000 - Date.now()));
  };

  const tick = () => {
    if (began !== null) write("elapsed", span(Math.max(0, Math.round((Date.now() - began) / 1000))));
  };

  const show = (told) => {
    for (const name of ["headline", "detail", "problem", "usual", "left", "place"]) write(name, told[name]);
    began = told.elapsed === null ? null : Date.now() - told.elapsed * 1000;
    if (began === null) write("elapsed", "");
    tick();
    for (const bar of parts("progress")) {
      if (told.share === null) bar.removeAttribute("value"); else bar.value = told.share;
    }
    for (const list of parts("steps")) {
      [...list.children].forEach((item, number) => {
        item.className = number < told.step ? "done" : number === told.step ? "now" : "next";
        if (number === told.step) item.setAttribute("aria-current", "step"); else item.removeAttribute("aria-current");
      });
    }
  };

  const follow = () => {
    late = setTimeout(() => reload(0), 3 * again);
    source = new EventSource(stream);
    source.addEventListener("progress", (event) => {
      clearTimeout(late);
      late = setTimeout(() => reload(0), 6 * again);
      failures = 0;
      show(JSON.parse(event.data));
    });
    source.addEventListener("ready", () => { write("headline", "Ready"); reload(0); });
    source.addEventListener("over", (event) => {
      source.close();
      clearTimeout(late);
      write("headline", "It takes too long: load this page again to go on");
      write("problem", JSON.parse(event.data).problem);
      // somebody looks again; a tab that nobody looks at wakes nothing any more
      document.addEventListener("visibilitychange", () => { if (!document.hidden) reload(0); });
    });
    // while it is only lost the browser asks again by itself. Refused, it may be that an activator has just
    // gone: the page stays for a while, since what is in front of it has none to show
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) return;
      clearTimeout(late);
      failures += 1;
      if (failures < tries) setTimeout(follow, again); else reload(again);
    };
  };

  addEventListener("DOMContentLoaded", () => { follow(); setInterval(tick, 1000); });
  // shown again from the browser's memory: what it shows is old
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
})();
