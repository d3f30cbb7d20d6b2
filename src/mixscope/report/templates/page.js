(() => {
  "use strict";
  const root = document.documentElement;
  const { figures, dark } = JSON.parse(document.getElementById("figures").textContent);
  const isPointed = matchMedia("(pointer: fine)").matches;
  const config = { displaylogo: false, displayModeBar: isPointed ? "hover" : false, modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]], typesetMath: false };
  const state = { log: false, whole: false, hidden: new Set(), print: false };
  const drawn = new Set();

  // A choice of theme is kept where the browser allows it; otherwise the page follows the system.
  const systemDark = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try { chosen = localStorage.getItem("mixscope-theme"); } catch { /* no storage for local files in some browsers */ }
  const setTheme = () => { root.dataset.theme = chosen ?? (systemDark.matches ? "dark" : "light"); };
  setTheme();

  // Figures arrive in light colours; in the dark every colour is exchanged for its twin.
  const repaint = (value, isDark) => {
    if (typeof value === "string") return (isDark && dark[value]) || value;
    if (Array.isArray(value)) return value.map((item) => repaint(item, isDark));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, repaint(item, isDark)]));
    }
    return value;
  };

  const draw = (name) => {
    const element = document.getElementById(name);
    const { data, layout } = repaint(figures[name], root.dataset.theme === "dark" && !state.print);
    for (const trace of data) if (trace.legendgroup && state.hidden.has(trace.legendgroup)) trace.visible = false;
    if (layout.meta?.epochs && state.log) layout.xaxis = { ...layout.xaxis, type: "log", dtick: "D2", tickformat: "d" };
    if (layout.meta?.settled && state.whole) delete layout.yaxis.range;
    if (layout.xaxis.visible !== false && isPointed) layout.dragmode = "zoom";
    const width = state.print ? (element.parentElement.classList.contains("wide") ? 680 : 330) : element.clientWidth;
    layout.width = width;
    // Labels beside the curves would lie on one another on a phone; the notes below the figures say the same.
    if (width < 560) for (const trace of data) if (trace.mode === "markers+text") trace.mode = "markers";
    drawn.add(name);
    return Plotly.react(element, data, layout, config);
  };
  const redraw = () => drawn.forEach(draw);

  // Figures near the view are drawn first, the others one by one while nothing else happens.
  const names = Object.keys(figures);
  const drawOnce = (name) => { if (!drawn.has(name)) draw(name); };
  if (names.length) {
    const observer = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting) { observer.unobserve(entry.target); drawOnce(entry.target.id); }
    }, { rootMargin: "400px" });
    names.forEach((name) => observer.observe(document.getElementById(name)));
    const next = (place) => { if (place < names.length) { drawOnce(names[place]); setTimeout(next, 40, place + 1); } };
    setTimeout(next, 600, 0);
  }

  let width = innerWidth, pending = 0;
  addEventListener("resize", () => {
    if (innerWidth === width || state.print) return;
    width = innerWidth;
    clearTimeout(pending);
    pending = setTimeout(redraw, 120);
  });

  const setPrint = (isPrint) => {
    state.print = isPrint;
    if (isPrint) {
      document.querySelectorAll("details:not(.meanings):not([open])").forEach((item) => { item.open = true; item.dataset.closed = ""; });
    } else {
      document.querySelectorAll("details[data-closed]").forEach((item) => { item.open = false; delete item.dataset.closed; });
    }
    names.forEach(draw);
  };
  addEventListener("beforeprint", () => setPrint(true));
  addEventListener("afterprint", () => setPrint(false));

  document.getElementById("theme").addEventListener("click", () => {
    chosen = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("mixscope-theme", chosen); } catch { /* as above */ }
    setTheme();
    redraw();
  });
  systemDark.addEventListener("change", () => { setTheme(); redraw(); });

  const press = (selector, isPressed) => document.querySelectorAll(selector).forEach((button) => button.setAttribute("aria-pressed", isPressed));
  document.querySelectorAll("[data-method]").forEach((button) => button.addEventListener("click", () => {
    const method = button.dataset.method;
    if (!state.hidden.delete(method)) state.hidden.add(method);
    press(`[data-method="${method}"]`, !state.hidden.has(method));
    redraw();
  }));
  document.querySelectorAll("[data-toggle]").forEach((button) => button.addEventListener("click", () => {
    const name = button.dataset.toggle;
    state[name] = !state[name];
    press(`[data-toggle="${name}"]`, state[name]);
    redraw();
  }));

  document.querySelectorAll("[data-figure]").forEach((button) => button.addEventListener("click", () => {
    const quote = (value) => `"${String(value ?? "").replaceAll('"', '""')}"`;
    const lines = ["series,x,y"];
    for (const trace of figures[button.dataset.figure].data) {
      (trace.x ?? []).forEach((x, place) => { if (trace.y[place] != null) lines.push([quote(trace.name), quote(x), trace.y[place]].join(",")); });
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
    link.download = `${button.dataset.figure}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }));
})();
