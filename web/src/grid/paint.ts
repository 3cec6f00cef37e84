// One frame of the wall on a canvas. Works in device pixels, so that an image of the right size is drawn pixel for pixel.
import { CAPTION_HEIGHT, CAPTIONED, cellsIn, gapOf, pitchOf, runOf, type Cells, type View, type Wall } from "./layout";
import type { Sheet } from "./tiles";

export interface Theme {
  ground: string;
  panel: string;
  raised: string;
  line: string;
  ink: string;
  quiet: string;
  accent: string;
  select: string;
  font: string;
}

/** A sheet that holds the images from `first` on, good up to `end`; `size` is that of its images. */
export interface Pick {
  sheet: Sheet | null;
  hasFailed: boolean;
  first: number;
  end: number;
}

export interface Scene {
  wall: Wall;
  view: View;
  dpr: number;
  now: number;
  native: number;
  shown: Uint32Array;
  theme: Theme;
  pick(index: number): Pick;
  colorOf: ((row: number) => string | null) | null;
  captionOf: ((row: number) => string) | null;
  marked: ReadonlySet<number>;
  cursor: number; // an index of the order, as is hover
  hasFocus: boolean;
  hover: number;
  box: { x: number; y: number; width: number; height: number } | null;
}

const FADE_TIME = 140;

interface Frame extends Scene {
  ctx: CanvasRenderingContext2D;
  cells: Cells;
  isFading: boolean;
}

/** Draw; say whether pictures are still fading in. */
export function paint(ctx: CanvasRenderingContext2D, scene: Scene): boolean {
  const frame: Frame = { ...scene, ctx, cells: cellsIn(scene.wall, scene.view), isFading: false };
  ctx.globalAlpha = 1;
  ctx.fillStyle = scene.theme.ground;
  ctx.fillRect(0, 0, ctx.canvas.width, ctx.canvas.height);
  for (let row = frame.cells.firstRow; row <= frame.cells.lastRow; row++) paintRow(frame, row);
  if (scene.colorOf || scene.marked.size > 0) eachCell(frame, paintSigns);
  if (scene.captionOf && scene.wall.isCaptioned && scene.wall.size >= CAPTIONED) paintCaptions(frame);
  if (scene.hover >= 0 && scene.wall.size >= 24) ring(frame, scene.hover, scene.theme.quiet, 1);
  if (scene.cursor >= 0) paintCursor(frame);
  if (scene.box) paintBox(frame);
  return frame.isFading;
}

/** Left, top, width and height of an image, whole device pixels. */
function boxOf(frame: Frame, index: number): [number, number, number, number] {
  const { wall, view, dpr } = frame;
  const pitch = pitchOf(wall);
  const cell = index + wall.shift;
  const left = Math.round(((cell % wall.columns) * pitch.x - view.x) * dpr);
  const top = Math.round((Math.floor(cell / wall.columns) * pitch.y - view.y) * dpr);
  // Specks touch: each goes on to where the next begins.
  if (gapOf(wall.size) === 0) {
    const right = Math.round((((cell % wall.columns) + 1) * pitch.x - view.x) * dpr);
    const bottom = Math.round(((Math.floor(cell / wall.columns) + 1) * pitch.y - view.y) * dpr);
    return [left, top, right - left, bottom - top];
  }
  return [left, top, Math.round(wall.size * wall.aspect * dpr), Math.round(wall.size * dpr)];
}

function paintRow(frame: Frame, row: number): void {
  const [start, end] = runOf(frame.wall, frame.cells, row);
  const isDense = gapOf(frame.wall.size) === 0;
  for (let index = start; index < end; ) {
    const pick = frame.pick(index);
    const stop = Math.min(end, pick.end);
    if (!pick.sheet) paintEmpty(frame, index, stop, pick.hasFailed);
    else if (isDense) paintRun(frame, pick, index, stop);
    else for (let each = index; each < stop; each++) paintImages(frame, pick, each, each + 1);
    index = stop;
  }
}

/** A run of specks, as few calls as the sheet has rows in it. */
function paintRun(frame: Frame, pick: Pick, start: number, end: number): void {
  const { columns } = pick.sheet!;
  for (let index = start; index < end; ) {
    const stop = Math.min(end, pick.first + (Math.floor((index - pick.first) / columns) + 1) * columns);
    paintImages(frame, pick, index, stop);
    index = stop;
  }
}

