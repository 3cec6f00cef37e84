// What tests of the map share: small scenes and pictures of them.
import { Bins } from "./bin";
import { parseColor, ramp } from "./palettes";
import { arrange, type Scene, type Shade, type View } from "./renderer";

export const NAN = Number.NaN;

export function sceneOf(points: [x: number, y: number, value: number][], selected: number[] | null = null): Scene {
  const take = (at: 0 | 1 | 2) => Float32Array.from(points, (point) => point[at]);
  return { x: take(0), y: take(1), values: take(2), rows: null, selected: selected && Uint8Array.from(selected) };
}

export function shadeOf(fields: Partial<Shade> = {}): Shade {
  return { overlap: "highest", low: 0, high: 10, crowding: 0, palette: ramp("viridis", false), without: parseColor("#888888"), dimmed: 0.2, ...fields };
}

/** 8 x 6 pixels that show x from 0 to 8 and y from 0 to 6, points of one pixel. */
export function viewOf(fields: Partial<View> = {}): View {
  return { camera: { x: 4, y: 3, kx: 1, ky: 1 }, width: 8, height: 6, ratio: 1, size: 1, ...fields };
}

/** A picture by the CPU's binning: of each pixel red, green, blue and alpha. */
export function painted(scene: Scene, shade: Shade, view: View): (column: number, line: number) => [number, number, number, number] {
  const points = arrange(scene);
  const bins = new Bins();
  const width = view.width * view.ratio;
  const out = new Uint32Array(width * view.height * view.ratio);
  bins.shade(points, shade);
  bins.paint(out, points, shade, view);
  return (column, line) => {
    const pixel = out[line * width + column];
    return [pixel & 255, (pixel >> 8) & 255, (pixel >> 16) & 255, pixel >>> 24];
  };
}

/** Numbers from 0 to 1 that are the same in every run (mulberry32). */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
