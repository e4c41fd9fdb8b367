"use strict";
// Volumes out of the page's data, and their surfaces: naive surface nets (Gibson 1998).
// A volume is a Float32Array of D*D*D densities, axes (z, y, x), x fastest.

/** Decode base64 text: Uint8Array. */
function decodeBytes(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let n = 0; n < binary.length; n++) bytes[n] = binary.charCodeAt(n);
  return bytes;
}

/** Decode the components that volumes are sums of: [{scale, zero, bytes}]. */
function decodeComponents(components) {
  return components.map(({ scale, zero, values }) => {
    return { scale, zero, bytes: decodeBytes(values) };
  });
}

/** Add components: volume sum_c weights[c] * (scale_c * byte + zero_c). */
function addComponents(components, weights) {
  const volume = new Float32Array(components[0].bytes.length);
  let offset = 0;
  components.forEach(({ zero }, c) => (offset += weights[c] * zero));
  volume.fill(offset);
  components.forEach(({ scale, bytes }, c) => {
    const factor = weights[c] * scale;
    for (let n = 0; n < volume.length; n++) volume[n] += factor * bytes[n];
  });
  return volume;
}

/** Surround a volume by one voxel of zeros: surfaces close at the border of the box. */
function padVolume(volume, box) {
  const side = box + 2;
  const padded = new Float32Array(side ** 3);
  for (let z = 0; z < box; z++) {
    for (let y = 0; y < box; y++) {
      const row = box * (y + box * z);
      const place = 1 + side * (y + 1 + side * (z + 1));
      padded.set(volume.subarray(row, row + box), place);
    }
  }
  return padded;
}

// Corner n of a cell lies at x = bit 0, y = bit 1, z = bit 2 of n; an edge joins two
// corners that differ in the bit of its axis.
const CELL_EDGES = [];
for (let a = 0; a < 8; a++) {
  for (let axis = 0; axis < 3; axis++) {
    if (!((a >> axis) & 1)) CELL_EDGES.push([a, a | (1 << axis), axis]);
  }
}

/**
 * Find the surface of a volume at a level.
 *
 * Returns {x, y, z} of its vertices in voxels of the volume, and {i, j, k}, the
 * vertices of its triangles, counter-clockwise as seen from the lower density.
 */
function surfaceNets(volume, box, level) {
  const side = box + 2;
  const strides = [1, side, side * side];
  const net = {
    padded: padVolume(volume, box),
    strides,
    corners: [0, 1, 2, 3, 4, 5, 6, 7].map(
      (n) => (n & 1) + ((n >> 1) & 1) * strides[1] + (n >> 2) * strides[2],
    ),
    level,
    vertexOf: new Int32Array(side ** 3), // of the cell, named by its corner 0
    mesh: { x: [], y: [], z: [], i: [], j: [], k: [] },
  };
  for (let z = 0; z < side - 1; z++) {
    for (let y = 0; y < side - 1; y++) {
      for (let x = 0; x < side - 1; x++) {
        const cell = x + side * (y + side * z);
        const inside = cornersInside(net, cell);
        if (inside === 0 || inside === 255) continue;
        addVertex(net, cell, inside, x - 1, y - 1, z - 1); // without the padding
        addFaces(net, cell, inside);
      }
    }
  }
  return net.mesh;
}

/** Bit n is set if corner n of the cell reaches the level. */
function cornersInside({ padded, corners, level }, cell) {
  let inside = 0;
  for (let n = 0; n < 8; n++) if (padded[cell + corners[n]] >= level) inside |= 1 << n;
  return inside;
}

/** Put the cell's vertex at the mean of the crossings of its edges. */
function addVertex({ padded, corners, level, vertexOf, mesh }, cell, inside, x, y, z) {
  const sum = [0, 0, 0];
  let count = 0;
  for (const [a, b, axis] of CELL_EDGES) {
    if (((inside >> a) & 1) === ((inside >> b) & 1)) continue;
    const start = padded[cell + corners[a]];
    sum[0] += a & 1;
    sum[1] += (a >> 1) & 1;
    sum[2] += a >> 2;
    sum[axis] += (level - start) / (padded[cell + corners[b]] - start);
    count++;
  }
  vertexOf[cell] = mesh.x.length;
  mesh.x.push(x + sum[0] / count);
  mesh.y.push(y + sum[1] / count);
  mesh.z.push(z + sum[2] / count);
}

