// The tab "Replay" of locust's web page. Whatever is shown is set as text, never as markup.
(() => {
  "use strict";
  const TITLE = "Replay";
  const EVERY_MS = 1000;
  const MOST_ENDPOINTS = 300;
  const CONTROLS = ["Edit", "New", "Stop", "Reset", "Stop Test", "Reset Stats"];
  const root = document.getElementById("root");
  const panel = document.createElement("section");
  panel.id = "replay";
  let known = null; // the process that this page is of
  let last = null; // what it said last

  // The page is locust's, which draws it anew as it likes: the panel goes where its tabs are, as long as ours is chosen.
  function place() {
    const chosen = document.querySelector('[role="tab"][aria-selected="true"]');
    if (!chosen || chosen.textContent.trim() !== TITLE) {
      panel.remove();
      return;
    }
    const around = chosen.closest(".MuiContainer-root") || root;
    if (panel.parentNode !== around) around.append(panel);
  }

  function element(tag, kind, ...inside) {
    const made = document.createElement(tag);
    if (kind) made.className = kind;
    made.append(...inside.filter((one) => one !== null));
    return made;
  }

  const seconds = (value) => `${value.toFixed(1)} s`;
  const count = (value) => Math.round(value).toLocaleString("en");

  function span(value) {
    const whole = Math.round(value);
    if (whole < 60) return `${whole} s`;
    const rest = whole % 60 ? ` ${whole % 60} s` : "";
    return `${Math.floor(whole / 60)} min${rest}`;
  }

  function card(name, value, more, bad) {
    return element("div", bad ? "card bad" : "card", element("div", "name", name), element("div", "value", value),
      element("div", "more", more));
  }

  function head(told) {
    const place = told.arms ? `arm ${told.number} of ${told.arms}` : "";
    const what = told.role ? `${told.role}, ${told.steps ? "with the steps" : "control"}` : "";
    const line = element("h2", "", [place, told.arm].filter(Boolean).join("  ") || "The replay");
    if (what) line.append(element("span", "more", `  ${what}`));
    return line;
  }

  function progress(told) {
    if (typeof told.at_s !== "number") {
      return element("p", "doing", told.doing ? `${told.doing} ...` : "The replay has not begun.");
    }
    const bar = element("progress", "");
    bar.max = Math.max(told.duration_s, 0.001);
    bar.value = Math.min(Math.max(told.at_s, 0), bar.max);
    const over = ["stopping", "stopped"].includes(told.state);
    const waits = over ? "ended" : told.at_s > told.duration_s ? "waiting for the last answers" : "";
    const words = [
      `${count(Math.max(told.at_s, 0))} of ${count(told.duration_s)} s`,
      `${count(told.observed)} of ${count(told.planned)} requests`,
      typeof told.left_s === "number" ? `${span(told.left_s)} left in all` : "",
      told.doing || waits,
    ];
    return element("div", "progress", bar, element("p", "", words.filter(Boolean).join(" · ")));
  }

  function step(told) {
    if (!told.step || typeof told.at_s !== "number") return null;
    const running = (since) => seconds(Math.max(0, told.at_s - since));
    const made = element("div", "step", element("p", "", element("strong", "", `${told.step.kind} “${told.step.name}”`),
      ` for ${running(told.step.at_s)}`));
    if (told.statement) {
      made.append(element("p", "", `statement ${told.statement.index} for ${running(told.statement.at_s)}`),
        element("pre", "", told.statement.text));
    }
    return made;
  }

  function cards(told) {
    const all = told.endpoints || [];
    const red = all.filter(([, since]) => since !== null).length;
    const made = element("div", "cards",
      card("Asked for", `${count(told.asked_per_s || 0)} /s`, "requests that were due"),
      card("Answered", `${count(told.answered_per_s || 0)} /s`, "over the last 5 s"),
      card("Endpoints well", `${all.length - red} of ${all.length}`, red ? `${red} fail` : "none fails", red > 0));
    if (typeof told.open === "number") made.append(card("Open", count(told.open), "due, not yet accounted for"));
    if (told.probed) {
      const lock = told.lock;
      const behind = lock && lock.behind ? ` behind “${lock.behind}”` : "";
      made.append(
        card("Lock queue", lock ? count(lock.queued) : "0",
          lock ? `up to ${seconds(lock.waited_s)}${behind}` : "nobody waits", Boolean(lock)),
        card("Replica lag", typeof told.lag_s === "number" ? seconds(told.lag_s) : "–",
          typeof told.lag_s === "number" ? "the one furthest behind" : "not read", told.lag_s >= 0.5));
    }
    return made;
  }

  function state(told, [, since, back]) {
    if (since !== null) return `fails since ${seconds(since)}, for ${span(Math.max(0, told.at_s - since))}`;
    return typeof back === "number" ? `well again since ${seconds(back)}` : "well";
  }

  function endpoints(told) {
    const all = [...(told.endpoints || [])];
    if (!all.length) return null;
    const first = (row) => (row[1] === null ? Infinity : row[1]);
    all.sort((one, other) => (first(one) - first(other) || 0) || (one[0] < other[0] ? -1 : 1));
    const body = element("tbody", "");
    for (const row of all.slice(0, MOST_ENDPOINTS)) {
      const kind = row[1] === null ? "good" : "bad";
      body.append(element("tr", kind, element("td", "dot", kind === "bad" ? "✗" : "✓"), element("td", "", row[0]),
        element("td", "", state(told, row))));
    }
    const made = element("table", "", body);
    if (all.length <= MOST_ENDPOINTS) return made;
    return element("div", "", made, element("p", "more", `and ${all.length - MOST_ENDPOINTS} endpoints more`));
  }

  function show(told) {
    const parts = [head(told), progress(told), step(told)];
    if (typeof told.at_s === "number") parts.push(cards(told), endpoints(told));
    panel.replaceChildren(...parts.filter((one) => one !== null));
  }

  function wait() {
    const later = last && last.arms && last.number < last.arms;
    const words = later ? "Waiting for the next arm: this page goes on by itself."
      : last && last.arms ? "The last arm is over: the verdict is where the rehearsal was started."
      : "Locust does not answer: the replay is over, or has not begun.";
    panel.querySelector(".waiting")?.remove();
    panel.prepend(element("p", "waiting", words));
  }

  function dress() {
    const [red, green, blue] = (getComputedStyle(document.body).backgroundColor.match(/\d+/g) || [255, 255, 255]).map(Number);
    panel.classList.toggle("dark", 0.299 * red + 0.587 * green + 0.114 * blue < 128);
    if (!last || !last.conducted) return;
    // These would be refused; see tab.py.
    for (const button of document.querySelectorAll("header button")) {
      if (CONTROLS.includes(button.textContent.trim())) button.style.display = "none";
    }
  }

  // Loaded a moment too soon, the page asks how many users to start, and would go on asking.
  const asks = () => !document.querySelector('[role="tablist"]') && root.querySelector("form") !== null;

  async function look() {
    if (document.hidden || !(panel.isConnected || asks())) return;
    let told;
    try {
      const answer = await fetch("./replay/live", { cache: "no-store", signal: AbortSignal.timeout(5000) });
      if (!answer.ok) throw new Error(answer.statusText);
      told = await answer.json();
    } catch {
      wait();
      dress();
      return;
    }
    const another = known !== null && told.process !== known; // the next arm: locust's own tabs begin anew as well
    if ((another || (asks() && told.conducted)) && told.state !== "ready") {
      location.reload();
      return;
    }
    known = known ?? told.process;
    last = told;
    show(told);
    dress();
  }

  async function go() {
    await look();
    setTimeout(go, EVERY_MS);
  }

  new MutationObserver(place).observe(root, {
    childList: true, subtree: true, attributes: true, attributeFilter: ["aria-selected"],
  });
  place();
  go();
})();
