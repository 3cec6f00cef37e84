// Where images lie. A wall is cells in reading order; a view is a window on it. All in CSS pixels, nothing of the browser.

export const SMALLEST = 8; // pixels of a speck
export const CAPTIONED = 96; // from this size on a line of text stands under an image
export const CAPTION_HEIGHT = 18;
const FOOT = 10; // pixels left free below the last row

export interface Wall {
  n: number;
  columns: number;
  shift: number; // empty cells before the first image: a wall that is folded anew keeps one image in its place
  size: number; // height of an image
  aspect: number; // its width by its height: 3 for the triple
  isCaptioned: boolean;
}

export interface View {
  x: number; // of the wall, at the left edge of the view
  y: number;
  width: number;
  height: number;
}

export interface Cells {
  firstRow: number;
  lastRow: number; // inclusive; less than the first where nothing is in view
  firstColumn: number;
  lastColumn: number;
}

/** Nothing between specks, up to 4 pixels between large images. */
export function gapOf(size: number): number {
  return Math.min(4, Math.max(0, Math.round((size - 16) / 28)));
}

export function pitchOf(wall: Wall): { x: number; y: number } {
  const gap = gapOf(wall.size);
  const caption = wall.isCaptioned && wall.size >= CAPTIONED ? CAPTION_HEIGHT : 0;
  return { x: wall.size * wall.aspect + gap, y: wall.size + gap + caption };
}

export function rowsOf(wall: Wall): number {
  return wall.n === 0 ? 0 : Math.ceil((wall.n + wall.shift) / wall.columns);
}

export function extentOf(wall: Wall): { width: number; height: number } {
  const pitch = pitchOf(wall);
  const gap = gapOf(wall.size);
  return { width: wall.columns * pitch.x - gap, height: Math.max(0, rowsOf(wall) * pitch.y - gap) };
}

/** As many columns as fit, one at least. */
export function columnsFor(width: number, wall: Pick<Wall, "size" | "aspect">): number {
  const gap = gapOf(wall.size);
  return Math.max(1, Math.floor((width + gap) / (wall.size * wall.aspect + gap)));
}

export function placeOf(wall: Wall, index: number): { x: number; y: number } {
  const pitch = pitchOf(wall);
  const cell = index + wall.shift;
  return { x: (cell % wall.columns) * pitch.x, y: Math.floor(cell / wall.columns) * pitch.y };
}

/** The image at a point of the wall, -1 where there is none. */
export function indexAt(wall: Wall, x: number, y: number): number {
  const pitch = pitchOf(wall);
  const column = Math.floor(x / pitch.x);
  const row = Math.floor(y / pitch.y);
  if (column < 0 || column >= wall.columns || row < 0) return -1;
  const index = row * wall.columns + column - wall.shift;
  return index >= 0 && index < wall.n ? index : -1;
}

export function cellsIn(wall: Wall, view: View): Cells {
  const pitch = pitchOf(wall);
  return {
    firstRow: Math.max(0, Math.floor(view.y / pitch.y)),
    lastRow: Math.min(rowsOf(wall) - 1, Math.ceil((view.y + view.height) / pitch.y) - 1),
    firstColumn: Math.max(0, Math.floor(view.x / pitch.x)),
    lastColumn: Math.min(wall.columns - 1, Math.ceil((view.x + view.width) / pitch.x) - 1),
  };
}

/** Images of one row of cells, first and one past the last; equal where there are none. */
export function runOf(wall: Wall, cells: Cells, row: number): [number, number] {
  const start = row * wall.columns - wall.shift;
  const first = Math.min(wall.n, Math.max(0, start + cells.firstColumn));
  return [first, Math.max(first, Math.min(wall.n, start + cells.lastColumn + 1))];
}

/** First and last image in view, -1 where there is none. */
export function rangeIn(wall: Wall, view: View): [number, number] {
  const cells = cellsIn(wall, view);
  if (wall.n === 0 || cells.lastRow < cells.firstRow || cells.lastColumn < cells.firstColumn) return [-1, -1];
  const last = runOf(wall, cells, cells.lastRow)[1] - 1;
  return [Math.min(runOf(wall, cells, cells.firstRow)[0], last), last];
}

export interface Bounds {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

/** How far a view may go. A narrow wall stands in the middle; beside one that is looked at closely there is room to center a cell. */
export function boundsOf(wall: Wall, view: View): Bounds {
  const extent = extentOf(wall);
  const pitch = pitchOf(wall);
  const room = (viewed: number, cell: number) => (cell > viewed / 2 ? Math.max(0, (viewed - cell) / 2) : 0);
  const middle = (extent.width - view.width) / 2;
  const side = room(view.width, pitch.x);
  // A gap above the first row too: the cursor's ring is drawn in it.
  const over = Math.max(gapOf(wall.size), room(view.height, pitch.y));
  return {
    left: middle <= 0 ? middle : 0 - side,
    right: middle <= 0 ? middle : extent.width - view.width + side,
    top: 0 - over,
    bottom: Math.max(0 - over, extent.height - view.height + Math.max(over, FOOT)),
  };
}

/** A wall at another size, and where the view stands so that the point of the wall at `at` (in the view) stays there. */
export function zoomed(wall: Wall, view: View, size: number, at: { x: number; y: number }): { wall: Wall; view: View } {
  const before = pitchOf(wall);
  const next = { ...wall, size };
  const after = pitchOf(next);
  const x = ((view.x + at.x) / before.x) * after.x - at.x;
  const y = ((view.y + at.y) / before.y) * after.y - at.y;
  return { wall: next, view: { ...view, x, y } };
}

/** The wall folded to the view's width, `index` at the same height; in the same column too where `column` is given. */
export function folded(wall: Wall, view: View, index: number, atY: number, column = -1): { wall: Wall; view: View } {
  const columns = columnsFor(view.width, wall);
  const place = (shift: number) => {
    const next = { ...wall, columns, shift };
    return { wall: next, view: { ...view, y: placeOf(next, Math.max(0, index)).y - atY } };
  };
  const plain = place(0);
  // Near the top no cells are left empty: the view could not keep the image's height there in any case.
  if (column < 0 || plain.view.y <= view.height) return plain;
  return place((((column - index) % columns) + columns) % columns);
}

/** Images whose cells a rectangle of the wall touches. */
export function indicesIn(wall: Wall, box: View): number[] {
  const cells = cellsIn(wall, box);
  const found: number[] = [];
  for (let row = cells.firstRow; row <= cells.lastRow; row++) {
    const [first, end] = runOf(wall, cells, row);
    for (let index = first; index < end; index++) found.push(index);
  }
  return found;
}
