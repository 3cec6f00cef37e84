// Images in place of points where there is room for them: which, and where they come from.
import { getPicture, ServerError, sheetUrl, type Look } from "../api";
import { toScreen } from "./camera";
import type { Part } from "./pen";
import type { View } from "./renderer";

const FEW = 250; // as many are always shown as images
const MEAN_DISTANCE = 40; // CSS pixels between neighbors, from which on all are
export const MOST_IMAGES = 400;
const N_SHEETS = 8; // kept, the oldest go first
const MOST_PIXELS = 4_194_304; // of one sheet, as the server has it
const SHARP = 0.7; // of the pixels wished for are enough to keep an image

/** As many rows in view give room for images; more do not. */
export function mostForImages(width: number, height: number): number {
  return Math.max(FEW, Math.floor((width * height) / MEAN_DISTANCE ** 2));
}

/** The side of an image where `n` share a map: 40 to 96 pixels. */
export function sideOf(n: number, width: number, height: number): number {
  return Math.round(Math.min(96, Math.max(40, 0.75 * Math.sqrt((width * height) / Math.max(1, n)))) / 8) * 8;
}

/** Pixels a side in which `n` images of `side` CSS pixels are asked for: whole steps, so that a sheet serves many views. */
export function sizeOf(n: number, side: number, ratio: number, isTriple: boolean): number {
  const columns = Math.ceil(Math.sqrt(n));
  const most = Math.sqrt(MOST_PIXELS / (columns * Math.ceil(n / columns) * (isTriple ? 3 : 1)));
  return Math.max(16, Math.min(192, Math.ceil((side * Math.min(2, ratio)) / 32) * 32, Math.floor(most / 16) * 16));
}

/** Rows whose images do not overlap; `rows` come in the order in which they win. */
export function withoutOverlap(rows: number[], x: Float32Array, y: Float32Array, view: View, wide: number, high: number): number[] {
  const taken = new Map<string, [number, number][]>();
  const kept: number[] = [];
  for (const row of rows) {
    const [px, py] = toScreen(view.camera, view.width, view.height, x[row], y[row]);
    const [column, line] = [Math.floor(px / wide), Math.floor(py / high)];
    let isFree = true;
    for (let c = column - 1; c <= column + 1; c++) {
      for (let l = line - 1; l <= line + 1; l++) {
        for (const [ox, oy] of taken.get(`${c} ${l}`) ?? []) if (Math.abs(ox - px) < wide && Math.abs(oy - py) < high) isFree = false;
      }
    }
    if (!isFree) continue;
    const cell = `${column} ${line}`;
    taken.set(cell, [...(taken.get(cell) ?? []), [px, py]]);
    if (kept.push(row) === MOST_IMAGES) break;
  }
  return kept;
}

interface Held {
  part: Part;
  since: number; // milliseconds: when it came, for the crossfade
}

/** Images that have come, one request for all that are missing; the newest wish counts. */
export class Sheets {
  private held = new Map<number, Held>();
  private sheets: { rows: number[]; bitmap: ImageBitmap }[] = [];
  private asking: AbortController | null = null;
  private lookNow = "";

  get(row: number): Held | undefined {
    return this.held.get(row);
  }

  /** Load what is missing of these rows; false where the request was overtaken. */
  async want(rows: number[], idOf: (row: number) => string, size: number, look: Look, digest: string): Promise<boolean> {
    const lookNow = JSON.stringify(look);
    if (lookNow !== this.lookNow) this.forget();
    this.lookNow = lookNow;
    const missing = rows.filter((row) => !((this.held.get(row)?.part.height ?? 0) >= SHARP * size));
    this.asking?.abort();
    if (!missing.length) return true;
    const asking = (this.asking = new AbortController());
    const columns = Math.ceil(Math.sqrt(missing.length));
    try {
      const bitmap = await getPicture(sheetUrl(missing.map(idOf), size, columns, look, digest), asking.signal);
      if (asking.signal.aborted) return false;
      const [width, height] = [bitmap.width / columns, bitmap.height / Math.ceil(missing.length / columns)];
      const since = performance.now();
      missing.forEach((row, i) => {
        const part = { source: bitmap, x: (i % columns) * width, y: Math.floor(i / columns) * height, width, height };
        this.held.set(row, { part, since: this.held.get(row)?.since ?? since });
      });
      this.sheets.push({ rows: missing, bitmap });
      while (this.sheets.length > N_SHEETS) this.drop(this.sheets.shift()!);
      return true;
    } catch (error) {
      if (asking.signal.aborted || error instanceof TypeError || error instanceof DOMException || error instanceof ServerError) return false; // overtaken, no server, or no image
      throw error;
    }
  }

  private drop({ rows, bitmap }: { rows: number[]; bitmap: ImageBitmap }): void {
    for (const row of rows) if (this.held.get(row)?.part.source === bitmap) this.held.delete(row);
    bitmap.close();
  }

  forget(): void {
    this.asking?.abort();
    while (this.sheets.length) this.drop(this.sheets.shift()!);
    this.held.clear();
  }
}
