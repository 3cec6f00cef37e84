// Points into pixels without a graphics card: one pass over the points, one over the pixels, nothing allocated from frame to frame.
import { fullCount, type Painted, type Shade, type View } from "./renderer";

const BORDER = 16; // pixels around the picture, so that a point's disc needs no test of the edge
const GRAY = 257; // the color of points without a value; 0 is no point, 1 to 256 are the palette

const SMALLEST_DISC = 1.6; // device pixels: what is smaller is one pixel
const PHASES = 4; // a disc is drawn for each quarter of a pixel that its middle can stand at, in x and in y

/** Pixels of a point, its own first, phase after phase, and how near to the edge of the layers it can stand. */
interface Disc {
  starts: Int32Array; // of each phase in the other two
  steps: Int32Array;
  covers: Uint8Array; // 0 to 255
  parts: Float32Array; // the same, 0 to 1
  edge: number;
}

/** Layers of one frame, made again only when it grows. */
export class Bins {
  private width = 0; // with borders
  private height = 0;
  private color = new Uint16Array(0);
  private cover = new Uint8Array(0);
  private sums = new Float32Array(0); // of each pixel the weight of its points, and their values by weight: side by side, they share a line of cache
  private colors = new Uint16Array(0); // of each point
  private table = new Uint32Array(258); // ABGR without alpha

  /** Numbers in the palette of all points; to be called when points or shade changed. */
  shade(points: Painted, shade: Shade): void {
    if (this.colors.length < points.n) this.colors = new Uint16Array(points.n);
    const scale = 255 / (shade.high - shade.low || 1);
    for (let i = 0; i < points.n; i++) {
      const at = (points.values[i] - shade.low) * scale;
      this.colors[i] = at !== at ? GRAY : at <= 0 ? 1 : at >= 255 ? 256 : 1 + ((at + 0.5) | 0);
    }
    const { palette, without } = shade;
    for (let i = 0; i < 256; i++) this.table[i + 1] = palette[4 * i] | (palette[4 * i + 1] << 8) | (palette[4 * i + 2] << 16);
    this.table[GRAY] = without[0] | (without[1] << 8) | (without[2] << 16);
  }

  /** Paint a frame into `out`, one ABGR number a pixel, width x height x ratio of them. */
  paint(out: Uint32Array, points: Painted, shade: Shade, view: View): void {
    const width = Math.round(view.width * view.ratio);
    const height = Math.round(view.height * view.ratio);
    this.fit(width + 2 * BORDER, height + 2 * BORDER);
    out.fill(0);
    for (const [from, to, opacity] of [
      [0, points.nBelow, shade.dimmed],
      [points.nBelow, points.n, 1],
    ]) {
      if (to === from) continue;
      this.clear(shade);
      const disc = this.discOf(view.size * view.ratio);
      if (shade.overlap === "highest") this.stamp(points, view, from, to, disc);
      else this.add(points, shade, view, from, to, disc);
      if (shade.overlap === "highest") this.resolveHighest(out, width, height, opacity);
      else this.resolveSums(out, width, height, opacity, shade, fullCount(shade, view));
    }
  }

  private fit(width: number, height: number): void {
    this.width = width;
    this.height = height;
    if (this.color.length >= width * height) return;
    this.color = new Uint16Array(width * height);
    this.cover = new Uint8Array(width * height);
    this.sums = new Float32Array(2 * width * height);
  }

  private clear(shade: Shade): void {
    this.cover.fill(0);
    if (shade.overlap === "highest") this.color.fill(0);
    else this.sums.fill(0);
  }

  /** Steps from the middle pixel of a disc to its others, and how much of each it covers, 0 to 255. */
  private discOf(diameter: number): Disc {
    const radius = Math.min(BORDER - 3, diameter / 2);
    const reach = Math.ceil(radius + 1);
    const starts: number[] = [0];
    const steps: number[] = [];
    const covers: number[] = [];
    for (let phase = 0; phase < PHASES * PHASES; phase++) {
      const x = ((phase % PHASES) + 0.5) / PHASES - 0.5;
      const y = (Math.floor(phase / PHASES) + 0.5) / PHASES - 0.5;
      steps.push(0);
      covers.push(255);
      for (let dy = -reach; dy <= reach; dy++) {
        for (let dx = -reach; dx <= reach; dx++) {
          const cover = Math.min(1, radius + 0.5 - Math.hypot(dx - x, dy - y));
          if ((dx === 0 && dy === 0) || diameter < SMALLEST_DISC || cover < (diameter < 4 ? 0.3 : 0.15)) continue; // fainter edges cost more than they show
          steps.push(dy * this.width + dx);
          covers.push(Math.round(255 * cover));
        }
      }
      starts.push(steps.length);
    }
    return { starts: Int32Array.from(starts), steps: Int32Array.from(steps), covers: Uint8Array.from(covers), parts: Float32Array.from(covers, (cover) => cover / 255), edge: BORDER - reach };
  }

