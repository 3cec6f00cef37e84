import { describe } from "vitest";
import { api, countOf, downloaded, drag, expect, exportedFilter, map, panel, pixels, SOONEST, still, test } from "./fixture";
import { decoded, difference, drawn, type Pixels } from "./png";
import type { Page } from "playwright-core";

const colorBy = (page: Page) => page.locator(".map select").filter({ has: page.locator("option", { hasText: "nothing (density)" }) });
const picker = (page: Page, name: string) => page.getByRole("combobox", { name, exact: true });
const legend = (page: Page) => page.locator("section[aria-label='Legend']");
const chip = (page: Page) => page.locator(".map .chip");

/** How many are selected, when it is another number than before. */
async function selected(page: Page, before = -1): Promise<number> {
  await expect.poll(async () => await selectedNow(page), SOONEST).not.toBe(before);
  return selectedNow(page);
}
async function selectedNow(page: Page): Promise<number> {
  if (!(await chip(page).count())) return -1;
  return Number((await chip(page).textContent())!.replaceAll(",", "").match(/\d+/)![0]);
}

/** A place on the map, in CSS pixels from its corner, where most points around are. */
function crowded({ width, height, data }: Pixels): { x: number; y: number } {
  const CELL = 20;
  const ground = [data[0], data[1], data[2]];
  let best = { n: -1, x: 0, y: 0 };
  for (let y = 3 * CELL; y < height - 3 * CELL; y += CELL)
    for (let x = 4 * CELL; x < width * 0.6; x += CELL) {
      let n = 0;
      for (let dy = 0; dy < CELL; dy++)
        for (let dx = 0; dx < CELL; dx++) {
          const at = 4 * ((y + dy) * width + x + dx);
          n += Math.abs(data[at] - ground[0]) + Math.abs(data[at + 1] - ground[1]) + Math.abs(data[at + 2] - ground[2]) > 60 ? 1 : 0;
        }
      if (n > best.n) best = { n, x: x + CELL / 2, y: y + CELL / 2 };
    }
  return best;
}

