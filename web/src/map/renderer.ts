// What draws a million points: one interface, on the graphics card (gl.ts) or in a worker (cpu.ts).
import type { Camera } from "./camera";
import type { Rgb } from "./palettes";

export type Overlap = "highest" | "mean" | "count";

/** What is drawn; changes with columns, filter and selection. */
export interface Scene {
  x: Float32Array;
  y: Float32Array;
  values: Float32Array | null; // null: all alike
  rows: Uint32Array | null; // null: all
  selected: Uint8Array | null;
}

/** How it is colored. */
export interface Shade {
  overlap: Overlap;
  low: number;
  high: number;
  crowding: number; // objects per square unit that get the palette's end in "count"
  palette: Uint8Array; // 256 RGBA
  without: Rgb; // where there is no value
  dimmed: number; // opacity of what is not selected
}

/** From where it is seen: sizes in CSS pixels, `ratio` device pixels each. */
export interface View {
  camera: Camera;
  width: number;
  height: number;
  ratio: number;
  size: number; // diameter of a point
}

export interface Renderer {
  readonly kind: "gl" | "cpu";
  readonly milliseconds: number; // of the last frame
  setScene(scene: Scene): void;
  setShade(shade: Shade): void;
  /** Draw as soon as can be; only the newest view counts. */
  draw(view: View): void;
  /** The points alone, at any ratio. */
  picture(view: View): Promise<ImageBitmap>;
  destroy(): void;
}

/** How many objects a pixel must hold for the palette's end. */
export function fullCount(shade: Shade, view: View): number {
  const touch = Math.max(1, (Math.PI / 4) * (view.size * view.ratio) ** 2); // device pixels that a point covers
  const area = touch / (view.camera.kx * view.camera.ky * view.ratio ** 2);
  return Math.max(3, shade.crowding * area);
}

/** Rows in the order that they are painted: what is not selected first, and in each part the highest last, after those without a value. */
export interface Painted {
  x: Float32Array;
  y: Float32Array;
  values: Float32Array; // NaN where there is none
  n: number;
  nBelow: number; // as many are not selected
}

/** Places of values in ascending order, NaN first: a radix sort of their bits, 16 at a time. */
function ascending(values: Float32Array): Uint32Array {
  const n = values.length;
  const bits = new Uint32Array(values.buffer, values.byteOffset, n);
  let keys = new Uint32Array(n);
  for (let i = 0; i < n; i++) {
    const bit = bits[i];
    keys[i] = values[i] !== values[i] ? 0 : bit & 0x80000000 ? ~bit >>> 0 : (bit | 0x80000000) >>> 0;
  }
  let order = new Uint32Array(n);
  for (let i = 0; i < n; i++) order[i] = i;
  let other = new Uint32Array(n);
  let otherKeys = new Uint32Array(n);
  for (const shift of [0, 16]) {
    const starts = new Uint32Array(65537);
    for (let i = 0; i < n; i++) starts[((keys[i] >>> shift) & 65535) + 1]++;
    for (let i = 0; i < 65536; i++) starts[i + 1] += starts[i];
    for (let i = 0; i < n; i++) {
      const to = starts[(keys[i] >>> shift) & 65535]++;
      other[to] = order[i];
      otherKeys[to] = keys[i];
    }
    [order, other] = [other, order];
    [keys, otherKeys] = [otherKeys, keys];
  }
  return order;
}

/** Bring a scene into the order of painting; rows without a place are left out. */
export function arrange({ x, y, values, rows, selected }: Scene): Painted {
  const all = rows ? rows.length : x.length;
  const kept = new Uint32Array(all);
  let n = 0;
  for (let i = 0; i < all; i++) {
    const row = rows ? rows[i] : i;
    if (Number.isFinite(x[row]) && Number.isFinite(y[row])) kept[n++] = row;
  }
  const own = new Float32Array(n);
  if (values) for (let i = 0; i < n; i++) own[i] = values[kept[i]];
  const order = values ? ascending(own) : null;
  const painted = { x: new Float32Array(n), y: new Float32Array(n), values: new Float32Array(n), n, nBelow: 0 };
  let nBelow = 0;
  if (selected) for (let i = 0; i < n; i++) nBelow += 1 - selected[kept[i]];
  let [below, above] = [0, nBelow];
  for (let i = 0; i < n; i++) {
    const place = order ? order[i] : i;
    const row = kept[place];
    const to = selected && selected[row] === 0 ? below++ : above++;
    painted.x[to] = x[row];
    painted.y[to] = y[row];
    painted.values[to] = own[place];
  }
  painted.nBelow = nBelow;
  return painted;
}

/** Graphics cards that are no cards: slower than our own worker. */
export function isSoftware(name: string): boolean {
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}

/** The card's name, or null where WebGL 2 is not there or cannot add floats. Asked on a canvas of its own: one that had WebGL has no other way to draw. */
function cardName(failIfMajorPerformanceCaveat: boolean): string | null {
  const gl = document.createElement("canvas").getContext("webgl2", { failIfMajorPerformanceCaveat });
  if (!gl?.getExtension("EXT_color_buffer_float")) return null;
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  const name = String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return name;
}

/** The renderer that the address asks for, else the card where there is one. */
export function wantedRenderer(): "gl" | "cpu" {
  const asked = new URLSearchParams(location.search).get("renderer");
  if (asked === "cpu") return "cpu";
  const name = cardName(asked !== "gl");
  return name !== null && (asked === "gl" || !isSoftware(name)) ? "gl" : "cpu";
}
