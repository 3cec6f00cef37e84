// What fingers, mouse and wheel mean, told apart from what follows from it.

export interface Point {
  x: number;
  y: number;
}

export interface Box extends Point {
  width: number;
  height: number;
}

export interface Meanings {
  onscroll(dx: number, dy: number): void;
  onzoom(factor: number, at: Point, isDirect: boolean): void;
  onpan(dx: number, dy: number): void;
  onthrow(vx: number, vy: number): void; // pixels per ms
  onclick(at: Point, event: PointerEvent): void;
  onbox(box: Box, isDone: boolean): void;
  onhover(at: Point | null): void;
}

const STILL = 5; // pixels that a hand may tremble in a click
const LINE = 20; // pixels of a line, where the wheel counts lines

/** Listen on an element; the answer stops listening. */
export function listen(element: HTMLElement, means: Meanings): () => void {
  const fingers = new Map<number, Point>();
  let start: Point = { x: 0, y: 0 };
  let trail: { x: number; y: number; at: number }[] = [];
  let does: "none" | "press" | "pan" | "box" | "pinch" = "none";

  const pointOf = (event: MouseEvent): Point => {
    const bounds = element.getBoundingClientRect();
    return { x: event.clientX - bounds.left, y: event.clientY - bounds.top };
  };

  const wheel = (event: WheelEvent) => {
    event.preventDefault();
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE : event.deltaMode === WheelEvent.DOM_DELTA_PAGE ? element.clientHeight : 1;
    if (event.ctrlKey || event.metaKey) {
      // A pinch on a touchpad comes as a wheel in small steps, with Ctrl.
      const delta = Math.min(50, Math.max(-50, event.deltaY * unit));
      means.onzoom(Math.exp(-delta * 0.008), pointOf(event), false);
    } else if (event.shiftKey && event.deltaX === 0) means.onscroll(event.deltaY * unit, 0);
    else means.onscroll(event.deltaX * unit, event.deltaY * unit);
  };

  const down = (event: PointerEvent) => {
    if (event.button !== 0) return;
    const at = pointOf(event);
    element.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, at);
    means.onpan(0, 0);
    if (fingers.size === 2) does = "pinch";
    else {
      start = at;
      trail = [];
      does = "press";
    }
  };

  const move = (event: PointerEvent) => {
    const at = pointOf(event);
    const before = fingers.get(event.pointerId);
    if (!before) {
      means.onhover(at);
      return;
    }
    if (does === "pinch") pinch(event.pointerId, before, at);
    else drag(event, before, at);
    fingers.set(event.pointerId, at);
  };

  const pinch = (finger: number, before: Point, at: Point) => {
    const other = [...fingers].find(([each]) => each !== finger)?.[1];
    if (!other) return;
    const length = (one: Point) => Math.max(1, Math.hypot(one.x - other.x, one.y - other.y));
    means.onpan((at.x - before.x) / 2, (at.y - before.y) / 2);
    means.onzoom(length(at) / length(before), { x: (at.x + other.x) / 2, y: (at.y + other.y) / 2 }, true);
  };

  const drag = (event: PointerEvent, before: Point, at: Point) => {
    if (does === "press") {
      if (Math.hypot(at.x - start.x, at.y - start.y) < STILL) return;
      does = event.shiftKey ? "box" : "pan";
      means.onhover(null);
    }
    if (does === "box") means.onbox(boxBetween(start, at), false);
    else if (does === "pan") {
      means.onpan(at.x - before.x, at.y - before.y);
      trail = [...trail.filter((each) => event.timeStamp - each.at < 90), { ...at, at: event.timeStamp }];
    }
  };

  const up = (event: PointerEvent) => {
    if (!fingers.delete(event.pointerId)) return;
    const at = pointOf(event);
    const isGivenUp = event.type === "pointercancel";
    if (does === "press" && !isGivenUp) means.onclick(at, event);
    else if (does === "box") means.onbox(boxBetween(start, at), true);
    else if (does === "pan" && !isGivenUp) {
      const first = trail.find((each) => event.timeStamp - each.at < 90);
      const elapsed = first ? event.timeStamp - first.at : 0;
      if (first && elapsed > 8) means.onthrow((at.x - first.x) / elapsed, (at.y - first.y) / elapsed);
    }
    // The finger that stays after a pinch pans on.
    does = fingers.size > 0 ? "pan" : "none";
    trail = [];
  };

  const leave = () => means.onhover(null);
  element.addEventListener("wheel", wheel, { passive: false });
  element.addEventListener("pointerdown", down);
  element.addEventListener("pointermove", move);
  element.addEventListener("pointerup", up);
  element.addEventListener("pointercancel", up);
  element.addEventListener("pointerleave", leave);
  return () => {
    element.removeEventListener("wheel", wheel);
    element.removeEventListener("pointerdown", down);
    element.removeEventListener("pointermove", move);
    element.removeEventListener("pointerup", up);
    element.removeEventListener("pointercancel", up);
    element.removeEventListener("pointerleave", leave);
  };
}

export function boxBetween(one: Point, other: Point): Box {
  return { x: Math.min(one.x, other.x), y: Math.min(one.y, other.y), width: Math.abs(one.x - other.x), height: Math.abs(one.y - other.y) };
}
