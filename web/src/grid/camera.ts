// How the view moves over the wall: smoothly, and only as long as something moves.
import { boundsOf, CAPTION_HEIGHT, columnsFor, extentOf, folded, gapOf, indexAt, pitchOf, placeOf, rangeIn, SMALLEST, zoomed, type View, type Wall } from "./layout";

const SCROLL_TIME = 45; // ms in which a scroll or a zoom does 63 % of its way
const FLING_TIME = 325; // ms in which a thrown wall slows to 37 %
const REST = 220; // ms without a change of size after which the wall is folded anew

export class Camera {
  wall: Wall = { n: 0, columns: 1, shift: 0, size: 96, aspect: 1, isCaptioned: false };
  view: View = { x: 0, y: 0, width: 0, height: 0 };
  /** The wall is wider than the view since it was zoomed into. */
  isFree = false;
  isStill = false; // no easing: the person asked for reduced motion
  onfold: () => void = () => {};

  private goal: { x: number; y: number } | null = null;
  private zoom: { size: number; x: number; y: number } | null = null;
  private fling: { x: number; y: number } | null = null;
  private restAt = 0;
  private lastZoom = { x: 0, y: 0 };
  private held: { index: number; y: number } | null = null;

  get largest(): number {
    const caption = this.wall.isCaptioned ? CAPTION_HEIGHT : 0;
    return Math.max(64, Math.floor(Math.min((this.view.width - 8) / this.wall.aspect, this.view.height - caption - 8)));
  }

  get isMoving(): boolean {
    return this.goal !== null || this.zoom !== null || this.fling !== null || this.restAt > 0;
  }

  get isZooming(): boolean {
    return this.zoom !== null || this.restAt > 0;
  }

  /** A new window size folds the wall, unless it is looked at closely. */
  resize(width: number, height: number): void {
    const held = this.hold();
    this.view = { ...this.view, width, height };
    if (this.isFree) this.clamp();
    else this.fold(held);
  }

  setCount(n: number, toTop: boolean): void {
    this.wall = { ...this.wall, n };
    if (toTop) this.home();
    else this.clamp();
  }

  setShape(aspect: number, isCaptioned: boolean): void {
    if (aspect === this.wall.aspect && isCaptioned === this.wall.isCaptioned) return;
    const held = this.hold();
    const refold = aspect !== this.wall.aspect || !this.isFree;
    this.wall = { ...this.wall, aspect, isCaptioned };
    if (refold) this.fold(held);
    else this.clamp();
  }

  /** Another size, folded to the width: what the slider does. Images keep their height while it is drawn. */
  setSize(size: number, prefer = -1): void {
    const held = this.held ?? this.hold(prefer);
    this.stop();
    this.wall = { ...this.wall, size: Math.max(SMALLEST, size) };
    this.fold(held);
    this.held = held;
  }

  /** Folded to the width again at the present size. */
  fit(prefer = -1): void {
    const held = this.hold(prefer);
    this.stop();
    this.fold(held);
  }

  home(): void {
    this.stop();
    this.wall = { ...this.wall, shift: 0, columns: this.isFree ? this.wall.columns : columnsFor(this.view.width, this.wall) };
    this.view = { ...this.view, y: -Infinity };
    this.clamp();
  }

  zoomBy(factor: number, at: { x: number; y: number }, isDirect = false): void {
    this.zoomTo((this.zoom?.size ?? this.wall.size) * factor, at, isDirect);
  }

  zoomTo(size: number, at: { x: number; y: number }, isDirect = false): void {
    this.goal = this.fling = this.held = null;
    this.lastZoom = at;
    this.zoom = { size: Math.min(this.largest, Math.max(SMALLEST, size)), ...at };
    if (isDirect || this.isStill) this.sizeStep(1);
  }

  panBy(dx: number, dy: number): void {
    this.stop();
    this.view = { ...this.view, x: this.view.x - dx, y: this.view.y - dy };
    this.clamp();
  }

  throwBy(x: number, y: number): void {
    if (!this.isStill && Math.hypot(x, y) > 0.15) this.fling = { x: -x, y: -y };
  }

  scrollBy(dx: number, dy: number): void {
    const from = this.goal ?? this.view;
    this.scrollTo(from.x + dx, from.y + dy);
  }

  scrollTo(x: number, y: number, isDirect = false): void {
    const { left, right, top, bottom } = boundsOf(this.wall, this.view);
    this.stop();
    this.goal = { x: Math.min(right, Math.max(left, x)), y: Math.min(bottom, Math.max(top, y)) };
    if (isDirect || this.isStill) this.arrive();
  }

  /** Bring an image into view, with no more movement than that takes; a large one to the middle. */
  show(index: number, isDirect = false): void {
    if (index < 0 || index >= this.wall.n) return;
    const pitch = pitchOf(this.wall);
    const place = placeOf(this.wall, index);
    const from = this.goal ?? this.view;
    const along = (at: number, length: number, start: number, viewed: number) => {
      if (length > viewed / 2) return at + (length - viewed) / 2;
      const margin = Math.min(length / 2, (viewed - length) / 2);
      return Math.min(at - margin, Math.max(at + length + margin - viewed, start));
    };
    const x = along(place.x, pitch.x, from.x, this.view.width);
    const y = along(place.y, pitch.y, from.y, this.view.height);
    const isFar = Math.abs(y - this.view.y) > 3 * this.view.height;
    if (x !== from.x || y !== from.y) this.scrollTo(x, y, isDirect || isFar);
  }

