// The map as a file to keep: title, points, all that is drawn over them, and the legend, on the ground of the present theme.
import type { Point } from "./geometry";
import { drawLegend, LEGEND_WIDTH, type LegendState } from "./legend";
import { AXIS_BOTTOM, AXIS_LEFT, drawOverlay, type Overlay } from "./overlay";
import { canvasPen, svgPen, type Part, type Pen } from "./pen";
import type { View } from "./renderer";
import type { Theme } from "./theme";

export interface Picture {
  title: string;
  subtitle: string;
  view: View;
  points: ImageBitmap;
  overlay: Overlay;
  legend: LegendState;
  theme: Theme;
}

const RATIO = 2;
const EDGE = 24;
const HEAD = 58;

function shifted(pen: Pen, dx: number, dy: number): Pen {
  return {
    path: (points, isClosed, ink) => pen.path(points.map(([x, y]): Point => [x + dx, y + dy]), isClosed, ink),
    circle: (x, y, radius, ink) => pen.circle(x + dx, y + dy, radius, ink),
    rect: (x, y, width, height, ink) => pen.rect(x + dx, y + dy, width, height, ink),
    text: (x, y, text, letters) => pen.text(x + dx, y + dy, text, letters),
    image: (part, x, y, width, height, opacity) => pen.image(part, x + dx, y + dy, width, height, opacity),
    clipped: (x, y, width, height, draw) => pen.clipped(x + dx, y + dy, width, height, draw),
  };
}

function layout({ overlay, view }: Picture): { left: number; width: number; height: number } {
  const left = EDGE + (overlay.axes ? AXIS_LEFT : 0);
  const below = EDGE + (overlay.axes ? AXIS_BOTTOM : 0);
  return { left, width: left + view.width + EDGE + LEGEND_WIDTH + EDGE, height: HEAD + Math.max(view.height, 380) + below };
}

function drawPicture(pen: Pen, picture: Picture): void {
  const { title, subtitle, view, points, overlay, legend, theme } = picture;
  const { left, width, height } = layout(picture);
  pen.rect(0, 0, width, height, { fill: theme.ground });
  pen.text(left, 30, title, { fill: theme.ink, size: 17, weight: 600 });
  pen.text(left, 48, subtitle, { fill: theme.quiet, size: 12 });
  const all = { source: points, x: 0, y: 0, width: points.width, height: points.height };
  pen.image(all, left, HEAD, view.width, view.height);
  drawOverlay(shifted(pen, left, HEAD), view, theme, { ...overlay, drawing: [] });
  drawLegend(pen, left + view.width + EDGE, HEAD, theme, legend);
}

/** A part of a bitmap as a data URL: PNG where it may be transparent, else JPEG. */
function dataUrl(part: Part, type: "image/png" | "image/jpeg"): string {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.round(part.width), Math.round(part.height)];
  canvas.getContext("2d")!.drawImage(part.source, part.x, part.y, part.width, part.height, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL(type, 0.92);
}

export function toSvg(picture: Picture): string {
  const { width, height } = layout(picture);
  const pen = svgPen(width, height, picture.title, (part) => dataUrl(part, part.source === picture.points ? "image/png" : "image/jpeg"));
  drawPicture(pen, picture);
  return pen.done();
}

export function toPng(picture: Picture): Promise<Blob> {
  const { width, height } = layout(picture);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width * RATIO, height * RATIO];
  const context = canvas.getContext("2d")!;
  context.scale(RATIO, RATIO);
  drawPicture(canvasPen(context), picture);
  return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture is too large for this browser")))));
}

export function download(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
