"use strict";
// Where the molecule is seen from, and how keys turn it.

const EYES = { start: [0.48, -0.79, 0.38], x: [1, 0, 0], y: [0, -1, 0], z: [0, 0, 1] };
const TURN = Math.PI / 18; // by an arrow key
const ARROWS = {
  ArrowLeft: [-TURN, 0],
  ArrowRight: [TURN, 0],
  ArrowUp: [0, TURN],
  ArrowDown: [0, -TURN],
};
const ZOOMS = { "+": 0.9, "=": 0.9, "-": 1 / 0.9 }; // = is + without shift

/** Camera along a named view; distance in units of the box. */
function cameraAt(view, distance) {
  const [x, y, z] = EYES[view].map((part) => part * distance);
  const up = view === "z" ? { x: 0, y: 1, z: 0 } : { x: 0, y: 0, z: 1 };
  return { eye: { x, y, z }, center: { x: 0, y: 0, z: 0 }, up };
}

/** Camera after a key that turns the molecule that way, or zooms; null of other keys. */
function cameraAfter(key, { eye, up, center }) {
  if (key in ZOOMS) return { eye: scaled(eye, ZOOMS[key]), up, center };
  if (!(key in ARROWS)) return null;
  const [aside, upwards] = ARROWS[key];
  const right = unit(cross(up, eye));
  const above = unit(cross(eye, right)); // up, less what it has along the view
  const turn = (vector) => turned(turned(vector, above, -aside), right, upwards);
  return { eye: turn(eye), up: turn(above), center };
}

/** Vector turned about a unit axis, by Rodrigues. */
function turned(vector, axis, angle) {
  const along = scaled(axis, dot(axis, vector) * (1 - Math.cos(angle)));
  const aside = scaled(cross(axis, vector), Math.sin(angle));
  return sum(sum(scaled(vector, Math.cos(angle)), aside), along);
}

function cross(a, b) {
  return { x: a.y * b.z - a.z * b.y, y: a.z * b.x - a.x * b.z, z: a.x * b.y - a.y * b.x };
}

function dot(a, b) {
  return a.x * b.x + a.y * b.y + a.z * b.z;
}

function sum(a, b) {
  return { x: a.x + b.x, y: a.y + b.y, z: a.z + b.z };
}

function scaled({ x, y, z }, factor) {
  return { x: factor * x, y: factor * y, z: factor * z };
}

function unit(vector) {
  return scaled(vector, 1 / Math.sqrt(dot(vector, vector)));
}
