"use strict";
// What all parts of the report page share: its data, and the light and dark theme.

const content = JSON.parse(document.getElementById("data").textContent);

// Okabe and Ito's colours; those that stand out from the page come first.
const COLOURWAY = {
  light: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999"],
  dark: ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#999999"],
};
const IS_TOUCH = matchMedia("(pointer: coarse)").matches;
const CONFIG = { responsive: true, displaylogo: false, modeBarButtons: [["toImage"]] };
if (IS_TOUCH) CONFIG.displayModeBar = false;

/** The element with this id. */
function byId(id) {
  return document.getElementById(id);
}

/** Whether this browser draws in three dimensions. */
function hasWebGL() {
  const canvas = document.createElement("canvas");
  return Boolean(canvas.getContext("webgl2") ?? canvas.getContext("webgl"));
}

/** Run a step of drawing; if it fails, a line of text stands in its place. */
async function drawOrSay(place, draw) {
  try {
    await draw();
  } catch (error) {
    sayFailed(place, error);
  }
}

/** Put a line of text in the place of a figure. */
function sayFailed(place, error) {
  theme.plots.delete(place);
  place.classList.add("failed");
  place.textContent = `This figure could not be drawn: ${error.message}`;
}

const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
const theme = { choice: "system", isPrinting: false, plots: new Set() };

/** The theme to show now: "light" or "dark". */
function themeName() {
  if (theme.isPrinting) return "light";
  if (theme.choice !== "system") return theme.choice;
  return systemIsDark.matches ? "dark" : "light";
}

/** Plotly template of the theme: what a figure states itself wins. */
function plotTemplate() {
  const style = getComputedStyle(document.documentElement);
  const [page, line, ink, soft] = ["page", "line", "ink", "soft"].map((name) =>
    style.getPropertyValue(`--${name}`).trim(),
  );
  const axis = { gridcolor: line, zerolinecolor: line, automargin: true };
  return {
    layout: {
      ...{ paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)" },
      font: { color: ink, size: 13, family: "system-ui, sans-serif" },
      colorway: COLOURWAY[themeName()],
      margin: { l: 56, r: 16, t: 24, b: 48 },
      title: { automargin: true, font: { size: 15 } },
      ...{ xaxis: axis, yaxis: axis },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      hoverlabel: { namelength: -1, bgcolor: page, bordercolor: soft, font: { color: ink } },
      // A finger that scrolls the page must not zoom the figures it meets.
      dragmode: IS_TOUCH ? false : "zoom",
    },
    data: {
      bar: [{ error_y: { color: ink } }],
      heatmap: [{ colorscale: "Viridis", colorbar: { outlinewidth: 0 } }],
    },
  };
}

/** Give page and figures the colours of the theme. */
function showTheme() {
  document.documentElement.dataset.theme = themeName();
  const choice = theme.choice === "system" ? "as the system" : theme.choice;
  byId("theme").textContent = `Theme: ${choice}`;
  for (const plot of theme.plots) {
    drawOrSay(plot, () => Plotly.relayout(plot, { template: plotTemplate() }));
  }
}
