// Pictures come in blocks of neighbors in the order: one request a block, at the next larger of a few sizes.
import { getPicture, imageUrl, sheetUrl, type Look } from "../api";
import { cellsIn, pitchOf, runOf, type View, type Wall } from "./layout";
import { Store } from "./loader";

export const SIZES = [8, 16, 32, 64, 96, 128, 256, 512];
/** Every pixel of one object as it is stored, for those few that fill the view. */
export const WHOLE = 1024;
export const BITMAP_BYTES = 256 * 2 ** 20;
const WIDEST = 4096; // pixels of a sheet: what every graphics card takes

export interface Sheet {
  bitmap: ImageBitmap;
  columns: number;
  rows: number;
  since: number; // when it came, for fading in; 0 where something blurrier was there before
}

export function newSheets(): Store<Sheet> {
  return new Store<Sheet>(
    BITMAP_BYTES,
    (sheet) => sheet.bitmap.width * sheet.bitmap.height * 4,
    (sheet) => sheet.bitmap.close(),
  );
}

/** Sizes worth asking for: none beyond what the survey's images hold. */
export function sizesFor(native: number): number[] {
  const enough = SIZES.findIndex((size) => size >= native);
  return enough < 0 ? SIZES : SIZES.slice(0, enough + 1);
}

/** The next larger size to `pixels` on the screen; the whole image where few are shown larger than the largest sheet. */
export function sizeFor(pixels: number, native: number, nVisible: number): number {
  const sizes = sizesFor(native);
  const largest = sizes[sizes.length - 1]!;
  if (pixels > 1.25 * largest && nVisible <= 32) return WHOLE;
  return sizes.find((size) => size >= pixels) ?? largest;
}

/** Images in a block; each divides those before, so that blocks of one size lie within blocks of another. */
export function countOf(size: number): number {
  if (size <= 32) return 256;
  if (size <= 128) return 64;
  if (size === 256) return 16;
  return size === 512 ? 4 : 1;
}

/** Images in a row of the sheet: as many as a graphics card takes, so that a row of specks is drawn by few calls. */
export function sheetColumns(size: number, aspect: number, count: number): number {
  return Math.max(1, Math.min(count, Math.floor(WIDEST / (size * aspect))));
}

export function lookKey(look: Look): string {
  return `${look.part} ${look.stretch} ${look.invert ? 1 : 0} ${look.channels}`;
}

/** 64 bits of the rows' content (FNV-1a from two seeds): the same objects in the same order have the same key. */
export function contentKey(rows: Uint32Array): string {
  let low = 0x811c9dc5;
  let high = 0x9747b28c;
  for (const row of rows) {
    low = Math.imul(low ^ row, 0x01000193);
    high = Math.imul(high ^ (row >>> 7) ^ (row << 11), 0x85ebca6b);
    high ^= high >>> 13;
  }
  return `${(low >>> 0).toString(36)}.${(high >>> 0).toString(36)}.${rows.length}`;
}

/** Content keys of an order's blocks, each made when it is first wanted. */
export class Blocks {
  private keys = new Map<number, string>();

  constructor(readonly shown: Uint32Array) {}

  rows(count: number, block: number): Uint32Array {
    return this.shown.subarray(block * count, (block + 1) * count);
  }

  key(count: number, block: number, size: number, look: string): string {
    const slot = block * 1024 + count;
    let key = this.keys.get(slot);
    if (key === undefined) {
      key = contentKey(this.rows(count, block));
      this.keys.set(slot, key);
    }
    return `${size} ${look} ${key}`;
  }
}

/** Blocks that a view needs, those in view before those just outside, nearest to its center first. */
export function blocksFor(wall: Wall, view: View, count: number): number[] {
  const pitch = pitchOf(wall);
  const margin = Math.min(view.height, 8 * pitch.y) / 2;
  const near = cellsIn(wall, { ...view, y: view.y - margin, height: view.height + 2 * margin });
  const inView = cellsIn(wall, view);
  const distances = new Map<number, number>();
  for (let row = near.firstRow; row <= near.lastRow; row++) {
    const [first, end] = runOf(wall, near, row);
    const outside = row < inView.firstRow || row > inView.lastRow ? view.width + view.height : 0;
    const dy = (row + 0.5) * pitch.y - view.y - view.height / 2;
    for (let index = first; index < end; ) {
      const block = Math.floor(index / count);
      const next = Math.min(end, (block + 1) * count);
      const column = (place: number) => ((place + wall.shift) % wall.columns) * pitch.x - view.x - view.width / 2;
      // Nearest point of the run to the center, not its middle: a long run through the center is near.
      const dx = Math.max(column(index), Math.min(0, column(next - 1) + pitch.x));
      const distance = Math.hypot(dx, dy) + outside;
      if (distance < (distances.get(block) ?? Infinity)) distances.set(block, distance);
      index = next;
    }
  }
  return [...distances].sort((one, other) => one[1] - other[1]).map(([block]) => block);
}

/** Sizes by how well they stand in for one: larger ones first, the nearest of them before others. */
export function standIns(size: number, native: number): number[] {
  const sizes = sizesFor(native);
  return [...sizes.filter((other) => other > size), ...sizes.filter((other) => other < size).reverse()];
}

/** Fetch and decode one block. */
export async function fetchSheet(ids: string[], size: number, look: Look, digest: string, signal: AbortSignal): Promise<Sheet> {
  const columns = size === WHOLE ? 1 : sheetColumns(size, look.part === "triple" ? 3 : 1, ids.length);
  const url = size === WHOLE ? imageUrl(ids[0]!, look, digest) : sheetUrl(ids, size, columns, look, digest);
  return { bitmap: await getPicture(url, signal), columns, rows: Math.ceil(ids.length / columns), since: 0 };
}
