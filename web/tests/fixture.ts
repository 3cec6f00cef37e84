// A page for a test: a browser context of its own that may ask this machine alone, and where nothing goes wrong unsaid.
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { chromium, type Browser, type BrowserContext, type Locator, type Page } from "playwright-core";
import { expect, inject, test as base } from "vitest";
import { decoded, difference, type Pixels } from "./png";

export { expect } from "vitest";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const ARGS = ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"];
const SHOTS = process.env.PECULIAR_SHOTS ?? "";
export const LARGE = { width: 1600, height: 950 };
export const SMALL = { width: 1100, height: 700 };
const SOON = { timeout: 15_000 };

export interface Open {
  url?: string;
  hash?: string;
  query?: string;
  theme?: "dark" | "light";
  size?: { width: number; height: number };
  bypassCSP?: boolean;
  /** How far is waited for. */
  until?: "points" | "token" | "nothing";
}

export interface Visit {
  /** Open the page in a new context. */
  open(options?: Open): Promise<Page>;
  /** Troubles that this test provokes. */
  expects(...said: RegExp[]): void;
  troubles: string[];
}

let browser: Promise<Browser> | null = null;
const launched = () => (browser ??= chromium.launch({ executablePath: CHROMIUM, args: ARGS, headless: true }));

export const test = base.extend<{ visit: Visit }>({
  visit: async ({ task }, use) => {
    const troubles: string[] = [];
    const expected: RegExp[] = [];
    const contexts: BrowserContext[] = [];
    let last: Page | null = null;

    async function open({ url = inject("url"), hash = "", query = "", theme, size = LARGE, bypassCSP = false, until = "points" }: Open = {}): Promise<Page> {
      const context = await (await launched()).newContext({ viewport: size, bypassCSP, reducedMotion: "reduce", locale: "en-US", acceptDownloads: true });
      contexts.push(context);
      if (url.startsWith("http")) await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: new URL(url).origin });
      await context.addInitScript((chosen) => {
        if (chosen && location.protocol === "http:") localStorage.setItem("peculiar:theme", chosen);
        addEventListener("securitypolicyviolation", (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
      }, theme ?? null);
      context.on("request", (request) => {
        const { protocol, hostname } = new URL(request.url());
        if (!["data:", "blob:", "file:"].includes(protocol) && hostname !== "127.0.0.1") troubles.push(`asked elsewhere: ${request.url()}`);
      });
      context.on("console", (message) => {
        if (message.type() === "error") troubles.push(`console: ${message.text()} ${message.location().url}`);
      });
      context.on("weberror", (error) => troubles.push(`error: ${error.error().stack ?? error.error().message}`));
      context.on("dialog", (dialog) => {
        troubles.push(`dialog: ${dialog.message()}`);
        void dialog.dismiss();
      });
      const page = (last = await context.newPage());
      page.setDefaultTimeout(SOON.timeout);
      await page.goto(`${url}${query}${hash}`);
      if (until === "points") await ready(page);
      if (until === "token") await page.getByLabel("Your token").waitFor();
      return page;
    }

    await use({ open, troubles, expects: (...said) => void expected.push(...said) });
    if (last && SHOTS) await shoot(last, task.name);
    await Promise.all(contexts.map((context) => context.close()));
    expect(troubles.filter((each) => !expected.some((one) => one.test(each)))).toEqual([]);
  },
});

/** Points are drawn and the wall has its order. */
export async function ready(page: Page): Promise<void> {
  await page.locator(".map .ground[data-renderer]").waitFor();
  await page.getByText("Loading the map…").waitFor({ state: "detached" });
  await page.locator(".map section[aria-label='Legend']").waitFor();
  await expect.poll(() => countOf(page), SOON).toBeGreaterThan(0);
}

/** How many objects the wall says that it shows. */
export async function countOf(page: Page, of: "Images" | "Table of objects" = "Images"): Promise<number> {
  const text = await page.locator(`section[aria-label='${of}'] .count`).textContent();
  return Number(text?.replaceAll(",", "").match(/\d+/)?.[0] ?? -1);
}

export async function shoot(page: Page, name: string): Promise<void> {
  if (!SHOTS) return;
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: join(SHOTS, `${name.replace(/[^\w]+/g, "-").slice(0, 90)}.png`) });
}

export async function pixels(of: Locator): Promise<Pixels> {
  return decoded(await of.screenshot());
}

/** Pixels as soon as two pictures after another are the same. */
export async function still(of: Locator): Promise<Pixels> {
  let before = await pixels(of);
  await expect
    .poll(async () => {
      const now = await pixels(of);
      const far = difference(before, now);
      before = now;
      return far;
    }, SOON)
    .toBe(0);
  return before;
}

export const map = (page: Page): Locator => page.locator(".map .ground");
export const wall = (page: Page): Locator => page.getByRole("application", { name: /^Images in order/ });
export const panel = (page: Page): Locator => page.locator("aside[aria-label^='Object']");
export const bar = (page: Page): Locator => page.locator("footer[aria-label='Labels']");

/** Who labels, and whether all is stored. */
export const who = (page: Page): Locator => page.locator("header .who");

/** Where the cursor of the wall is, as a screen reader is told. */
export async function cursorOf(page: Page): Promise<{ id: string; place: number; isMarked: boolean }> {
  const text = (await page.locator("section[aria-label='Images'] p[aria-live]").textContent()) ?? "";
  const [, id = "", place = "0"] = /object (-?\d+), ([\d,]+) of/.exec(text) ?? [];
  return { id, place: Number(place.replaceAll(",", "")), isMarked: text.endsWith("marked") };
}

/** The cursor when it has come to a place of the order, counted from 1. */
export async function cursorAt(page: Page, place: number): Promise<string> {
  await expect.poll(async () => (await cursorOf(page)).place, SOON).toBe(place);
  return (await cursorOf(page)).id;
}

/** What the server says, by JSON. */
export async function api<T>(path: string, fields: Record<string, string | number | boolean> = {}, url = inject("url")): Promise<T> {
  const query = new URLSearchParams(Object.entries(fields).map(([name, value]) => [name, String(value)]));
  const answer = await fetch(`${url}api/${path}?${query}`);
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as T;
}

/** A download that a click begins. */
export async function downloaded(page: Page, click: () => Promise<void>): Promise<{ name: string; bytes: Buffer }> {
  const [download] = await Promise.all([page.waitForEvent("download"), click()]);
  return { name: download.suggestedFilename(), bytes: readFileSync(await download.path()) };
}

/** Draw with the mouse on an element, in parts of its width and height. */
export async function drag(page: Page, on: Locator, points: [number, number][], keys: string[] = []): Promise<void> {
  const box = (await on.boundingBox())!;
  const at = ([x, y]: [number, number]) => [box.x + x * box.width, box.y + y * box.height] as const;
  for (const key of keys) await page.keyboard.down(key);
  await page.mouse.move(...at(points[0]));
  await page.mouse.down();
  for (const point of points.slice(1)) await page.mouse.move(...at(point), { steps: 6 });
  await page.mouse.up();
  for (const key of keys) await page.keyboard.up(key);
}

/** The filter that the page itself makes of what is shown: it is in the links of the menu of exports. */
export async function exportedFilter(page: Page): Promise<string> {
  const button = page.getByRole("button", { name: "Export", exact: true });
  await button.click();
  const href = await page.locator(".export .menu a").first().getAttribute("href");
  await button.click();
  return new URL(href!, page.url()).searchParams.get("where") ?? "";
}

export const SOONEST = SOON;
