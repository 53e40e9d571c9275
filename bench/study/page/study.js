"use strict";
// Plays one person's plan of a study. It knows opaque names alone; what they are stands in a key that is not here.
// Images are shown together once all of them are decoded, so that loading says nothing of any.
(() => {
  const study = JSON.parse(document.getElementById("data").textContent);
  const main = document.getElementById("main");
  const place = "study-" + study.study;
  const LEAST = 250; // milliseconds after showing before an answer counts
  let state = restored();
  let server = null; // what `bench study serve` says of itself; null on a plain host or a disk
  let zoom = { scale: 1, x: 0, y: 0, most: 1 };
  let trial = null;
  let sending = false;

  // Small things

  function el(kind, fields, ...inside) {
    const made = document.createElement(kind);
    for (const [name, value] of Object.entries(fields || {})) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (name in made && name !== "role") made[name] = value;
      else made.setAttribute(name, value);
    }
    made.append(...inside.filter((one) => one !== null));
    return made;
  }
  function t(key, values) {
    const language = state && state.language in study.texts ? state.language : preferred();
    const text = study.texts[language][key] || study.texts.en[key] || key.replace(/^criterion\./, "");
    return text.replace(/\{(\w+)\}/g, (all, name) => (values && name in values ? values[name] : all));
  }
  function preferred() {
    const wanted = (navigator.languages || [navigator.language || "en"]).map((one) => one.slice(0, 2).toLowerCase());
    return wanted.find((one) => one in study.texts) || "en";
  }
  function token() {
    return Array.from(crypto.getRandomValues(new Uint8Array(12)), (one) => one.toString(16).padStart(2, "0")).join("");
  }
  function restored() {
    try {
      const found = JSON.parse(localStorage.getItem(place));
      return found && found.study === study.study ? found : null;
    } catch (error) {
      return null;
    }
  }
  function keep() {
    try {
      localStorage.setItem(place, JSON.stringify(state));
    } catch (error) {
      // Private windows may have no storage: the study goes on, and only a reload would begin anew.
    }
  }
  function forget() {
    try {
      localStorage.removeItem(place);
    } catch (error) {
      // As above: there was nothing to forget.
    }
  }
  function show(...parts) {
    main.className = trial ? "trial" : "";
    main.replaceChildren(...parts);
    scrollTo(0, 0);
  }

  // The way through: welcome, screen, questions, end

  function welcome() {
    const given = new URLSearchParams(location.search).get("p") || "";
    const number = el("input", { type: "number", min: 1, max: study.people, value: given, id: "person", inputMode: "numeric" });
    const wrong = el("p", { className: "wrong", role: "alert" });
    const languages = Object.keys(study.texts).map((code) =>
      el("button", {
        type: "button",
        lang: code,
        className: code === (state ? state.language : preferred()) ? "chosen" : "",
        onclick: () => {
          state = { language: code };
          document.documentElement.lang = code;
          welcome();
        },
      }, study.texts[code].language)
    );
    const begin = el("button", {
      type: "button",
      id: "begin",
      onclick: () => {
        const person = Number(number.value);
        if (!Number.isInteger(person) || person < 1 || person > study.people) {
          wrong.textContent = t("person_wrong", { people: study.people });
          return;
        }
        state = {
          study: study.study, session: token(), person, language: state ? state.language : preferred(), step: 0,
          events: [], sent: 0, current: null, screen: null, started: new Date().toISOString(),
        };
        screenCheck();
      },
    }, t("begin"));
    const sheet = el("div", { className: "sheet" },
      el("h1", {}, t("title")),
      el("div", { className: "row" }, ...languages),
      el("p", {}, t("welcome")),
      el("p", {}, t(study.design, { lowest: study.lowest, highest: study.highest })),
      el("p", {}, t("how")),
      el("p", { className: "note" }, t("keys_" + study.design)),
      el("div", { className: "row" }, el("label", { htmlFor: "person" }, t("person")), number, begin),
      wrong
    );
    show(sheet);
  }

  function screenCheck() {
    const choice = {};
    const levels = { dark: [0, 6, 0, 12, 0, 20, 0, 30, 0], bright: [255, 251, 255, 246, 255, 238, 255, 228, 255] };
    const strip = (name) => el("div", { className: "strip " + name }, ...levels[name].map((level) => {
      const square = el("div");
      square.style.background = `rgb(${level},${level},${level})`;
      return square;
    }));
    const answers = (name, values) => el("div", { className: "row", id: name }, ...values.map((value) => el("button", {
      type: "button",
      onclick: (event) => {
        choice[name] = value;
        for (const one of event.target.parentNode.children) one.classList.toggle("chosen", one === event.target);
        go.disabled = !["dark", "bright", "gamma"].every((one) => one in choice);
      },
    }, String(value))));
    // Of a surface of black and white lines half the light comes back: the gray that melts into it tells the gamma.
    const gammas = [1.4, 1.8, 2.2, 2.6];
    const lines = el("div", { className: "lines" }, ...gammas.map((gamma, index) => {
      const level = Math.round(255 * Math.pow(0.5, 1 / gamma));
      const square = el("div", {}, String(index + 1));
      square.style.background = `rgb(${level},${level},${level})`;
      return square;
    }));
    const zoomed = Math.abs((window.visualViewport ? visualViewport.scale : 1) - 1) > 0.01 ||
      (window.outerWidth > 0 && Math.abs(outerWidth / innerWidth - 1) > 0.25 && innerWidth > 700);
    const go = el("button", {
      type: "button",
      id: "go",
      disabled: true,
      onclick: () => {
        state.screen = {
          width: innerWidth, height: innerHeight, ratio: devicePixelRatio || 1, zoomed,
          dark: choice.dark, bright: choice.bright, gamma: gammas[choice.gamma - 1],
        };
        event("start", { person: state.person, language: state.language, started: state.started, screen: state.screen });
        next();
      },
    }, t("next"));
    show(el("div", { className: "sheet" },
      el("h1", {}, t("screen")),
      el("p", {}, t("screen_how")),
      innerWidth < 900 || innerHeight < 600 ? el("p", { className: "note" }, t("screen_small", { width: innerWidth, height: innerHeight })) : null,
      zoomed ? el("p", { className: "note" }, t("screen_zoom")) : null,
      el("p", {}, t("dark")), strip("dark"), answers("dark", [0, 1, 2, 3, 4]),
      el("p", {}, t("bright")), strip("bright"), answers("bright", [0, 1, 2, 3, 4]),
      el("p", {}, t("gamma")), lines, answers("gamma", [1, 2, 3, 4]),
      el("div", { className: "row" }, go)
    ));
  }

  async function next() {
    const plan = study.plans[state.person - 1];
    if (!state.current) {
      if (server && server.active) {
        try {
          state.current = await post("next", { session: state.session, person: state.person, step: state.step });
        } catch (error) {
          return trouble(next);
        }
      } else {
        state.current = state.step < plan.length ? { question: plan[state.step][0], turn: plan[state.step][1] } : { done: true };
      }
      keep();
    }
    if (state.current.done) return end();
    const length = (server && server.active && server.length) || plan.length;
    return ask(state.current, length);
  }

  function trouble(again) {
    show(el("div", { className: "sheet" }, el("p", { className: "wrong", role: "alert" }, t("failed")),
      el("button", { type: "button", onclick: again }, t("retry"))));
  }

  // One question

  function turned(images, turn) {
    return images.map((_, index) => images[(index + turn) % images.length]);
  }
  function source(name) {
    return "images/" + name + ".png";
  }
  async function loaded(name) {
    const image = new Image();
    image.src = source(name);
    image.alt = "";
    image.draggable = false;
    await image.decode();
    return image;
  }

  async function ask(step, length) {
    const [given, judged] = study.questions[step.question];
    const names = turned(judged, step.turn);
    trial = null;
    show(el("p", { className: "note" }, t("loading")));
    let pictures;
    try {
      pictures = await Promise.all([given, ...names].map(loaded));
    } catch (error) {
      return trouble(() => ask(step, length));
    }
    const [input, ...shown] = pictures;
    const panel = (image, caption, index) => {
      const frame = el("div", { className: "frame" }, image);
      if (index !== null) frame.dataset.index = index;
      return el("figure", { className: index !== null && study.design === "ranking" ? "choice" : "" },
        frame, el("figcaption", {}, caption));
    };
    const original = panel(input, t("original"), null);
    let panels;
    if (study.design === "rating") {
      const improved = panel(shown[0], t("improved"), 0);
      panels = step.turn % 2 ? [improved, original] : [original, improved];
    } else if (study.design === "pairs") {
      panels = [panel(shown[0], "A", 0), original, panel(shown[1], "B", 1)];
    } else {
      panels = [original, ...shown.map((image, index) => panel(image, String(index + 1), index))];
    }
    const images = el("div", { className: "images" + (panels.length > 3 ? " many" : "") }, ...panels);
    const across = innerWidth > 700 ? Math.ceil(panels.length / (panels.length > 4 ? 2 : 1)) : 2;
    images.style.gridTemplateColumns = `repeat(${across}, 1fr)`;
    zoom = { scale: 1, x: 0, y: 0, most: 1 };
    trial = {
      step, names, images, length, since: 0, now: 0, answers: study.criteria.map(() => null), ranks: study.criteria.map(() => []),
    };
    trial.rows = study.criteria.map(row);
    trial.next = el("button", { type: "button", id: "next", "data-step": String(state.step), disabled: true, onclick: answer }, t("next"));
    trial.percent = el("span", { className: "note" });
    const zoomer = (text, factor, label) => el("button", { type: "button", ariaLabel: label, onclick: () => zoomAt(0.5, 0.5, factor) }, text);
    const bar = el("div", {});
    bar.style.width = (100 * state.step) / length + "%";
    show(
      el("div", { className: "top" }, el("div", { className: "bar" }, bar), el("span", {}, t("progress", { done: state.step + 1, all: length }))),
      images,
      el("div", { id: "criteria" }, ...trial.rows),
      el("div", { className: "below" },
        el("div", { className: "row" }, zoomer("−", 1 / 1.5, t("zoom") + " −"), trial.percent, zoomer("+", 1.5, t("zoom") + " +")),
        state.note ? el("span", { className: "note" }, state.note) : null,
        trial.next)
    );
    state.note = "";
    listen(images);
    apply();
    mark();
    trial.since = performance.now();
    ahead();
  }

  function ahead() {
    const plan = study.plans[state.person - 1];
    const later = plan[state.step + 1];
    if (later) for (const name of [study.questions[later[0]][0], ...study.questions[later[0]][1]]) new Image().src = source(name);
  }

  function row(criterion, index) {
    const label = el("span", {}, t("criterion." + criterion));
    const button = (text, value) => el("button", {
      type: "button", ariaPressed: "false", onclick: () => choose(index, value), "data-value": String(value),
    }, ...[text].flat());
    let buttons;
    if (study.design === "rating") {
      buttons = [];
      for (let value = study.lowest; value <= study.highest; value += 1) buttons.push(button(String(value), value));
    } else if (study.design === "pairs") {
      const arrow = (sign) => el("span", { className: "arrow", ariaHidden: "true" }, sign);
      buttons = [
        button([arrow("← "), t("first_better")], 0), button([arrow("↓ "), t("no_difference")], 2), button([t("second_better"), arrow(" →")], 1),
      ];
    } else {
      buttons = [el("span", { className: "note" }, t("order")), el("button", { type: "button", onclick: () => { trial.ranks[index] = []; trial.answers[index] = null; trial.now = index; mark(); } }, t("again"))];
    }
    return el("div", { className: "criterion", role: "group", "data-criterion": criterion, onclick: () => { trial.now = index; mark(); } }, label, ...buttons);
  }

  function choose(index, value) {
    if (performance.now() - trial.since < LEAST || trial.since === 0) return;
    if (study.design === "rating") trial.answers[index] = [value];
    else trial.answers[index] = value === 2 ? [0.5, 0.5] : value === 0 ? [1, 0] : [0, 1];
    const open = trial.answers.findIndex((one) => one === null);
    trial.now = open < 0 ? index : open;
    mark();
  }

  function rank(place) {
    if (performance.now() - trial.since < LEAST || trial.since === 0) return;
    const index = trial.now;
    const ranks = trial.ranks[index];
    if (ranks.includes(place) || place >= trial.names.length) return;
    ranks.push(place);
    if (ranks.length === trial.names.length - 1) ranks.push(trial.names.findIndex((_, one) => !ranks.includes(one)));
    if (ranks.length === trial.names.length) {
      trial.answers[index] = trial.names.map((_, one) => ranks.indexOf(one) + 1);
      const open = trial.answers.findIndex((one) => one === null);
      if (open >= 0) trial.now = open;
    }
    mark();
  }

  function mark() {
    trial.rows.forEach((one, index) => {
      one.classList.toggle("now", index === trial.now && trial.rows.length > 1);
      const given = trial.answers[index];
      for (const button of one.querySelectorAll("button[data-value]")) {
        const value = Number(button.dataset.value);
        const chosen = given !== null && (study.design === "rating" ? given[0] === value : given[0] === [1, 0, 0.5][value]);
        button.classList.toggle("chosen", chosen);
        button.ariaPressed = String(chosen);
      }
    });
    if (study.design === "ranking") {
      for (const frame of trial.images.querySelectorAll("[data-index]")) {
        for (const old of frame.querySelectorAll(".badge")) old.remove();
        const at = trial.ranks[trial.now].indexOf(Number(frame.dataset.index));
        if (at >= 0) frame.append(el("div", { className: "badge" }, String(at + 1)));
      }
    }
    trial.next.disabled = trial.answers.some((one) => one === null);
  }

  function answer() {
    if (!trial || trial.next.disabled) return;
    const frame = trial.images.querySelector("[data-index]");
    const done = trial;
    trial = null;
    event("vote", {
      step: state.step,
      question: study.ids[done.step.question],
      images: done.names,
      turn: done.step.turn,
      answers: Object.fromEntries(study.criteria.map((one, index) => [one, done.answers[index]])),
      seconds: Math.round(performance.now() - done.since) / 1000,
      shown: [frame.clientWidth, frame.clientHeight],
      zoom: Math.round(zoom.most * 100) / 100,
    });
    state.step += 1;
    state.current = null;
    keep();
    next();
  }

  function end() {
    if (!state.finished) {
      state.finished = new Date().toISOString();
      event("end", { finished: state.finished, votes: state.step });
    }
    const file = {
      format: "bench-study-votes", version: 1, study: study.study, seal: study.seal, session: state.session,
      events: state.events,
    };
    const save = el("button", {
      type: "button",
      id: "download",
      onclick: () => {
        const link = el("a", {
          href: URL.createObjectURL(new Blob([JSON.stringify(file)], { type: "application/json" })),
          download: `votes-${study.study}-${state.person}-${state.session.slice(0, 8)}.json`,
        });
        document.body.append(link);
        link.click();
        link.remove();
        setTimeout(() => URL.revokeObjectURL(link.href), 10000);
        another.disabled = false;
      },
    }, t("download"));
    // The next person takes the place of this one's answers, so they have to be somewhere else by then.
    const another = el("button", {
      type: "button",
      id: "another",
      disabled: !(server && state.sent === state.events.length),
      onclick: () => { forget(); state = null; welcome(); },
    }, t("new_person"));
    show(el("div", { className: "sheet" },
      el("h1", {}, t("finished")),
      el("p", { id: "sent" }, server ? t("sending") : t("download_how")),
      el("div", { className: "row" }, save, another)
    ));
    flush();
  }

  // What is said goes to the server, where there is one, in order and until it says that it has it

  function event(kind, fields) {
    state.events.push({ kind, ...fields });
    keep();
    flush();
  }
  async function post(where, body) {
    const got = await fetch("api/" + where, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    if (!got.ok) throw new Error(String(got.status));
    return got.json();
  }
  async function flush() {
    if (!server || sending || !state || !state.events) return;
    sending = true;
    try {
      const owner = state; // somebody else may begin while an answer is under way
      while (owner.sent < owner.events.length) {
        await post("vote", { study: study.study, session: owner.session, number: owner.sent, event: owner.events[owner.sent] });
        owner.sent += 1;
        if (state === owner) keep();
      }
      const told = document.getElementById("sent");
      if (told && owner === state && owner.finished) {
        told.textContent = t("sent");
        document.getElementById("another").disabled = false;
      }
    } catch (error) {
      setTimeout(flush, 2000);
    }
    sending = false;
  }

  // Zoom: one for all images of a question, in parts of a frame so that frames may differ

  function apply() {
    const clamp = (value) => Math.min(0, Math.max(1 - zoom.scale, value));
    zoom.x = clamp(zoom.x);
    zoom.y = clamp(zoom.y);
    zoom.most = Math.max(zoom.most, zoom.scale);
    for (const frame of trial.images.querySelectorAll(".frame")) {
      const image = frame.querySelector("img");
      image.style.transform = `translate(${zoom.x * 100}%, ${zoom.y * 100}%) scale(${zoom.scale})`;
      image.style.imageRendering = zoom.scale > 3 ? "pixelated" : "auto";
      frame.style.touchAction = zoom.scale > 1 ? "none" : "pan-y";
    }
    trial.percent.textContent = t("zoom") + " " + Math.round(zoom.scale * 100) + " %";
  }
  function zoomAt(x, y, factor) {
    if (!trial) return;
    const scale = Math.min(8, Math.max(1, zoom.scale * factor));
    zoom.x = x - ((x - zoom.x) * scale) / zoom.scale;
    zoom.y = y - ((y - zoom.y) * scale) / zoom.scale;
    zoom.scale = scale;
    apply();
  }
  function listen(images) {
    const points = new Map();
    let moved = 0;
    let apart = 0;
    const at = (event) => {
      const box = event.currentTarget.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    };
    for (const frame of images.querySelectorAll(".frame")) {
      frame.addEventListener("wheel", (event) => {
        event.preventDefault();
        zoomAt(...at(event), Math.exp(-event.deltaY / 400));
      }, { passive: false });
      frame.addEventListener("dblclick", (event) => {
        if (study.design !== "ranking") zoomAt(...at(event), zoom.scale > 1 ? 1 / 8 : 3);
      });
      frame.addEventListener("pointerdown", (event) => {
        points.set(event.pointerId, at(event));
        if (points.size === 1) moved = 0;
        frame.setPointerCapture(event.pointerId);
        if (points.size === 2) apart = distance();
      });
      frame.addEventListener("pointermove", (event) => {
        if (!points.has(event.pointerId)) return;
        const [x, y] = at(event);
        const [oldX, oldY] = points.get(event.pointerId);
        moved += Math.hypot(x - oldX, y - oldY);
        points.set(event.pointerId, [x, y]);
        if (points.size === 2) {
          const [one, two] = [...points.values()];
          const now = distance();
          if (apart > 0) zoomAt((one[0] + two[0]) / 2, (one[1] + two[1]) / 2, now / apart);
          apart = now;
        } else if (zoom.scale > 1 && trial) {
          zoom.x += x - oldX;
          zoom.y += y - oldY;
          apply();
        }
      });
      const up = (event) => points.delete(event.pointerId);
      frame.addEventListener("pointerup", up);
      frame.addEventListener("pointercancel", up);
      frame.addEventListener("click", () => {
        if (study.design === "ranking" && "index" in frame.dataset && moved < 0.02 && trial) rank(Number(frame.dataset.index));
      });
    }
    function distance() {
      const [one, two] = [...points.values()];
      return Math.hypot(one[0] - two[0], one[1] - two[1]);
    }
  }

  addEventListener("keydown", (event) => {
    if (!trial || event.ctrlKey || event.metaKey || event.altKey) return;
    const digit = /^[0-9]$/.test(event.key) ? Number(event.key) : null;
    if (event.key === "+" || event.key === "=") zoomAt(0.5, 0.5, 1.5);
    else if (event.key === "-") zoomAt(0.5, 0.5, 1 / 1.5);
    else if (event.key === "Enter") answer();
    else if (study.design === "rating" && digit !== null && digit >= study.lowest && digit <= study.highest) choose(trial.now, digit);
    else if (study.design === "pairs" && event.key === "ArrowLeft") choose(trial.now, 0);
    else if (study.design === "pairs" && event.key === "ArrowRight") choose(trial.now, 1);
    else if (study.design === "pairs" && event.key === "ArrowDown") choose(trial.now, 2);
    else if (study.design === "ranking" && digit !== null && digit > 0) rank(digit - 1);
    else if (study.design === "ranking" && event.key === "Backspace") {
      trial.ranks[trial.now] = trial.ranks[trial.now].length === trial.names.length ? [] : trial.ranks[trial.now].slice(0, -1);
      trial.answers[trial.now] = null;
      mark();
    } else return;
    event.preventDefault();
  });

  async function begin() {
    if (location.protocol.startsWith("http")) {
      try {
        const got = await fetch("api/study", { cache: "no-store" });
        const told = got.ok ? await got.json() : null;
        if (told && told.study === study.study) server = told;
      } catch (error) {
        server = null;
      }
    }
    document.documentElement.lang = state ? state.language : preferred();
    document.title = t("title");
    if (!state || !state.session || !state.screen) return welcome();
    if (!state.finished) state.note = t("resumed");
    return next();
  }
  begin();
})();
