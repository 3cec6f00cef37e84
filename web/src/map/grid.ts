// Points sorted into square cells, so that those near a place are found without looking at all.
import type { Extent } from "./camera";

export interface Grid {
  x: Float32Array;
  y: Float32Array;
  extent: Extent;
  n: number; // cells a side
  starts: Uint32Array; // of each cell its first place in `rows`
  rows: Uint32Array;
}

/** Sort rows into cells, about four a cell; rows without a place are in none. */
export function buildGrid(x: Float32Array, y: Float32Array, extent: Extent): Grid {
  const n = Math.min(1024, Math.max(1, Math.round(Math.sqrt(x.length / 4))));
  const scaleX = n / (extent.right - extent.left || 1);
  const scaleY = n / (extent.top - extent.bottom || 1);
  const cells = new Int32Array(x.length);
  const starts = new Uint32Array(n * n + 1);
  for (let row = 0; row < x.length; row++) {
    const column = Math.min(n - 1, Math.floor((x[row] - extent.left) * scaleX));
    const line = Math.min(n - 1, Math.floor((y[row] - extent.bottom) * scaleY));
    const cell = column >= 0 && line >= 0 ? line * n + column : -1; // a NaN is not >= 0
    cells[row] = cell;
    if (cell >= 0) starts[cell + 1]++;
  }
  for (let cell = 0; cell < n * n; cell++) starts[cell + 1] += starts[cell];
  const rows = new Uint32Array(starts[n * n]);
  const next = starts.slice(0, n * n);
  for (let row = 0; row < x.length; row++) if (cells[row] >= 0) rows[next[cells[row]]++] = row;
  return { x, y, extent, n, starts, rows };
}

function cellsOf(grid: Grid, box: Extent): [number, number, number, number] {
  const { extent, n } = grid;
  const column = (value: number) => Math.floor(((value - extent.left) / (extent.right - extent.left || 1)) * n);
  const line = (value: number) => Math.floor(((value - extent.bottom) / (extent.top - extent.bottom || 1)) * n);
  const last = n - 1;
  const clamp = (cell: number) => Math.min(last, Math.max(0, cell));
  return [clamp(column(box.left)), clamp(column(box.right)), clamp(line(box.bottom)), clamp(line(box.top))];
}

/** The row nearest to a place, at most `reach` away where a unit counts `kx` and `ky`; -1 where there is none. */
export function nearest(grid: Grid, px: number, py: number, kx: number, ky: number, reach: number, isDrawn: Uint8Array | null = null): number {
  const box = { left: px - reach / kx, right: px + reach / kx, bottom: py - reach / ky, top: py + reach / ky };
  const [left, right, bottom, top] = cellsOf(grid, box);
  let best = -1;
  let least = reach * reach;
  for (let line = bottom; line <= top; line++) {
    const end = grid.starts[line * grid.n + right + 1];
    for (let at = grid.starts[line * grid.n + left]; at < end; at++) {
      const row = grid.rows[at];
      if (isDrawn !== null && isDrawn[row] === 0) continue;
      const dx = (grid.x[row] - px) * kx;
      const dy = (grid.y[row] - py) * ky;
      const distance = dx * dx + dy * dy;
      if (distance <= least) {
        least = distance;
        best = row;
      }
    }
  }
  return best;
}

/** Rows inside a box, or null where there are more than `most`. */
export function rowsIn(grid: Grid, box: Extent, most: number, isDrawn: Uint8Array | null = null): number[] | null {
  const [left, right, bottom, top] = cellsOf(grid, box);
  const found: number[] = [];
  for (let line = bottom; line <= top; line++) {
    const end = grid.starts[line * grid.n + right + 1];
    for (let at = grid.starts[line * grid.n + left]; at < end; at++) {
      const row = grid.rows[at];
      if (isDrawn !== null && isDrawn[row] === 0) continue;
      const x = grid.x[row];
      const y = grid.y[row];
      if (!(x >= box.left && x <= box.right && y >= box.bottom && y <= box.top)) continue;
      if (found.length === most) return null;
      found.push(row);
    }
  }
  return found;
}

/** Objects per square unit where the map is crowded: of occupied blocks of cells, the 99.5th percentile. */
export function crowding(grid: Grid): number {
  const block = Math.max(1, Math.ceil(grid.n / 128));
  const side = Math.ceil(grid.n / block);
  const counts = new Uint32Array(side * side);
  for (let line = 0; line < grid.n; line++) {
    for (let column = 0; column < grid.n; column++) {
      const cell = line * grid.n + column;
      counts[Math.floor(line / block) * side + Math.floor(column / block)] += grid.starts[cell + 1] - grid.starts[cell];
    }
  }
  const occupied = counts.filter((count) => count > 0).sort();
  if (!occupied.length) return 0;
  const area = ((grid.extent.right - grid.extent.left || 1) * (grid.extent.top - grid.extent.bottom || 1)) / side ** 2;
  return occupied[Math.floor((occupied.length - 1) * 0.995)] / area;
}