/** Join the cell's vertex to earlier ones: a quad for each crossed edge at corner 0. */
function addFaces({ strides, vertexOf, mesh }, cell, inside) {
  for (let axis = 0; axis < 3; axis++) {
    const startsInside = inside & 1;
    if (startsInside === ((inside >> (1 << axis)) & 1)) continue;
    // Padding is never crossed by an edge within the border: these cells exist.
    const u = strides[(axis + 1) % 3];
    const v = strides[(axis + 2) % 3];
    const cells = [cell, cell - u, cell - u - v, cell - v];
    const [a, b, c, d] = cells.map((n) => vertexOf[n]);
    mesh.i.push(a, a);
    mesh.j.push(...(startsInside ? [b, c] : [c, d]));
    mesh.k.push(...(startsInside ? [c, d] : [b, c]));
  }
}

/** Interpolate a field, (D, D, D) as a volume, at the vertices of a mesh. */
function sampleField(field, box, { x, y, z }) {
  const last = box - 1;
  return Float32Array.from(x, (_, n) => {
    // A vertex may lie up to one voxel outside the box, in the padding.
    const at = [x[n], y[n], z[n]].map((p) => Math.min(Math.max(p, 0), last));
    const low = at.map((p) => Math.min(Math.floor(p), last - 1));
    const [fx, fy, fz] = at.map((p, axis) => p - low[axis]);
    let value = 0;
    for (let corner = 0; corner < 8; corner++) {
      const [cx, cy, cz] = [corner & 1, (corner >> 1) & 1, corner >> 2];
      const place = low[0] + cx + box * (low[1] + cy + box * (low[2] + cz));
      const weight = (cx ? fx : 1 - fx) * (cy ? fy : 1 - fy) * (cz ? fz : 1 - fz);
      value += weight * field[place];
    }
    return value;
  });
}

/** The conformations of the explorer's data, and their surfaces in Å. */
class Conformations {
  constructor({ box, voxel_size, coefficients, mean, components }) {
    Object.assign(this, { box, voxelSize: voxel_size, coefficients, mean });
    this.components = decodeComponents(components);
  }

  /** Surface of a conformation; intensity: its difference from the mean, or zeros. */
  surface(number, level, withDifference) {
    const weights = this.coefficients[number];
    if (this.number !== number) {
      this.volume = addComponents(this.components, weights);
      this.difference = null;
      this.number = number;
    }
    const net = surfaceNets(this.volume, this.box, level);
    const mesh = { ...net, intensity: new Float32Array(net.x.length) };
    for (const axis of ["x", "y", "z"]) mesh[axis] = this.inAngstrom(net[axis]);
    if (withDifference) {
      const changes = weights.map((weight, c) => weight - this.mean[c]);
      this.difference ??= addComponents(this.components, changes);
      mesh.intensity = sampleField(this.difference, this.box, net);
    }
    return mesh;
  }

  /** Turn voxels into Å from the centre voxel, D // 2. */
  inAngstrom(voxels) {
    const centre = Math.floor(this.box / 2);
    return Float32Array.from(voxels, (p) => (p - centre) * this.voxelSize);
  }

  /** Distance in Å from the centre to the farthest vertex, over some conformations. */
  radius(level) {
    const stride = Math.ceil(this.coefficients.length / 8);
    let farthest = 0;
    for (let number = 0; number < this.coefficients.length; number += stride) {
      const { x, y, z } = this.surface(number, level, false);
      for (let n = 0; n < x.length; n++) {
        farthest = Math.max(farthest, Math.hypot(x[n], y[n], z[n]));
      }
    }
    return farthest || (this.box / 2) * this.voxelSize;
  }
}
