// Pixels of a PNG: 8 bits, no interlacing, as browsers write them.
import { inflateSync } from "node:zlib";

export interface Pixels {
  width: number;
  height: number;
  data: Uint8Array; // RGBA
}

const SIGNATURE = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);

export function decoded(png: Buffer): Pixels {
  if (!png.subarray(0, 8).equals(SIGNATURE)) throw new Error("not a PNG");
  let [width, height, color] = [0, 0, 0];
  const parts: Buffer[] = [];
  for (let at = 8; at < png.length; ) {
    const length = png.readUInt32BE(at);
    const body = png.subarray(at + 8, at + 8 + length);
    const kind = png.toString("latin1", at + 4, at + 8);
    if (kind === "IHDR") {
      [width, height, color] = [body.readUInt32BE(0), body.readUInt32BE(4), body[9]];
      if (body[8] !== 8 || body[12] !== 0) throw new Error("only 8 bits without interlacing");
    } else if (kind === "IDAT") parts.push(body);
    at += length + 12;
  }
  const n = { 0: 1, 2: 3, 4: 2, 6: 4 }[color];
  if (!n) throw new Error(`no such kind of color: ${color}`);
  return { width, height, data: colored(unfiltered(inflateSync(Buffer.concat(parts)), width, height, n), n) };
}

function unfiltered(raw: Uint8Array, width: number, height: number, n: number): Uint8Array {
  const wide = width * n;
  const out = new Uint8Array(wide * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (wide + 1)];
    const [from, to] = [y * (wide + 1) + 1, y * wide];
    for (let x = 0; x < wide; x++) {
      const left = x >= n ? out[to + x - n] : 0;
      const up = y > 0 ? out[to + x - wide] : 0;
      const corner = x >= n && y > 0 ? out[to + x - wide - n] : 0;
      const guess = [0, left, up, (left + up) >> 1, filter === 4 ? paeth(left, up, corner) : 0][filter];
      out[to + x] = raw[from + x] + guess;
    }
  }
  return out;
}

function paeth(left: number, up: number, corner: number): number {
  const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

function colored(data: Uint8Array, n: number): Uint8Array {
  const out = new Uint8Array((data.length / n) * 4);
  for (let from = 0, to = 0; from < data.length; from += n, to += 4) {
    const isGray = n < 3;
    for (let channel = 0; channel < 3; channel++) out[to + channel] = data[from + (isGray ? 0 : channel)];
    out[to + 3] = n % 2 ? 255 : data[from + n - 1];
  }
  return out;
}

/** Pixels that are not of the commonest color: how many, their middle, and their mean color. */
export function drawn({ width, height, data }: Pixels, tolerance = 24): { count: number; x: number; y: number; color: number[] } {
  const ground = commonest(data);
  let [count, x, y] = [0, 0, 0];
  const color = [0, 0, 0];
  for (let at = 0; at < width * height; at++) {
    const far = Math.abs(data[4 * at] - ground[0]) + Math.abs(data[4 * at + 1] - ground[1]) + Math.abs(data[4 * at + 2] - ground[2]);
    if (far <= tolerance) continue;
    count++;
    x += at % width;
    y += Math.floor(at / width);
    for (let channel = 0; channel < 3; channel++) color[channel] += data[4 * at + channel];
  }
  return { count, x: x / count, y: y / count, color: color.map((each) => each / count) };
}

function commonest(data: Uint8Array): number[] {
  const counts = new Map<number, number>();
  for (let at = 0; at < data.length; at += 4) {
    const key = (data[at] << 16) | (data[at + 1] << 8) | data[at + 2];
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const [key] = [...counts].reduce((best, each) => (each[1] > best[1] ? each : best));
  return [key >> 16, (key >> 8) & 255, key & 255];
}

/** Mean absolute difference of two pictures of one size, 0 to 255. */
export function difference(one: Pixels, other: Pixels): number {
  if (one.width !== other.width || one.height !== other.height) return 255;
  let sum = 0;
  for (let at = 0; at < one.data.length; at++) sum += Math.abs(one.data[at] - other.data[at]);
  return sum / one.data.length;
}
