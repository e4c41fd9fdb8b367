"use strict";
// The explorer: one conformation at a time, as a surface.

const FRAME_MS = 125; // of Play
const PLAIN = [0, 1].map((end) => [end, "#7fb0d3"]);
// Blue-white-orange, told apart by the colour-blind.
const DIVERGING = ["#08519c", "#6baed6", "#f7f7f7", "#fdae61", "#c05a00"].map(
  (colour, n) => [n / 4, colour],
);
const LIGHT = { x: -2, y: 2, z: 0 }; // as seen from the camera, which it follows

/** One conformation at a time as a surface; sliders choose which, and its level. */
class Explorer {
  constructor(data) {
    this.data = data;
    this.conformations = new Conformations(data);
    this.place = byId("surface");
    this.count = data.names.length;
    this.number = Math.floor(this.count / 2);
    this.level = data.threshold;
    this.radius = this.conformations.radius(this.level);
    this.listeners = []; // called with the number of each conformation that is drawn
    this.playing = null; // {axis} while one plays
    this.axes = [0, 1].map((number) => this.makeAxis(number));
    this.listen();
    this.guardWheel();
  }

  /** Set up slider and button along one axis of the grid of conformations. */
  makeAxis(number) {
    const { steps } = this.data;
    const place = document.querySelector(`[data-axis="${number}"]`);
    const [button, input] = place.querySelectorAll("button, input");
    const count = steps[number] ?? 1;
    const axis = { input, button, count, direction: 1, stride: steps[number + 1] ?? 1 };
    place.hidden = count < 2;
    input.max = count - 1;
    if (steps.length > 1) {
      place.querySelector("label").textContent = `Conformation, latent ${number + 1}`;
    }
    input.addEventListener("input", () => {
      this.pause();
      this.move(axis, Number(input.value));
    });
    button.addEventListener("click", () => this.toggle(axis));
    return axis;
  }

  /** Connect level, colours, views and keys. */
  listen() {
    const { lowest, highest } = this.data;
    const level = byId("level");
    Object.assign(level, { min: lowest, max: highest, step: (highest - lowest) / 200 });
    level.value = this.level;
    level.addEventListener("input", () => {
      this.level = Number(level.value);
      this.refresh();
    });
    byId("coloured").addEventListener("change", () => this.refresh());
    for (const button of document.querySelectorAll("[data-view]")) {
      const camera = this.camera(button.dataset.view);
      button.addEventListener("click", () =>
        Plotly.relayout(this.place, { "scene.camera": camera }),
      );
    }
    byId("explorer").addEventListener("keydown", (event) => this.press(event));
    // A new surface would undo a turn under way: frames wait for its end.
    const hold = () => {
      this.isHeld = true;
      this.place.focus({ preventScroll: true });
    };
    this.place.addEventListener("pointerdown", hold, true);
    for (const end of ["pointerup", "pointercancel"]) {
      addEventListener(end, () => (this.isHeld = false), true);
    }
  }

  /** Space plays, on the surface or a slider; other keys turn the surface. */
  press(event) {
    const { key, target, ctrlKey, metaKey, altKey } = event;
    if (ctrlKey || metaKey || altKey) return; // the browser's own
    const own = this.axes.find(({ input }) => input === target);
    const isSurface = target === this.place;
    if (key === " " && (isSurface || own)) this.toggle(own ?? this.axes[0]);
    else if (!isSurface || !this.turn(key)) return;
    event.preventDefault(); // of scrolling the page
  }

  /** Turn or zoom by a key; false of keys that do neither. */
  turn(key) {
    const camera = cameraAfter(key, this.place.layout.scene.camera);
    if (camera) Plotly.relayout(this.place, { "scene.camera": camera });
    return camera !== null;
  }

  /** Leave the wheel to the page until the surface has been clicked. */
  guardWheel() {
    const guard = (event) => {
      if (document.activeElement !== this.place) event.stopPropagation();
    };
    this.place.addEventListener("wheel", guard, true);
  }

  /** Place of the selected conformation along an axis. */
  at({ stride, count }) {
    return Math.floor(this.number / stride) % count;
  }

  /** Go to a place along an axis. */
  move(axis, place) {
    return this.select(this.number + (place - this.at(axis)) * axis.stride);
  }

  /** Select a conformation; resolves when it is drawn. */
  select(number) {
    this.number = Math.min(Math.max(Math.round(number), 0), this.count - 1);
    return this.refresh();
  }

  /** Stop at a conformation; resolves when it is drawn. */
  show(number) {
    this.pause();
    return this.select(number);
  }

  /** Draw the present state; calls that come meanwhile are drawn as one, after it. */
  refresh() {
    this.isStale = true;
    this.drawing ??= this.drawAll().finally(() => (this.drawing = null));
    return this.drawing;
  }

  /** Draw until nothing has changed meanwhile. */
  async drawAll() {
    while (this.isStale) {
      this.isStale = false;
      this.describe();
      await drawOrSay(this.place, () => this.draw());
      for (const listener of this.listeners) await listener(this.number);
    }
  }

