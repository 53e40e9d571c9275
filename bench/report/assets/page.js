"use strict";
document.documentElement.classList.add("scripted");

// Tables: a click on a heading sorts by it, a second one the other way; gaps stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const lower = button.textContent.includes("↓");
      const first = head.classList.contains("text") || lower ? "ascending" : "descending";
      const now = head.getAttribute("aria-sort");
      const next = now === null ? first : now === "ascending" ? "descending" : "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      const key = (row) => {
        const cell = row.cells[column];
        if (head.classList.contains("text")) return cell.textContent.trim().toLowerCase();
        return cell.dataset.sort === undefined ? null : Number(cell.dataset.sort);
      };
      const rows = [...body.rows].map((row) => [key(row), row]);
      rows.sort(([a], [b]) => (a === null) - (b === null) || (a < b ? -sign : a > b ? sign : 0));
      body.append(...rows.map(([, row]) => row));
    });
  });
}

// Copy: what a table shows now, as CSV or as LaTeX of booktabs.
const clean = (cell) => {
  const copy = cell.cloneNode(true);
  copy.querySelectorAll("sup").forEach((mark) => mark.remove());
  return copy.textContent.trim().replace(/\s+/g, " ");
};
const quoted = (text) => {
  const safe = /^[=+@\t]|^-(?![0-9.])/.test(text) ? `'${text}` : text; // a spreadsheet runs what begins so
  return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};
const tex = (text) => text.replace(/[\\&%$#_{}~^]/g, (sign) => ({ "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}" }[sign] || `\\${sign}`))
  .replaceAll("↑", "$\\uparrow$").replaceAll("↓", "$\\downarrow$").replaceAll("−", "$-$");
const forms = {
  CSV: (table) => [...table.rows].map((row) => [...row.cells].map((cell) => quoted(clean(cell))).join(",")).join("\n") + "\n",
  LaTeX: (table) => {
    const line = (row) => [...row.cells].map((cell) => {
      const text = tex(clean(cell));
      return cell.querySelector("b") ? `\\textbf{${text}}` : cell.querySelector("u") ? `\\underline{${text}}` : text;
    }).join(" & ") + " \\\\";
    const columns = [...table.tHead.rows[0].cells].map((cell) => (cell.classList.contains("text") ? "l" : "r")).join("");
    return [`\\begin{tabular}{${columns}}`, "\\toprule", line(table.tHead.rows[0]), "\\midrule",
      ...[...table.tBodies[0].rows].map(line), "\\bottomrule", "\\end{tabular}", ""].join("\n");
  },
};
const copied = async (text) => {
  try { await navigator.clipboard.writeText(text); } catch {
    const area = document.createElement("textarea"); // a page from a file may have no clipboard of its own
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
};
for (const table of document.querySelectorAll("table.sortable")) {
  const tools = document.createElement("div");
  tools.className = "copy";
  for (const [name, form] of Object.entries(forms)) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `Copy ${name}`;
    button.addEventListener("click", async () => {
      await copied(form(table));
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = `Copy ${name}`; }, 1500);
    });
    tools.append(button);
  }
  table.parentElement.before(tools);
}

// Folding: a narrow window begins with one item open; what is linked to opens.
if (matchMedia("(max-width:560px)").matches) {
  [...document.querySelectorAll("details.item, details.fold, #extremes details, #distributions details")].forEach((fold, place) => { fold.open = place === 0; });
}
const unfold = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.tagName === "DETAILS") {
    for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
    target.scrollIntoView();
  }
};
addEventListener("hashchange", unfold);
unfold();

// Pictures: one zoom for all pictures of an item, and a slider between any two of them.
const limit = (value, low, high) => Math.min(high, Math.max(low, value));

