// What of the map is in view: the data coordinates at the middle, and CSS pixels a unit. y points up in data, down on the screen.
import type { Point } from "./geometry";

export interface Camera {
  x: number;
  y: number;
  kx: number;
  ky: number;
}

export interface Extent {
  left: number;
  right: number;
  bottom: number;
  top: number;
}

const MOST_ZOOM = 20_000; // beyond it float32 coordinates no longer differ
const LEAST_ZOOM = 0.4;

/** From the least to the greatest value of each axis, of rows that have both; null where there are none. */
export function extentOf(x: Float32Array, y: Float32Array): Extent | null {
  let [left, right, bottom, top] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let row = 0; row < x.length; row++) {
    const px = x[row];
    const py = y[row];
    if (!Number.isFinite(px) || !Number.isFinite(py)) continue;
    if (px < left) left = px;
    if (px > right) right = px;
    if (py < bottom) bottom = py;
    if (py > top) top = py;
  }
  return left > right ? null : { left, right, bottom, top };
}

/** The camera that shows the whole extent; with `isEqual` a unit is as long in x as in y. */
export function fit(extent: Extent, width: number, height: number, isEqual: boolean, border = 28): Camera {
  const wide = Math.max(40, width - 2 * border);
  const high = Math.max(40, height - 2 * border);
  let kx = wide / (extent.right - extent.left || 1);
  let ky = high / (extent.top - extent.bottom || 1);
  if (isEqual) kx = ky = Math.min(kx, ky);
  return { x: (extent.left + extent.right) / 2, y: (extent.bottom + extent.top) / 2, kx, ky };
}

export function toScreen(camera: Camera, width: number, height: number, x: number, y: number): Point {
  return [width / 2 + (x - camera.x) * camera.kx, height / 2 - (y - camera.y) * camera.ky];
}

export function toData(camera: Camera, width: number, height: number, px: number, py: number): Point {
  return [camera.x + (px - width / 2) / camera.kx, camera.y - (py - height / 2) / camera.ky];
}

/** Nearer by a factor, what is at the cursor stays there; no nearer than makes sense of `home`. */
export function zoomed(camera: Camera, home: Camera, width: number, height: number, factor: number, px: number, py: number): Camera {
  const now = camera.kx / home.kx;
  const by = Math.min(MOST_ZOOM, Math.max(LEAST_ZOOM, now * factor)) / now;
  const [x, y] = toData(camera, width, height, px, py);
  const kx = camera.kx * by;
  const ky = camera.ky * by;
  return { x: x - (px - width / 2) / kx, y: y + (py - height / 2) / ky, kx, ky };
}

export function panned(camera: Camera, dx: number, dy: number): Camera {
  return { ...camera, x: camera.x - dx / camera.kx, y: camera.y + dy / camera.ky };
}

export function inView(camera: Camera, width: number, height: number, border = 0): Extent {
  const [left, top] = toData(camera, width, height, -border, -border);
  const [right, bottom] = toData(camera, width, height, width + border, height + border);
  return { left, right, bottom, top };
}

/** The diameter of a point in CSS pixels: smaller where there are many, larger when zoomed in. */
export function pointSize(nDrawn: number, zoom: number): number {
  const base = Math.min(5, Math.max(1.5, 7.2 - 0.95 * Math.log10(Math.max(1, nDrawn))));
  return Math.min(10, base * Math.max(1, zoom) ** 0.4);
}

/** Round numbers, about `n` of them, from low to high. */
export function ticks(low: number, high: number, n: number): number[] {
  if (!(high > low) || n < 1) return [];
  const rough = (high - low) / n;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((each) => each * power >= rough) ?? 10);
  const first = Math.ceil(low / step);
  const last = Math.floor(high / step);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}