describe("map", () => {
  test("opens with its points drawn, those of the order alone where a filter is on", async ({ visit }) => {
    const page = await visit.open();
    expect(drawn(await still(map(page))).count).toBeGreaterThan(5_000);
    expect(await map(page).getAttribute("aria-label")).toContain("Map of 10,000 objects");
    await page.getByRole("textbox", { name: "Filter" }).fill("magnitude < 19");
    await page.keyboard.press("Enter");
    const { n } = await api<{ n: number }>("filter", { where: "magnitude < 19" });
    await expect.poll(() => map(page).getAttribute("aria-label"), SOONEST).toContain(`Map of ${n} objects`);
  });

  test("is colored by another score, a column, a category, the labels, or nothing", async ({ visit }) => {
    const page = await visit.open();
    await page.getByRole("button", { name: "images", exact: true }).click();
    const before = await still(map(page));
    const seen: Pixels[] = [before];
    for (const [by, says] of [["score_pca", /score_pca/], ["magnitude", /magnitude/], ["note", /rarest in a pixel/], ["label", /merger/], ["", /objects in a pixel/]] as const) {
      await colorBy(page).selectOption(by);
      await expect.poll(() => legend(page).textContent(), SOONEST).toMatch(says);
      const now = await still(map(page));
      for (const one of seen) expect(difference(one, now), `color by ${by || "nothing"}`).toBeGreaterThan(0);
      seen.push(now);
    }
    await colorBy(page).selectOption("note");
    await expect.poll(() => legend(page).textContent(), SOONEST).toContain("<script>alert(1)</script>");
    expect(await page.locator("img[src='x']").count()).toBe(0);
  });

  test("the colors of the labels are those of their classes", async ({ visit }) => {
    const page = await visit.open();
    await colorBy(page).selectOption("label");
    const merger = legend(page).getByRole("button", { name: /merger/ });
    await merger.waitFor();
    expect(await merger.locator(".dot").evaluate((dot) => getComputedStyle(dot).backgroundColor)).toBe("rgb(230, 159, 0)");
  });

  test("the range of its colors is dragged, and moved by keys", async ({ visit }) => {
    const page = await visit.open();
    const high = legend(page).getByRole("slider", { name: "Highest value of the colors" });
    const valueOf = async () => Number(await high.getAttribute("aria-valuenow"));
    const [before, picture] = [await valueOf(), await still(map(page))];
    const box = (await high.boundingBox())!;
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    await page.mouse.down();
    await page.mouse.move(box.x - 60, box.y + box.height / 2, { steps: 5 });
    await page.mouse.up();
    const dragged = await valueOf();
    expect(dragged).toBeLessThan(before);
    expect(difference(picture, await still(map(page)))).toBeGreaterThan(0);
    await high.focus();
    await page.keyboard.press("ArrowLeft");
    const nudged = await valueOf();
    expect(nudged).toBeLessThan(dragged);
    await page.keyboard.press("Shift+ArrowRight");
    expect(await valueOf()).toBeGreaterThan(dragged);
    await legend(page).getByRole("button", { name: "reset the range" }).click();
    expect(await valueOf()).toBe(before);
  });

  test("objects without a value, and without a place, are counted", async ({ visit }) => {
    const page = await visit.open();
    await colorBy(page).selectOption("ra");
    await legend(page).getByText("1 without a value (gray)").waitFor();
    await picker(page, "map").selectOption({ label: "two columns…" });
    await picker(page, "x").selectOption("ra");
    await picker(page, "y").selectOption("dec");
    await legend(page).getByText("1 not on this map").waitFor();
    expect(await map(page).getAttribute("aria-label")).toContain("9,999");
  });

  test("another map, and two columns with axes, are other pictures", async ({ visit }) => {
    const page = await visit.open();
    const first = await still(map(page));
    await picker(page, "map").selectOption({ label: "critic" });
    await expect.poll(async () => difference(first, await pixels(map(page))), SOONEST).toBeGreaterThan(0.5);
    await picker(page, "map").selectOption({ label: "two columns…" });
    await picker(page, "x").selectOption("magnitude");
    await picker(page, "y").selectOption("score_pca");
    await page.locator(".map .stage.has-axes").waitFor();
    expect(drawn(await still(map(page))).count).toBeGreaterThan(3_000);
  });

  test("where points overlap the highest wins, or the mean, or their number", async ({ visit }) => {
    const page = await visit.open();
    await page.getByRole("button", { name: "images", exact: true }).click();
    let before = await still(map(page));
    for (const [mode, says] of [["mean", "mean of a pixel"], ["count", "number in a pixel"], ["highest", "highest in a pixel wins"]]) {
      await picker(page, "where points overlap").selectOption(mode);
      await expect.poll(() => legend(page).textContent(), SOONEST).toContain(says);
      await expect.poll(async () => difference(before, await pixels(map(page))), SOONEST).toBeGreaterThan(0);
      before = await still(map(page));
    }
  });

  test("both renderers draw the same points", async ({ visit, skip }) => {
    const pictures: Record<string, Pixels> = {};
    for (const kind of ["cpu", "gl"]) {
      const page = await visit.open({ query: `?renderer=${kind}` });
      const is = await map(page).getAttribute("data-renderer");
      if (is !== kind) skip(`this browser has no WebGL 2 that can add floats: ${kind} was asked for, ${is} drew`);
      await page.getByRole("button", { name: "images", exact: true }).click();
      pictures[kind] = await still(map(page));
    }
    const [cpu, gl] = [drawn(pictures.cpu, 120), drawn(pictures.gl, 120)]; // edges are softened in two ways
    expect(Math.abs(cpu.count - gl.count) / cpu.count).toBeLessThan(0.1);
    expect(Math.hypot(cpu.x - gl.x, cpu.y - gl.y)).toBeLessThan(4);
    for (let channel = 0; channel < 3; channel++) expect(Math.abs(cpu.color[channel] - gl.color[channel])).toBeLessThan(12);
  });

  test("the wheel zooms, a drag moves, and Home is the whole map again", async ({ visit }) => {
    const page = await visit.open();
    await page.getByRole("button", { name: "images", exact: true }).click();
    const home = await still(map(page));
    await map(page).hover();
    await page.mouse.wheel(0, -600);
    await expect.poll(async () => difference(home, await pixels(map(page))), SOONEST).toBeGreaterThan(0.5);
    const near = await still(map(page));
    await drag(page, map(page), [[0.5, 0.5], [0.4, 0.35]]);
    await expect.poll(async () => difference(near, await pixels(map(page))), SOONEST).toBeGreaterThan(0.5);
    await map(page).focus();
    await page.keyboard.press("Home");
    await page.mouse.move(5, 5);
    await map(page).blur(); // without the frame of what has the keys
    await expect.poll(async () => difference(home, await pixels(map(page))), SOONEST).toBeLessThan(0.2);
  });

  test("near enough, images stand in the place of points", async ({ visit }) => {
    const page = await visit.open();
    await map(page).hover({ position: crowded(await still(map(page))) });
    const sheet = page.waitForResponse((answer) => answer.url().includes("api/sheet") && answer.ok());
    for (let step = 0; step < 12; step++) await page.mouse.wheel(0, -300);
    await sheet;
    expect(drawn(await still(map(page))).count).toBeGreaterThan(1_000);
  });

  test("lasso and box select, Shift adds, Alt takes away, and the server selects as many", async ({ visit }) => {
    const page = await visit.open();
    const same = async (n: number) => {
      const where = await exportedFilter(page);
      expect((await api<{ n: number }>("filter", { where })).n).toBe(n);
      expect(await countOf(page)).toBe(n);
    };
    await map(page).focus();
    await page.keyboard.press("l");
    await drag(page, map(page), [[0.35, 0.35], [0.6, 0.3], [0.65, 0.6], [0.4, 0.65]]);
    const lassoed = await selected(page);
    expect(lassoed).toBeGreaterThan(10);
    await same(lassoed);
    await map(page).focus();
    await page.keyboard.press("b");
    await drag(page, map(page), [[0.2, 0.2], [0.5, 0.5]], ["Shift"]);
    const added = await selected(page, lassoed);
    expect(added).toBeGreaterThan(lassoed);
    await same(added);
    await drag(page, map(page), [[0.45, 0.25], [0.7, 0.5]], ["Alt"]);
    const left = await selected(page, added);
    expect(left).toBeLessThan(added);
    await same(left);
    await page.getByRole("textbox", { name: "Filter" }).fill("magnitude < 21");
    await page.keyboard.press("Enter");
    await expect.poll(() => countOf(page), SOONEST).toBeLessThan(left);
    await same(await countOf(page));
    await page.getByRole("button", { name: "Take the filter away" }).click();
    await map(page).focus();
    await page.keyboard.press("Escape");
    await chip(page).waitFor({ state: "detached" });
    await expect.poll(() => countOf(page), SOONEST).toBe(10_000);
  });

  test("a category is selected by its name in the legend, and the file is of these alone", async ({ visit }) => {
    const page = await visit.open();
    await colorBy(page).selectOption("label");
    await legend(page).getByRole("button", { name: /merger/ }).click();
    const n = await selected(page);
    expect(n).toBeGreaterThan(0);
    expect(n).toBeLessThan(40);
    await expect.poll(() => countOf(page), SOONEST).toBe(n);
    expect((await api<{ n: number }>("filter", { where: await exportedFilter(page) })).n).toBe(n);
  });

  test("a rest of the mouse shows an image, and a click opens the object", async ({ visit }) => {
    const page = await visit.open();
    await page.getByRole("button", { name: "images", exact: true }).click();
    const at = crowded(await still(map(page)));
    await map(page).hover({ position: at });
    const image = page.locator(".map .card img");
    await image.waitFor();
    await expect.poll(() => image.evaluate((each: HTMLImageElement) => each.naturalWidth), SOONEST).toBe(32);
    const id = (await page.locator(".map .card .mono").textContent())!.trim();
    await map(page).click({ position: at });
    await expect.poll(() => panel(page).getAttribute("aria-label"), SOONEST).toBe(`Object ${id}`);
  });

  test("it is saved as a PNG, and as an SVG without scripts", async ({ visit }) => {
    const page = await visit.open();
    await still(map(page));
    const png = await downloaded(page, () => page.getByRole("button", { name: "Save the map as PNG" }).click());
    expect(png.name).toMatch(/\.png$/);
    expect(drawn(decoded(png.bytes)).count).toBeGreaterThan(5_000);
    await colorBy(page).selectOption("note");
    await expect.poll(() => legend(page).textContent(), SOONEST).toContain("<script>");
    const svg = await downloaded(page, () => page.getByRole("button", { name: "Save the map as SVG" }).click());
    expect(svg.name).toMatch(/\.svg$/);
    const found = await page.evaluate((text) => {
      const parsed = new DOMParser().parseFromString(text, "image/svg+xml");
      const attributes = [...parsed.querySelectorAll("*")].flatMap((each) => [...each.attributes].map((one) => one.name));
      return { root: parsed.documentElement.localName, errors: parsed.querySelectorAll("parsererror").length, scripts: parsed.querySelectorAll("script, foreignObject").length, handlers: attributes.filter((name) => name.startsWith("on")), images: parsed.querySelectorAll("image").length };
    }, svg.bytes.toString());
    expect(found).toMatchObject({ root: "svg", errors: 0, scripts: 0, handlers: [] });
    expect(found.images).toBeGreaterThan(0);
  });
});