for (const item of document.querySelectorAll(".item")) {
  const frames = [...item.querySelectorAll(".frame")];
  if (!frames.length) continue;
  const view = { on: false, x: Number(item.dataset.x), y: Number(item.dataset.y), scale: 4 };
  const tools = document.createElement("div");
  tools.className = "tools";
  const tool = (text, attribute) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.setAttribute(attribute, "false");
    tools.append(button);
    return button;
  };
  const zoom = tool("Zoom", "aria-pressed");
  const place = () => {
    item.classList.toggle("zoomed", view.on);
    zoom.setAttribute("aria-pressed", String(view.on));
    for (const frame of frames) {
      frame.setAttribute("aria-pressed", String(view.on));
      frame.firstElementChild.style.transformOrigin = `${view.x}% ${view.y}%`;
      frame.firstElementChild.style.transform = view.on ? `scale(${view.scale})` : "";
    }
  };
  zoom.addEventListener("click", () => { view.on = !view.on; place(); });
  const look = (frame, event) => {
    const box = frame.getBoundingClientRect();
    view.x = limit(((event.clientX - box.left) / box.width) * 100, 0, 100);
    view.y = limit(((event.clientY - box.top) / box.height) * 100, 0, 100);
  };
  for (const frame of frames) {
    frame.tabIndex = 0;
    frame.setAttribute("role", "button");
    frame.setAttribute("aria-label", `Zoom into ${frame.dataset.label}`);
    frame.addEventListener("click", (event) => { view.on = !view.on; look(frame, event); place(); });
    frame.addEventListener("pointermove", (event) => { if (view.on) { look(frame, event); place(); } });
    frame.addEventListener("keydown", (event) => {
      const step = 20 / view.scale;
      const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
      if (event.key === "Enter" || event.key === " ") view.on = !view.on;
      else if (event.key === "Escape") view.on = false;
      else if (event.key === "+" || event.key === "=") { view.on = true; view.scale = limit(view.scale * 1.25, 1.5, 16); }
      else if (event.key === "-") view.scale = limit(view.scale / 1.25, 1.5, 16);
      else if (view.on && moves[event.key]) {
        view.x = limit(view.x + moves[event.key][0], 0, 100);
        view.y = limit(view.y + moves[event.key][1], 0, 100);
      } else return;
      event.preventDefault();
      place();
    });
  }
  if (frames.length > 1) {
    const open = tool("Before / after", "aria-expanded");
    let panel = null;
    open.addEventListener("click", () => {
      panel = panel || slider(item, frames);
      const hide = open.getAttribute("aria-expanded") === "true";
      open.setAttribute("aria-expanded", String(!hide));
      panel.hidden = hide;
      if (!hide && !panel.isConnected) tools.after(panel);
    });
  }
  (item.querySelector("summary") || item.querySelector("h4")).after(tools);
}

function slider(item, frames) {
  const panel = document.getElementById("compare").content.firstElementChild.cloneNode(true);
  const [left, right] = panel.querySelectorAll("select");
  const stage = panel.querySelector(".stage");
  const [below, above] = stage.querySelectorAll("img");
  const divider = panel.querySelector(".divider");
  const range = panel.querySelector("input");
  frames.forEach((frame, index) => {
    for (const choice of [left, right]) choice.add(new Option(frame.dataset.label, String(index)));
  });
  left.value = "0";
  const best = frames.findIndex((frame) => "best" in frame.dataset);
  right.value = String(best > 0 ? best : frames.length - 1);
  const show = () => {
    // The picture on the left lies on top and is cut off at the divider.
    [[below, right], [above, left]].forEach(([image, choice]) => {
      image.src = frames[Number(choice.value)].querySelector("img").src;
      image.alt = frames[Number(choice.value)].dataset.label;
    });
    // One pixel of the picture is one of the screen; what is larger than the window is scrolled.
    const full = Math.max(...[left, right].map((choice) => frames[Number(choice.value)].querySelector("img").naturalWidth || Number(frames[Number(choice.value)].querySelector("img").getAttribute("width"))));
    stage.style.width = `${full / (devicePixelRatio || 1)}px`;
    above.style.clipPath = `inset(0 ${100 - range.value}% 0 0)`;
    divider.style.left = `${range.value}%`;
    range.setAttribute("aria-valuetext", `${Math.round(range.value)} % ${above.alt}`);
  };
  const drag = (event) => {
    const box = stage.getBoundingClientRect();
    range.value = String(((event.clientX - box.left) / box.width) * 100);
    show();
  };
  stage.addEventListener("pointerdown", (event) => { stage.setPointerCapture(event.pointerId); drag(event); });
  stage.addEventListener("pointermove", (event) => { if (event.buttons || event.pointerType === "mouse") drag(event); });
  for (const control of [left, right, range]) control.addEventListener("input", show);
  show();
  return panel;
}
