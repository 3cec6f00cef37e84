// Paints views of the points that it was given; the page sends one view at a time.
import { Bins } from "./bin";
import { arrange, type Painted, type Scene, type Shade, type View } from "./renderer";

export type Asked =
  | { scene: Partial<Scene> } // what is not in it is as before
  | { shade: Shade }
  | { view: View; number: number; buffer: ArrayBuffer };
export interface Answered {
  number: number;
  buffer: ArrayBuffer;
  width: number;
  height: number;
  milliseconds: number;
}

const bins = new Bins();
const nothing = new Float32Array(0);
const scene: Scene = { x: nothing, y: nothing, values: null, rows: null, selected: null };
let shade: Shade | null = null;
let points: Painted | null = null;
let isShaded = false;

function paint(view: View, number: number, buffer: ArrayBuffer): void {
  const start = performance.now();
  const width = Math.round(view.width * view.ratio);
  const height = Math.round(view.height * view.ratio);
  const out = new Uint32Array(buffer.byteLength === 4 * width * height ? buffer : new ArrayBuffer(4 * width * height));
  points ??= arrange(scene);
  if (shade) {
    if (!isShaded) bins.shade(points, shade);
    isShaded = true;
    bins.paint(out, points, shade, view);
  }
  const answer: Answered = { number, buffer: out.buffer, width, height, milliseconds: performance.now() - start };
  postMessage(answer, { transfer: [out.buffer] });
}

onmessage = ({ data }: MessageEvent<Asked>) => {
  if ("scene" in data) {
    Object.assign(scene, data.scene);
    points = null;
    isShaded = false;
  } else if ("shade" in data) {
    shade = data.shade;
    isShaded = false;
  } else paint(data.view, data.number, data.buffer);
};
