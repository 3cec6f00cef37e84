// The renderer without a graphics card: a worker paints, the page puts the pixels on its canvas.
import type { Answered, Asked } from "./cpu.worker";
import PaintWorker from "./cpu.worker?worker";
import type { Renderer, Scene, Shade, View } from "./renderer";

const MOST_MOVING = 40; // milliseconds a frame that a moving map may take
const REST = 120; // milliseconds after which it is at rest

/** A renderer on a canvas; `onFrame` hears which view has come to the screen. */
export function cpuRenderer(canvas: HTMLCanvasElement, onFrame: (view: View) => void): Renderer {
  const worker = new PaintWorker();
  const context = canvas.getContext("2d")!;
  const pictures = new Map<number, (answer: Answered) => void>();
  const sent: Partial<Scene> = {};
  let spare = new ArrayBuffer(0); // goes to the worker and comes back, so that no frame makes its own
  let shown: View | null = null;
  let painting: View | null = null; // what the worker is at
  let wanted: View | null = null; // what comes next: older ones are forgotten
  let number = 0;
  let milliseconds = 0;
  let costAPixel = 0; // milliseconds a device pixel of the last frame
  let resting = 0;

  const ask = (asked: Asked, transfer: Transferable[] = []) => worker.postMessage(asked, transfer);

  function next(): void {
    if (painting || !wanted) return;
    painting = wanted;
    wanted = null;
    ask({ view: painting, number: 0, buffer: spare }, [spare]);
  }

  /** While it moves a view may be coarse, so that it follows the hand; it is fine as soon as it rests. */
  function coarse(view: View): View {
    const least = Math.min(1, view.ratio);
    const fine = costAPixel * view.width * view.height * view.ratio ** 2;
    return fine > MOST_MOVING ? { ...view, ratio: Math.max(least, view.ratio * Math.sqrt(MOST_MOVING / fine)) } : view;
  }

  worker.onmessage = ({ data }: MessageEvent<Answered>) => {
    if (data.number > 0) {
      pictures.get(data.number)?.(data);
      pictures.delete(data.number);
      return;
    }
    const view = painting!;
    painting = null;
    shown = view;
    milliseconds = data.milliseconds;
    costAPixel = milliseconds / (data.width * data.height);
    if (canvas.width !== data.width || canvas.height !== data.height) [canvas.width, canvas.height] = [data.width, data.height];
    context.putImageData(imageOf(data), 0, 0);
    spare = data.buffer;
    onFrame(view);
    next();
  };

  return {
    kind: "cpu",
    get milliseconds() {
      return milliseconds;
    },
    setScene(scene) {
      const news = Object.fromEntries(Object.entries(scene).filter(([name, value]) => sent[name as keyof Scene] !== value)) as Partial<Scene>;
      Object.assign(sent, scene);
      ask({ scene: news });
    },
    setShade: (shade: Shade) => ask({ shade }),
    draw(view) {
      const isMoving = shown !== null && shown.camera !== view.camera && shown.width === view.width && shown.height === view.height;
      wanted = isMoving ? coarse(view) : view;
      clearTimeout(resting);
      if (wanted !== view) {
        resting = setTimeout(() => {
          wanted = view;
          next();
        }, REST) as unknown as number;
      }
      next();
    },
    async picture(view) {
      const asked = ++number;
      const answer = await new Promise<Answered>((resolve) => {
        pictures.set(asked, resolve);
        ask({ view, number: asked, buffer: new ArrayBuffer(0) });
      });
      return createImageBitmap(imageOf(answer));
    },
    destroy() {
      clearTimeout(resting);
      worker.terminate();
    },
  };
}

function imageOf({ buffer, width, height }: Answered): ImageData {
  return new ImageData(new Uint8ClampedArray(buffer), width, height);
}
