// All that is drawn over the points: axes, images in place of points, rings, the object in focus, a selection being drawn.
import { inView, ticks, toScreen } from "./camera";
import type { Point } from "./geometry";
import type { Part, Pen } from "./pen";
import { written } from "./range";
import type { View } from "./renderer";
import type { Theme } from "./theme";

export interface Axes {
  x: string;
  y: string;
}

export interface Ring {
  row: number;
  x: number;
  y: number;
  color: string; // empty: the ring alone
  opacity: number;
}

export interface Thumbnail {
  row: number;
  x: number; // data coordinates
  y: number;
  part: Part;
  color: string; // of its point, which it covers
  opacity: number;
  isSelected: boolean;
}

export interface Overlay {
  axes: Axes | null;
  rings: Ring[];
  thumbnails: { side: number; of: Thumbnail[] } | null;
  focus: { x: number; y: number } | null;
  drawing: Point[]; // CSS pixels
  isBox: boolean;
}

export const AXIS_LEFT = 62;
export const AXIS_BOTTOM = 42;

const SMALL = 11;

/** Axes at the left and below a map that begins at (0, 0) of the pen. */
function drawAxes(pen: Pen, view: View, theme: Theme, axes: Axes): void {
  const { left, right, bottom, top } = inView(view.camera, view.width, view.height);
  pen.path([[0, 0], [0, view.height], [view.width, view.height]], false, { stroke: theme.quiet });
  for (const x of ticks(left, right, Math.max(2, view.width / 110))) {
    const [px] = toScreen(view.camera, view.width, view.height, x, 0);
    pen.path([[px, view.height], [px, view.height + 5]], false, { stroke: theme.quiet });
    pen.text(px, view.height + 17, written(x, (right - left) / 10), { fill: theme.quiet, size: SMALL, anchor: "middle" });
  }
  for (const y of ticks(bottom, top, Math.max(2, view.height / 80))) {
    const [, py] = toScreen(view.camera, view.width, view.height, 0, y);
    pen.path([[-5, py], [0, py]], false, { stroke: theme.quiet });
    pen.text(-8, py + 4, written(y, (top - bottom) / 10), { fill: theme.quiet, size: SMALL, anchor: "end" });
  }
  pen.text(view.width / 2, view.height + 35, axes.x, { fill: theme.ink, size: 12.5, anchor: "middle" });
  pen.text(-AXIS_LEFT + 14, view.height / 2, axes.y, { fill: theme.ink, size: 12.5, anchor: "middle", turn: -90 });
}

/** The first of the order as points with a thin ring, above all other points. */
function drawRings(pen: Pen, view: View, theme: Theme, rings: Ring[]): void {
  for (const { x, y, color, opacity } of rings.toReversed()) {
    const [px, py] = toScreen(view.camera, view.width, view.height, x, y);
    if (px < -20 || py < -20 || px > view.width + 20 || py > view.height + 20) continue;
    if (color) pen.circle(px, py, view.size / 2 + 0.6, { fill: color, opacity });
    pen.circle(px, py, view.size / 2 + 3.2, { stroke: theme.ink, width: 1, opacity: 0.65 * opacity });
  }
}

/** Images over their points; what is among the first of the order has a frame for a ring. */
function drawThumbnails(pen: Pen, view: View, theme: Theme, { side, of }: { side: number; of: Thumbnail[] }, rings: Ring[]): void {
  const first = new Set(rings.map((ring) => ring.row));
  for (const { row, x, y, part, color, opacity, isSelected } of of) {
    const [px, py] = toScreen(view.camera, view.width, view.height, x, y);
    const wide = (side * part.width) / part.height;
    const frame = first.has(row) ? { stroke: theme.accent, width: 1.5 } : { stroke: theme.line };
    pen.rect(px - wide / 2, py - side / 2, wide, side, { fill: theme.ground, opacity });
    pen.image(part, px - wide / 2, py - side / 2, wide, side, isSelected ? opacity : 0.35 * opacity);
    pen.rect(px - wide / 2, py - side / 2, wide, side, { ...frame, opacity });
    if (color) pen.rect(px - wide / 2, py + side / 2 - 2.5, wide, 2.5, { fill: color, opacity: isSelected ? opacity : 0.35 * opacity });
  }
}

function drawFocus(pen: Pen, view: View, theme: Theme, { x, y }: { x: number; y: number }, side: number): void {
  const [px, py] = toScreen(view.camera, view.width, view.height, x, y);
  const radius = side ? (side / 2) * Math.SQRT2 + 4 : Math.max(9, view.size + 5);
  for (const [stroke, width] of [[theme.ground, 5], [theme.select, 2]] as const) {
    pen.circle(px, py, radius, { stroke, width });
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      pen.path([[px + dx * (radius - 3), py + dy * (radius - 3)], [px + dx * (radius + 9), py + dy * (radius + 9)]], false, { stroke, width });
    }
  }
}

export function drawOverlay(pen: Pen, view: View, theme: Theme, overlay: Overlay): void {
  if (overlay.axes) drawAxes(pen, view, theme, overlay.axes);
  pen.clipped(0, 0, view.width, view.height, () => {
    drawRings(pen, view, theme, overlay.rings);
    if (overlay.thumbnails) drawThumbnails(pen, view, theme, overlay.thumbnails, overlay.rings);
    if (overlay.focus) drawFocus(pen, view, theme, overlay.focus, overlay.thumbnails?.side ?? 0);
    if (overlay.drawing.length > 1) {
      pen.path(overlay.drawing, true, { fill: theme.select, opacity: 0.12 });
      pen.path(overlay.drawing, true, { stroke: theme.select, width: 1.5, dash: overlay.isBox ? undefined : "5 4" });
    }
  });
}