function paintImages(frame: Frame, pick: Pick, start: number, end: number): void {
  const { ctx, wall, dpr, native } = frame;
  const sheet = pick.sheet!;
  const width = sheet.bitmap.width / sheet.columns;
  const height = sheet.bitmap.height / sheet.rows;
  const [left, top, , tall] = boxOf(frame, start);
  const [lastLeft, , lastWidth] = boxOf(frame, end - 1);
  const wide = lastLeft + lastWidth - left;
  const place = start - pick.first;
  const isAsStored = height >= native && wall.size * dpr > 3 * native;
  ctx.imageSmoothingEnabled = tall !== height && !isAsStored;
  // Two pixels into one is what linear sampling does well; more than that wants the slower way.
  ctx.imageSmoothingQuality = tall < height / 2 ? "medium" : "low";
  const age = sheet.since === 0 ? FADE_TIME : frame.now - sheet.since;
  if (age < FADE_TIME) {
    frame.isFading = true;
    paintEmpty(frame, start, end, false);
    ctx.globalAlpha = Math.max(0, age / FADE_TIME);
  }
  ctx.drawImage(sheet.bitmap, (place % sheet.columns) * width, Math.floor(place / sheet.columns) * height, (end - start) * width, height, left, top, wide, tall);
  ctx.globalAlpha = 1;
}

function paintEmpty(frame: Frame, start: number, end: number, hasFailed: boolean): void {
  const { ctx, wall, theme } = frame;
  ctx.fillStyle = theme.panel;
  if (gapOf(wall.size) === 0) {
    const [left, top, , tall] = boxOf(frame, start);
    const [lastLeft, , lastWidth] = boxOf(frame, end - 1);
    ctx.fillRect(left, top, lastLeft + lastWidth - left, tall);
  }
  for (let index = start; index < end; index++) {
    const box = boxOf(frame, index);
    if (gapOf(wall.size) > 0) ctx.fillRect(...box);
    if (hasFailed && wall.size >= 16) failure(frame, box);
  }
}

/** A quiet cross where a picture could not be had. */
function failure(frame: Frame, [left, top, width, height]: [number, number, number, number]): void {
  const { ctx, theme, dpr } = frame;
  const arm = Math.min(height / 8, 7 * dpr);
  const [x, y] = [left + width / 2, top + height / 2];
  ctx.strokeStyle = theme.quiet;
  ctx.lineWidth = dpr;
  ctx.beginPath();
  ctx.moveTo(x - arm, y - arm);
  ctx.lineTo(x + arm, y + arm);
  ctx.moveTo(x + arm, y - arm);
  ctx.lineTo(x - arm, y + arm);
  ctx.stroke();
}

function eachCell(frame: Frame, draw: (frame: Frame, index: number) => void): void {
  for (let row = frame.cells.firstRow; row <= frame.cells.lastRow; row++) {
    const [start, end] = runOf(frame.wall, frame.cells, row);
    for (let index = start; index < end; index++) draw(frame, index);
  }
}

/** A border within the image, its corner filled: what a person said of it; and the sign of what is marked. */
function paintSigns(frame: Frame, index: number): void {
  const row = frame.shown[index]!;
  const color = frame.colorOf?.(row) ?? null;
  const isMarked = frame.marked.has(row);
  if (color === null && !isMarked) return;
  const { ctx, dpr, theme } = frame;
  const [left, top, width, height] = boxOf(frame, index);
  if (color !== null && frame.wall.size < 16) {
    // A border would cover a speck: its corner alone.
    const chip = Math.max(2, Math.round(height * 0.4));
    ctx.fillStyle = color;
    ctx.fillRect(left + width - chip, top, chip, chip);
  } else if (color !== null) {
    const thick = Math.max(1, Math.round(Math.min(3, frame.wall.size / 20) * dpr));
    border(ctx, left, top, width, height, thick, color);
    const chip = Math.round(Math.min(14 * dpr, height * 0.34));
    ctx.beginPath();
    ctx.moveTo(left + width, top);
    ctx.lineTo(left + width, top + chip);
    ctx.lineTo(left + width - chip, top);
    ctx.fill();
  }
  if (!isMarked) return;
  if (frame.wall.size >= 20) {
    // No tint: colors of galaxies are data.
    ring(frame, index, theme.select, Math.min(2, gapOf(frame.wall.size) + 0.5));
    paintTick(frame, left, top, height);
    return;
  }
  ctx.globalAlpha = 0.55;
  ctx.fillStyle = theme.select;
  ctx.fillRect(left, top, width, height);
  ctx.globalAlpha = 1;
}

