// One way to draw on the screen and into a file: a pen on a canvas, and a pen that writes SVG.
import type { Point } from "./geometry";

export interface Ink {
  fill?: string;
  stroke?: string;
  width?: number;
  dash?: string; // "4 3"
  opacity?: number;
}

export interface Letters {
  fill: string;
  size: number;
  anchor?: "start" | "middle" | "end";
  weight?: number;
  turn?: number; // degrees
  halo?: string; // a ground around the letters
}

export interface Part {
  source: ImageBitmap;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Pen {
  path(points: Point[], isClosed: boolean, ink: Ink): void;
  circle(x: number, y: number, radius: number, ink: Ink): void;
  rect(x: number, y: number, width: number, height: number, ink: Ink): void;
  text(x: number, y: number, text: string, letters: Letters): void;
  image(part: Part, x: number, y: number, width: number, height: number, opacity?: number): void;
  /** Nothing that `draw` draws is seen outside a rectangle. */
  clipped(x: number, y: number, width: number, height: number, draw: () => void): void;
}

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';

export function canvasPen(context: CanvasRenderingContext2D): Pen {
  function paint({ fill, stroke, width = 1, dash, opacity = 1 }: Ink): void {
    context.globalAlpha = opacity;
    if (fill) {
      context.fillStyle = fill;
      context.fill();
    }
    if (stroke) {
      context.strokeStyle = stroke;
      context.lineWidth = width;
      context.setLineDash(dash ? dash.split(" ").map(Number) : []);
      context.stroke();
    }
    context.globalAlpha = 1;
  }
  return {
    path(points, isClosed, ink) {
      context.beginPath();
      points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
      if (isClosed) context.closePath();
      paint(ink);
    },
    circle(x, y, radius, ink) {
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      paint(ink);
    },
    rect(x, y, width, height, ink) {
      context.beginPath();
      context.rect(x, y, width, height);
      paint(ink);
    },
    text(x, y, text, { fill, size, anchor = "start", weight = 400, turn = 0, halo }) {
      context.save();
      context.translate(x, y);
      context.rotate((turn * Math.PI) / 180);
      context.font = `${weight} ${size}px ${FONT}`;
      context.textAlign = anchor === "middle" ? "center" : anchor;
      if (halo) {
        [context.strokeStyle, context.lineWidth, context.lineJoin] = [halo, 3, "round"];
        context.strokeText(text, 0, 0);
      }
      context.fillStyle = fill;
      context.fillText(text, 0, 0);
      context.restore();
    },
    image(part, x, y, width, height, opacity = 1) {
      context.globalAlpha = opacity;
      context.imageSmoothingQuality = "high";
      context.drawImage(part.source, part.x, part.y, part.width, part.height, x, y, width, height);
      context.globalAlpha = 1;
    },
    clipped(x, y, width, height, draw) {
      context.save();
      context.beginPath();
      context.rect(x, y, width, height);
      context.clip();
      draw();
      context.restore();
    },
  };
}

export function escaped(text: string): string {
  // Control characters are not allowed in XML at all.
  // eslint-disable-next-line no-control-regex
  const allowed = text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "");
  return allowed.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

const short = (value: number) => String(Math.round(value * 100) / 100);

/** A pen whose `done` is a standalone SVG; `toUrl` turns a part of a bitmap into a data URL. */
export function svgPen(width: number, height: number, title: string, toUrl: (part: Part) => string): Pen & { done(): string } {
  const lines: string[] = [];
  let nClips = 0;
  function inked({ fill, stroke, width = 1, dash, opacity }: Ink): string {
    let said = ` fill="${escaped(fill ?? "none")}"`;
    if (stroke) said += ` stroke="${escaped(stroke)}" stroke-width="${short(width)}"`;
    if (stroke && dash) said += ` stroke-dasharray="${escaped(dash)}"`;
    return opacity === undefined ? said : `${said} opacity="${short(opacity)}"`;
  }
  return {
    path(points, isClosed, ink) {
      const steps = points.map(([x, y], i) => `${i ? "L" : "M"}${short(x)} ${short(y)}`).join("");
      lines.push(`<path d="${steps}${isClosed ? "Z" : ""}"${inked(ink)}/>`);
    },
    circle: (x, y, radius, ink) => void lines.push(`<circle cx="${short(x)}" cy="${short(y)}" r="${short(radius)}"${inked(ink)}/>`),
    rect: (x, y, wide, high, ink) =>
      void lines.push(`<rect x="${short(x)}" y="${short(y)}" width="${short(wide)}" height="${short(high)}"${inked(ink)}/>`),
    text(x, y, text, { fill, size, anchor = "start", weight = 400, turn = 0, halo }) {
      const around = halo ? ` stroke="${escaped(halo)}" stroke-width="3" stroke-linejoin="round" paint-order="stroke"` : "";
      const turned = turn ? ` transform="rotate(${turn} ${short(x)} ${short(y)})"` : "";
      const type = ` font-size="${size}" font-weight="${weight}" text-anchor="${anchor}" fill="${escaped(fill)}"`;
      lines.push(`<text x="${short(x)}" y="${short(y)}"${type}${around}${turned}>${escaped(text)}</text>`);
    },
    image(part, x, y, wide, high, opacity) {
      const place = `x="${short(x)}" y="${short(y)}" width="${short(wide)}" height="${short(high)}"`;
      lines.push(`<image ${place} preserveAspectRatio="none"${opacity === undefined ? "" : ` opacity="${short(opacity)}"`} href="${toUrl(part)}"/>`);
    },
    clipped(x, y, wide, high, draw) {
      const name = `clip${++nClips}`;
      lines.push(`<clipPath id="${name}"><rect x="${short(x)}" y="${short(y)}" width="${short(wide)}" height="${short(high)}"/></clipPath><g clip-path="url(#${name})">`);
      draw();
      lines.push("</g>");
    },
    done: () =>
      `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="${escaped(FONT)}">` +
      `<title>${escaped(title)}</title>\n${lines.join("\n")}\n</svg>\n`,
  };
}
