// The canvas of a wall: frames while something moves or came, and none else.
import type { Explorer } from "../explorer.svelte";
import { Camera } from "./camera";
import type { Box, Point } from "./gestures";
import { pitchOf, placeOf } from "./layout";
import { paint, readTheme, type Scene, type Theme } from "./paint";
import { Pictures } from "./pictures";
import { blocksFor, countOf, sizeFor } from "./tiles";

const FAST = 0.6; // views a frame: what flies by is not asked for
const FAST_WAIT = 60; // ms
const FOLD_TIME = 220; // ms in which the wall before fades into the one folded anew
const LONGEST = 64; // ms that a frame may count for

/** What the page says of the images, asked at each frame. */
export type Signs = Pick<Scene, "colorOf" | "captionOf" | "marked">;

export class Stage {
  readonly camera = new Camera();
  readonly pictures: Pictures;
  shown: Uint32Array = new Uint32Array(0);
  cursor = -1; // an index of the order, as is hover
  hover = -1;
  box: Box | null = null;
  hasFocus = false;

  private canvas: HTMLCanvasElement | null = null;
  private theme: Theme | null = null;
  private pixelRatio = 1;
  private request = 0;
  private before = 0;
  private lastY = 0;
  private fastAt = 0;
  private later: ReturnType<typeof setTimeout> | undefined;
  private fading: { canvas: HTMLCanvasElement; since: number } | null = null;
  private readonly native: number;

  constructor(
    explorer: Explorer,
    private readonly signs: () => Signs,
    private readonly onframe: () => void,
  ) {
    this.pictures = new Pictures(explorer, () => this.redraw());
    this.native = explorer.atlas.image.size;
    this.camera.onfold = () => this.keepForFading();
  }

  redraw(): void {
    if (this.request === 0 && this.canvas) this.request = requestAnimationFrame((now) => this.frame(now));
  }

  /** Take over a canvas within its element, and follow sizes and colors; the answer lets go of it. */
  mount(element: HTMLElement, canvas: HTMLCanvasElement): () => void {
    this.canvas = canvas;
    const dress = () => {
      this.theme = readTheme(element);
      this.redraw();
    };
    const measure = () => this.measure(element);
    const still = matchMedia("(prefers-reduced-motion: reduce)");
    const calm = () => (this.camera.isStill = still.matches);
    const sizes = new ResizeObserver(measure);
    const themes = new MutationObserver(dress);
    calm();
    dress();
    sizes.observe(element);
    themes.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    still.addEventListener("change", calm);
    window.addEventListener("resize", measure); // another screen has another pixel ratio
    return () => {
      sizes.disconnect();
      themes.disconnect();
      still.removeEventListener("change", calm);
      window.removeEventListener("resize", measure);
      this.pictures.close();
      clearTimeout(this.later);
      cancelAnimationFrame(this.request);
      this.canvas = null;
    };
  }

  private measure({ clientWidth, clientHeight }: HTMLElement): void {
    if (!this.canvas || clientWidth === 0 || clientHeight === 0) return;
    this.pixelRatio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(clientWidth * this.pixelRatio);
    this.canvas.height = Math.round(clientHeight * this.pixelRatio);
    this.camera.resize(clientWidth, clientHeight);
    // A canvas that has been resized is empty: fill it before the page is shown.
    this.draw(performance.now());
    this.redraw();
  }

  private frame(now: number): void {
    this.request = 0;
    const { camera } = this;
    if (!this.canvas || camera.view.width === 0) return;
    const isMoving = camera.step(this.before === 0 ? 16 : Math.min(LONGEST, now - this.before), now);
    if (Math.abs(camera.view.y - this.lastY) > FAST * camera.view.height) this.fastAt = now;
    this.lastY = camera.view.y;
    const isFading = this.draw(now);
    this.ask(now);
    this.onframe();
    this.before = isMoving || isFading ? now : 0;
    if (isMoving || isFading) this.redraw();
  }

  private draw(now: number): boolean {
    const ctx = this.canvas?.getContext("2d", { alpha: false });
    if (!ctx || !this.theme) return false;
    const { wall, view } = this.camera;
    const { shown, cursor, hover, box, hasFocus, theme, native } = this;
    const size = this.pictureSize;
    this.pictures.startFrame();
    const pick = (index: number) => this.pictures.pick(size, index);
    const isFading = paint(ctx, { wall, view, dpr: this.pixelRatio, now, native, shown, theme, pick, ...this.signs(), cursor, hasFocus, hover, box });
    if (!this.fading) return isFading;
    const age = (now - this.fading.since) / FOLD_TIME;
    if (age < 1) {
      ctx.globalAlpha = 1 - Math.max(0, age);
      ctx.drawImage(this.fading.canvas, 0, 0);
      ctx.globalAlpha = 1;
    } else this.fading = null;
    return true;
  }

  private get pictureSize(): number {
    const { wall, view } = this.camera;
    const pitch = pitchOf(wall);
    const nVisible = Math.ceil(view.width / pitch.x) * Math.ceil(view.height / pitch.y);
    return sizeFor(Math.round(wall.size * this.pixelRatio), this.native, nVisible);
  }

  private ask(now: number): void {
    if (now - this.fastAt < FAST_WAIT) {
      clearTimeout(this.later);
      this.later = setTimeout(() => this.redraw(), FAST_WAIT + 10);
      this.pictures.want(0, []);
      return;
    }
    const size = this.pictureSize;
    this.pictures.want(size, this.shown.length === 0 ? [] : blocksFor(this.camera.wall, this.camera.view, countOf(size)));
  }

  private keepForFading(): void {
    if (!this.canvas || this.camera.isStill) return;
    const copy = document.createElement("canvas");
    copy.width = this.canvas.width;
    copy.height = this.canvas.height;
    copy.getContext("2d")!.drawImage(this.canvas, 0, 0);
    this.fading = { canvas: copy, since: performance.now() };
  }

  /** Where keys zoom: the middle of the cursor's image if it is in view, else of the view. */
  get anchor(): Point {
    const { wall, view, range } = this.camera;
    if (this.cursor < range[0] || this.cursor > range[1] || this.cursor < 0) return { x: view.width / 2, y: view.height / 2 };
    const place = placeOf(wall, this.cursor);
    const within = (at: number, length: number) => Math.min(length, Math.max(0, at));
    return { x: within(place.x + (wall.size * wall.aspect) / 2 - view.x, view.width), y: within(place.y + wall.size / 2 - view.y, view.height) };
  }
}