/** A disk with a tick in the upper left corner. */
function paintTick(frame: Frame, left: number, top: number, height: number): void {
  const { ctx, dpr, theme } = frame;
  const radius = Math.min(9 * dpr, height * 0.2);
  const [x, y] = [left + radius * 1.5, top + radius * 1.5];
  ctx.fillStyle = theme.select;
  ctx.strokeStyle = theme.ground;
  ctx.lineWidth = Math.max(1, radius / 4.5);
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, 2 * Math.PI);
  ctx.fill();
  ctx.stroke();
  ctx.beginPath();
  ctx.moveTo(x - radius * 0.45, y + radius * 0.02);
  ctx.lineTo(x - radius * 0.1, y + radius * 0.38);
  ctx.lineTo(x + radius * 0.5, y - radius * 0.35);
  ctx.stroke();
}

function border(ctx: CanvasRenderingContext2D, left: number, top: number, width: number, height: number, thick: number, color: string): void {
  ctx.fillStyle = color;
  ctx.fillRect(left, top, width, thick);
  ctx.fillRect(left, top + height - thick, width, thick);
  ctx.fillRect(left, top + thick, thick, height - 2 * thick);
  ctx.fillRect(left + width - thick, top + thick, thick, height - 2 * thick);
}

/** A border around the image, outside of it. */
function ring(frame: Frame, index: number, color: string, thick: number): void {
  const [left, top, width, height] = boxOf(frame, index);
  const out = Math.round(thick * frame.dpr);
  border(frame.ctx, left - out, top - out, width + 2 * out, height + 2 * out, out, color);
}

/** Seen on any image: the accent between two lines of the ground. */
function paintCursor(frame: Frame): void {
  const [left, top, width, height] = boxOf(frame, frame.cursor);
  const line = Math.round((frame.wall.size < 20 ? 2 : 3) * frame.dpr);
  const thin = Math.max(1, Math.round(frame.dpr));
  const out = line + thin;
  border(frame.ctx, left - out, top - out, width + 2 * out, height + 2 * out, thin, frame.theme.ground);
  border(frame.ctx, left, top, width, height, thin, frame.theme.ground);
  ring(frame, frame.cursor, frame.hasFocus ? frame.theme.accent : frame.theme.quiet, line / frame.dpr);
}

const clipped = new Map<string, string>();

/** As much of a text as fits, measured once. */
function clip(ctx: CanvasRenderingContext2D, text: string, width: number): string {
  const key = `${ctx.font} ${Math.floor(width)} ${text}`;
  let fits = clipped.get(key);
  if (fits !== undefined) return fits;
  if (clipped.size > 20_000) clipped.clear();
  fits = text;
  while (fits.length > 1 && ctx.measureText(fits === text ? text : `${fits}…`).width > width) fits = fits.slice(0, Math.max(1, fits.length - 1));
  if (fits !== text) fits = `${fits.trimEnd()}…`;
  clipped.set(key, fits);
  return fits;
}

function paintCaptions(frame: Frame): void {
  const { ctx, dpr, theme } = frame;
  ctx.font = `${11.5 * dpr}px ${theme.font}`;
  ctx.textBaseline = "middle";
  ctx.fillStyle = theme.quiet;
  eachCell(frame, (_, index) => {
    const text = frame.captionOf!(frame.shown[index]!);
    if (!text) return;
    const [left, top, width, height] = boxOf(frame, index);
    ctx.fillText(clip(ctx, text, width - 4 * dpr), left + 2 * dpr, top + height + ((CAPTION_HEIGHT + 2) / 2) * dpr);
  });
}

function paintBox(frame: Frame): void {
  const { ctx, dpr, theme, box } = frame;
  const [left, top, width, height] = [box!.x, box!.y, box!.width, box!.height].map((each) => Math.round(each * dpr)) as [number, number, number, number];
  ctx.globalAlpha = 0.16;
  ctx.fillStyle = theme.select;
  ctx.fillRect(left, top, width, height);
  ctx.globalAlpha = 1;
  border(ctx, left, top, width, height, Math.max(1, Math.round(dpr)), theme.select);
}

/** The page's colors as the canvas wants them. */
export function readTheme(element: Element): Theme {
  const style = getComputedStyle(element);
  const of = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    ground: of("ground"),
    panel: of("panel"),
    raised: of("raised"),
    line: of("line"),
    ink: of("ink"),
    quiet: of("quiet"),
    accent: of("accent"),
    select: of("select"),
    font: style.fontFamily,
  };
}