  /** Say in words what is shown. */
  describe() {
    const name = this.data.names[this.number];
    const percent = (100 * this.data.shares[this.number]).toFixed(1);
    byId("shown-name").textContent = name;
    byId("shown-share").textContent = `${percent} % of the particles`;
    const place = `${this.number + 1} of ${this.count}`;
    byId("shown-number").textContent = `conformation ${place}`;
    byId("level-value").textContent = String(Number(this.level.toPrecision(3)));
    for (const axis of this.axes) {
      axis.input.value = this.at(axis);
      axis.input.setAttribute("aria-valuetext", name);
    }
  }

  /** Draw the surface; the first time with all that is around it. */
  async draw() {
    const isColoured = byId("coloured").checked;
    const mesh = this.conformations.surface(this.number, this.level, isColoured);
    byId("empty").hidden = mesh.x.length > 0;
    mesh.showscale = isColoured;
    mesh.colorscale = isColoured ? DIVERGING : PLAIN;
    if (this.place.data) {
      const changes = Object.entries(mesh).map(([key, value]) => [key, [value]]);
      await Plotly.restyle(this.place, Object.fromEntries(changes), [0]);
    } else {
      const traces = [{ ...this.look(), ...mesh }, this.scaleBar()];
      await Plotly.newPlot(this.place, traces, this.layout(), CONFIG);
      theme.plots.add(this.place);
    }
  }

  /** Trace of the surface without its vertices. */
  look() {
    const most = this.data.largest_difference;
    return {
      ...{ type: "mesh3d", hoverinfo: "skip", cmin: -most, cmax: most },
      lighting: { ambient: 0.35, diffuse: 0.8, specular: 0.15, roughness: 0.6 },
      lightposition: LIGHT,
      colorbar: {
        title: { text: "density minus<br>that of the mean", font: { size: 12 } },
        ...{ len: 0.8, thickness: 12, outlinewidth: 0 },
        ...(this.place.clientWidth < 560
          ? { orientation: "h", x: 0.5, xanchor: "center", y: 1, yanchor: "top" }
          : { x: 0.99, xanchor: "right" }),
      },
    };
  }

  /** Trace of an angle with sides of a round number of Å, below and before the molecule. */
  scaleBar() {
    const power = 10 ** Math.floor(Math.log10(this.radius));
    const length = [5, 2, 1].map((n) => n * power).find((n) => n <= this.radius);
    const near = EYES.start.map((part) => 0.3 * this.radius * part);
    return {
      ...{ type: "scatter3d", mode: "lines+text", hoverinfo: "skip" },
      ...{ x: [near[0] + length, near[0], near[0]], y: [near[1], near[1], near[1] + length] },
      z: Array(3).fill(-this.radius),
      showlegend: false,
      ...{ text: ["", `${length} Å`, ""], textposition: "bottom center" },
      ...{ textfont: { color: "#767676" }, line: { color: "#808080", width: 5 } },
    };
  }

  /** Camera that sees the molecule whole. */
  camera(view) {
    return cameraAt(view, (3 * this.radius) / (this.data.box * this.data.voxel_size));
  }

  /** Layout of the scene: the box to scale, its axes hidden. */
  layout() {
    const { box, voxel_size } = this.data;
    const first = -1 - Math.floor(box / 2); // with the padding
    const range = [first * voxel_size, (first + box + 1) * voxel_size];
    const axis = { visible: false, range };
    return {
      template: plotTemplate(),
      margin: { l: 0, r: 0, t: 0, b: 0 },
      scene: {
        ...{ xaxis: axis, yaxis: { ...axis }, zaxis: { ...axis }, aspectmode: "cube" },
        camera: this.camera("start"),
        dragmode: "orbit",
        uirevision: "kept", // the camera stays as it was turned
      },
    };
  }

  /** Play along an axis, there and back, or pause. */
  toggle(axis) {
    const isPlaying = this.playing?.axis === axis;
    this.pause();
    if (!isPlaying && axis.count > 1) this.play({ axis });
  }

  /** Play until paused: a frame when the last one is drawn and its time has come. */
  async play(run) {
    const { axis } = run;
    this.playing = run;
    axis.button.textContent = "Pause";
    byId("shown").setAttribute("aria-live", "off"); // not eight times a second
    while (this.playing === run) {
      const next = this.at(axis) + axis.direction;
      if (next < 0 || next >= axis.count) axis.direction *= -1;
      const pause = new Promise((done) => setTimeout(done, FRAME_MS));
      if (!this.isHeld) await this.move(axis, this.at(axis) + axis.direction);
      await pause;
      await new Promise(requestAnimationFrame);
    }
  }

  /** Stop playing. */
  pause() {
    if (this.playing) this.playing.axis.button.textContent = "Play";
    this.playing = null;
    byId("shown").setAttribute("aria-live", "polite");
  }
}
