"use strict";
// Behaviour of the report page: figures of the sections, printing, the start.

const PRINT_WIDTH = 660; // pixels that fit on A4 and on letter paper

/** Draw a figure in its place, once. */
function drawFigure(place) {
  if (theme.plots.has(place) || place.classList.contains("failed")) return;
  theme.plots.add(place);
  return drawOrSay(place, async () => {
    const { data, layout } = content.figures[place.dataset.figure];
    const own = { ...layout, template: plotTemplate(), autosize: true };
    await Plotly.newPlot(place, data, own, CONFIG);
    if (explorer && layout.meta?.selects) await connect(place, data);
  });
}

/** Let a click on a point select its conformation; a ring marks the selected one. */
function connect(place, traces) {
  place.on("plotly_click", ({ points }) => {
    const number = points[0].customdata;
    if (!Number.isInteger(number)) return;
    explorer.show(number);
    byId("explorer").scrollIntoView({ block: "nearest" });
  });
  const last = traces.length; // of the ring, once it is added
  const mark = (number) => {
    const { x, y } = placeOf(traces, number);
    return Plotly.restyle(place, { x: [[x, x]], y: [[y, y]] }, [last]);
  };
  explorer.listeners.push((number) => drawOrSay(place, () => mark(number)));
  return Plotly.addTraces(place, ring()).then(() => mark(explorer.number));
}

/** Where the point with this number is drawn; nowhere if there is none. */
function placeOf(traces, number) {
  for (const { x, y, customdata } of traces) {
    const place = (customdata ?? []).indexOf(number);
    if (place >= 0) return { x: x[place], y: y[place] };
  }
  return { x: null, y: null };
}

/** Trace of a ring, black in white: two markers on one place. */
function ring() {
  return {
    ...{ type: "scatter", mode: "markers", showlegend: false, hoverinfo: "skip" },
    ...{ x: [null, null], y: [null, null] },
    marker: {
      ...{ symbol: "circle-open", size: 16, color: ["#ffffff", "#000000"] },
      line: { width: [5, 2] },
    },
  };
}

/** Draw figures as they come near the window; resolves when the first are drawn. */
function watchFigures(places) {
  if (!places.length || !("IntersectionObserver" in window)) {
    return Promise.all(places.map(drawFigure));
  }
  return new Promise((done) => {
    const draw = (entries) => {
      const near = entries.filter((entry) => entry.isIntersecting);
      done(Promise.all(near.map((entry) => drawFigure(entry.target))));
    };
    const observer = new IntersectionObserver(draw, { rootMargin: "300px" });
    places.forEach((place) => observer.observe(place));
  });
}

// ---- Start and printing ------------------------------------------------------------

const places = Array.from(document.querySelectorAll("[data-figure]"));
let explorer = null;
try {
  if (!hasWebGL()) throw new Error("this browser has no WebGL; all else is below");
  explorer = new Explorer(content.explorer);
} catch (error) {
  sayFailed(byId("surface"), error);
  document.querySelector(".controls").hidden = true;
}

/** Draw all figures, light and as wide as the paper, or as they were on the screen. */
function setPrinting(isPrinting) {
  theme.isPrinting = isPrinting;
  if (isPrinting) places.forEach(drawFigure);
  showTheme();
  const size = isPrinting ? { width: PRINT_WIDTH } : { width: null, autosize: true };
  for (const place of places.filter((place) => theme.plots.has(place))) {
    drawOrSay(place, () => Plotly.relayout(place, size));
  }
}

byId("theme").addEventListener("click", () => {
  theme.choice = { system: "light", light: "dark", dark: "system" }[theme.choice];
  showTheme();
});
systemIsDark.addEventListener("change", showTheme);
addEventListener("beforeprint", () => setPrinting(true));
addEventListener("afterprint", () => setPrinting(false));
window.report = {
  select: (number) => explorer?.show(number),
  selected: () => explorer?.number ?? null,
  level: () => explorer?.level ?? null,
};
Promise.allSettled([explorer?.refresh(), watchFigures(places)]).then(() => {
  document.body.dataset.ready = "1";
});
