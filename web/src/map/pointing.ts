// What a hand does on the map, told from raw pointer events: drag, pinch, wheel, click, rest.
import type { Point } from "./geometry";

export interface Pointing {
  /** A drag begins: true where it draws, false where it moves the map. */
  startsDrawing(event: PointerEvent): boolean;
  move(dx: number, dy: number): void;
  zoom(factor: number, at: Point): void;
  draw(path: Point[]): void;
  drawn(path: Point[], event: PointerEvent): void;
  click(at: Point, event: PointerEvent): void;
  reset(): void;
  hover(at: Point | null): void;
}

const CLICK_REACH = 4; // pixels that a hand moves without wanting to

/** Listen on an element; the answer has `cancel` for a drawing under way, and `end`. */
export function listen(element: HTMLElement, does: Pointing): { cancel(): boolean; end(): void } {
  const down = new Map<number, Point>();
  let path: Point[] = [];
  let isDrawing = false;
  let hasMoved = false;
  let lastClick = { time: -Infinity, at: [0, 0] as Point };
  const signal = new AbortController();

  function placeOf(event: PointerEvent | WheelEvent): Point {
    const { left, top } = element.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }

  function on<Name extends keyof HTMLElementEventMap>(name: Name, heard: (event: HTMLElementEventMap[Name]) => void): void {
    element.addEventListener(name, heard, { passive: false, signal: signal.signal });
  }

  function pinch(id: number, at: Point): void {
    const other = [...down].find(([each]) => each !== id)![1];
    const before = down.get(id)!;
    const [far, near] = [Math.hypot(at[0] - other[0], at[1] - other[1]), Math.hypot(before[0] - other[0], before[1] - other[1])];
    does.move((at[0] - before[0]) / 2, (at[1] - before[1]) / 2);
    if (near > 0) does.zoom(far / near, [(at[0] + other[0]) / 2, (at[1] + other[1]) / 2]);
  }

  on("pointerdown", (event) => {
    if (event.button !== 0) return;
    const at = placeOf(event);
    element.setPointerCapture(event.pointerId);
    down.set(event.pointerId, at);
    does.hover(null);
    if (down.size > 1) {
      isDrawing = false;
      hasMoved = true;
      does.draw([]);
      return;
    }
    path = [at];
    hasMoved = false;
    isDrawing = does.startsDrawing(event);
  });

  on("pointermove", (event) => {
    const at = placeOf(event);
    const before = down.get(event.pointerId);
    if (!before) return does.hover(at);
    if (down.size > 1) {
      pinch(event.pointerId, at);
      down.set(event.pointerId, at);
      return;
    }
    if (!path.length) return; // was canceled
    if (!hasMoved && Math.hypot(at[0] - path[0][0], at[1] - path[0][1]) < CLICK_REACH) return;
    hasMoved = true;
    if (isDrawing) {
      const last = path[path.length - 1];
      if (Math.hypot(at[0] - last[0], at[1] - last[1]) < 3) return;
      path.push(at);
      does.draw(path);
    } else does.move(at[0] - before[0], at[1] - before[1]);
    down.set(event.pointerId, at);
  });

  function up(event: PointerEvent): void {
    if (!down.delete(event.pointerId) || down.size > 0 || !path.length) return;
    const at = placeOf(event);
    if (isDrawing && hasMoved) does.drawn(path, event);
    else if (!hasMoved && event.type === "pointerup") {
      const isDouble = event.timeStamp - lastClick.time < 350 && Math.hypot(at[0] - lastClick.at[0], at[1] - lastClick.at[1]) < 8;
      lastClick = { time: isDouble ? -Infinity : event.timeStamp, at };
      if (isDouble) does.reset();
      else does.click(at, event);
    }
    path = [];
    isDrawing = false;
  }
  on("pointerup", up);
  on("pointercancel", up);
  on("pointerleave", () => does.hover(null));
  on("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
    const speed = event.ctrlKey ? 0.01 : 0.0022; // a pinch on a touchpad comes as a wheel with Ctrl, in small steps
    does.zoom(Math.exp(-Math.max(-300, Math.min(300, event.deltaY * lines)) * speed), placeOf(event));
  });

  return {
    cancel() {
      const was = isDrawing && hasMoved;
      path = [];
      isDrawing = false;
      does.draw([]);
      return was;
    },
    end: () => signal.abort(),
  };
}