  /** Where data coordinates fall: pixel = x * scale + shift, in a picture with borders. */
  private placing({ camera, width, height, ratio }: View): [number, number, number, number] {
    const kx = camera.kx * ratio;
    const ky = -camera.ky * ratio;
    return [kx, (width * ratio) / 2 - camera.x * kx + BORDER, ky, (height * ratio) / 2 - camera.y * ky + BORDER];
  }

  private stamp(points: Painted, view: View, from: number, to: number, { starts, steps, covers, edge }: Disc): void {
    const [kx, shiftX, ky, shiftY] = this.placing(view);
    const { x, y } = points;
    const { color, cover, colors, width } = this;
    const [right, bottom] = [width - edge, this.height - edge];
    for (let i = from; i < to; i++) {
      const px = x[i] * kx + shiftX;
      const py = y[i] * ky + shiftY;
      if (!(px >= edge && px < right && py >= edge && py < bottom)) continue;
      const ix = px | 0;
      const iy = py | 0;
      const pixel = iy * width + ix;
      const own = colors[i];
      color[pixel] = own;
      cover[pixel] = 255;
      const phase = PHASES * (((py - iy) * PHASES) | 0) + (((px - ix) * PHASES) | 0);
      for (let s = starts[phase] + 1; s < starts[phase + 1]; s++) {
        const at = pixel + steps[s];
        const part = covers[s];
        if (part >= 128 || cover[at] === 0) color[at] = own; // a faint edge does not paint over another point
        if (part > cover[at]) cover[at] = part;
      }
    }
  }

  private add(points: Painted, shade: Shade, view: View, from: number, to: number, { starts, steps, parts, edge }: Disc): void {
    const [kx, shiftX, ky, shiftY] = this.placing(view);
    const { x, y, values } = points;
    const { sums, cover, width } = this;
    const [right, bottom] = [width - edge, this.height - edge];
    const isMean = shade.overlap === "mean";
    for (let i = from; i < to; i++) {
      const px = x[i] * kx + shiftX;
      const py = y[i] * ky + shiftY;
      if (!(px >= edge && px < right && py >= edge && py < bottom)) continue;
      const ix = px | 0;
      const iy = py | 0;
      const pixel = iy * width + ix;
      const value = isMean ? values[i] : 0;
      const phase = PHASES * (((py - iy) * PHASES) | 0) + (((px - ix) * PHASES) | 0);
      const end = starts[phase + 1];
      if (value !== value) for (let s = starts[phase]; s < end; s++) cover[pixel + steps[s]] = Math.max(cover[pixel + steps[s]], 255 * parts[s]);
      else {
        for (let s = starts[phase]; s < end; s++) {
          const at = 2 * (pixel + steps[s]);
          const part = parts[s];
          sums[at] += part;
          sums[at + 1] += part * value;
        }
      }
    }
  }

  private resolveHighest(out: Uint32Array, width: number, height: number, opacity: number): void {
    for (let line = 0; line < height; line++) {
      let from = (line + BORDER) * this.width + BORDER;
      const start = line * width;
      for (let to = start; to < start + width; to++, from++) {
        const own = this.color[from];
        if (own === 0) continue;
        const alpha = (this.cover[from] * opacity) | 0;
        if (alpha >= out[to] >>> 24) out[to] = this.table[own] | (alpha << 24);
      }
    }
  }

  private resolveSums(out: Uint32Array, width: number, height: number, opacity: number, shade: Shade, full: number): void {
    const isMean = shade.overlap === "mean";
    const scale = isMean ? 255 / (shade.high - shade.low || 1) : 255 / Math.log1p(full);
    for (let line = 0; line < height; line++) {
      let from = (line + BORDER) * this.width + BORDER;
      const start = line * width;
      for (let to = start; to < start + width; to++, from++) {
        const weight = this.sums[2 * from];
        let own = GRAY;
        let alpha = this.cover[from];
        if (weight > 0) {
          const at = isMean ? (this.sums[2 * from + 1] / weight - shade.low) * scale : Math.log1p(weight) * scale;
          own = at <= 0 ? 1 : at >= 255 ? 256 : 1 + ((at + 0.5) | 0);
          alpha = Math.max(alpha, Math.min(255, weight * 255));
        }
        alpha = (alpha * opacity) | 0;
        if (alpha > 0 && alpha >= out[to] >>> 24) out[to] = this.table[own] | (alpha << 24);
      }
    }
  }
}