  indexAt(x: number, y: number): number {
    return indexAt(this.wall, this.view.x + x, this.view.y + y);
  }

  get range(): [number, number] {
    return rangeIn(this.wall, this.view);
  }

  /** Go on by `elapsed` ms; say whether there is more to come. */
  step(elapsed: number, now: number): boolean {
    const part = 1 - Math.exp(-elapsed / SCROLL_TIME);
    if (this.zoom) {
      this.sizeStep(part);
      this.restAt = now + REST;
    } else if (this.restAt > 0 && now >= this.restAt) this.rest();
    if (this.goal) {
      const { x, y } = this.goal;
      const isClose = Math.abs(x - this.view.x) < 0.5 && Math.abs(y - this.view.y) < 0.5;
      if (isClose) this.arrive();
      else this.view = { ...this.view, x: this.view.x + (x - this.view.x) * part, y: this.view.y + (y - this.view.y) * part };
    }
    if (this.fling) this.flingStep(elapsed);
    return this.isMoving;
  }

  private flingStep(elapsed: number): void {
    const { x, y } = this.fling!;
    this.view = { ...this.view, x: this.view.x + x * elapsed, y: this.view.y + y * elapsed };
    const slowed = Math.exp(-elapsed / FLING_TIME);
    this.fling = Math.hypot(x, y) * slowed < 0.02 ? null : { x: x * slowed, y: y * slowed };
    this.clamp();
  }

  private sizeStep(part: number): void {
    const { size, x, y } = this.zoom!;
    const way = Math.log(size / this.wall.size);
    const isThere = Math.abs(way) < 0.002 || part === 1;
    const next = zoomed(this.wall, this.view, isThere ? size : this.wall.size * Math.exp(way * part), { x, y });
    const { top, bottom } = boundsOf(next.wall, next.view);
    this.wall = next.wall;
    this.view = { ...next.view, y: Math.min(bottom, Math.max(top, next.view.y)) };
    if (!isThere) return;
    this.zoom = null;
    this.restAt = performance.now() + REST;
  }

  /** The size is chosen: whole pixels, and a wall that has become too narrow is folded so that the image at the cursor stays. */
  private rest(): void {
    this.restAt = 0;
    const at = this.lastZoom;
    const next = zoomed(this.wall, this.view, Math.round(this.wall.size), at);
    this.wall = next.wall;
    this.view = next.view;
    const fits = columnsFor(this.view.width, this.wall);
    this.isFree = this.wall.columns > fits;
    if (this.wall.columns < fits && this.wall.n > this.wall.columns) this.foldAt(at, fits);
    const { left, right, top, bottom } = boundsOf(this.wall, this.view);
    const x = Math.min(right, Math.max(left, this.view.x));
    const y = Math.min(bottom, Math.max(top, this.view.y));
    if (x !== this.view.x || y !== this.view.y) this.scrollTo(x, y);
  }

  private foldAt(at: { x: number; y: number }, columns: number): void {
    const [first, last] = this.range;
    const under = this.indexAt(at.x, at.y);
    const index = under >= 0 ? under : Math.floor((first + last) / 2);
    this.onfold();
    const atY = placeOf(this.wall, Math.max(0, index)).y - this.view.y;
    const pitch = pitchOf(this.wall);
    const margin = (this.view.width - (columns * pitch.x - pitch.x + this.wall.size * this.wall.aspect)) / 2;
    const column = Math.min(columns - 1, Math.max(0, Math.floor((at.x - margin) / pitch.x)));
    this.take(folded(this.wall, this.view, index, atY, column));
  }

  /** What keeps its height when the wall is folded: the wanted image if it is in view, else the first. At the top, the top. */
  private hold(prefer = -1): { index: number; y: number } | null {
    const [first, last] = this.range;
    if (first < 0 || this.view.y <= 1) return null;
    const index = prefer >= first && prefer <= last ? prefer : first;
    return { index, y: placeOf(this.wall, index).y - this.view.y };
  }

  private fold(held: { index: number; y: number } | null): void {
    this.isFree = false;
    this.take(folded(this.wall, this.view, held?.index ?? 0, held?.y ?? gapOf(this.wall.size)));
  }

  private take(next: { wall: Wall; view: View }): void {
    this.wall = next.wall;
    this.view = next.view;
    this.clamp();
  }

  private stop(): void {
    if (this.zoom) this.restAt = performance.now() + REST;
    this.goal = this.zoom = this.fling = this.held = null;
  }

  private arrive(): void {
    this.view = { ...this.view, ...this.goal };
    this.goal = null;
  }

  private clamp(): void {
    const { left, right, top, bottom } = boundsOf(this.wall, this.view);
    const x = Math.min(right, Math.max(left, this.view.x));
    const y = Math.min(bottom, Math.max(top, this.view.y));
    if (x !== this.view.x && y !== this.view.y) this.fling = null;
    this.view = { ...this.view, x, y };
  }

  /** Position and length for a scrollbar. */
  get bars(): { x: number; y: number; width: number; height: number } {
    const extent = extentOf(this.wall);
    return { x: this.view.x, y: this.view.y, width: extent.width, height: extent.height };
  }
}
