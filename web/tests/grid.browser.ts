import { describe } from "vitest";
import type { Page } from "playwright-core";
import { api, countOf, cursorAt, cursorOf, expect, panel, SOONEST, still, test, wall } from "./fixture";
import { drawn } from "./png";

const tools = (page: Page) => page.getByRole("toolbar", { name: "Images and their order" });
const MOST_SHEETS = 6; // of the first screen at 1600 by 950

/** Addresses of sheets that are asked for, from now on. */
function sheets(page: Page): URL[] {
  const asked: URL[] = [];
  page.on("request", (request) => {
    if (new URL(request.url()).pathname.endsWith("api/sheet")) asked.push(new URL(request.url()));
  });
  return asked;
}

type Asked = (asked: URLSearchParams) => boolean;

/** What the next sheet is asked for with; where few images fill the wall each comes by itself, as a triple does. One that was
 *  asked for before may come in between: `of` says which is meant. */
async function nextSheet(page: Page, act: () => Promise<unknown>, of: Asked = () => true): Promise<URLSearchParams> {
  const asked = (url: string) => new URL(url).searchParams;
  const meant = page.waitForResponse((each) => /api\/(sheet|image)/.test(each.url()) && each.ok() && of(asked(each.url())));
  const [answer] = await Promise.all([meant, act()]);
  return asked(answer.url());
}

async function idsBy(by: string, descending: boolean, first: string[]): Promise<number[]> {
  const { rows } = await api<{ rows: [string, number][] }>("table", { ids: first.join(","), names: by });
  const values = rows.map(([, value]) => value);
  expect(values).toEqual([...values].sort((a, b) => (descending ? b - a : a - b)));
  return values;
}

describe("grid", () => {
  test("the wall shows images, a request a block of them", async ({ visit }) => {
    const page = await visit.open({ until: "nothing" });
    const asked = sheets(page);
    await page.reload();
    await page.waitForResponse((each) => each.url().includes("api/sheet") && each.ok());
    await expect.poll(async () => drawn(await still(wall(page)), 60).count, SOONEST).toBeGreaterThan(20_000);
    await page.waitForLoadState("networkidle");
    expect(asked.length).toBeGreaterThan(0);
    expect(asked.length).toBeLessThanOrEqual(MOST_SHEETS);
    expect(new Set(asked.map(String)).size).toBe(asked.length);
  });

  test("images grow by the slider, by + and -, and one fills the view by z", async ({ visit }) => {
    const page = await visit.open();
    const says = tools(page).locator("output").first();
    const size = async () => Number(await says.textContent());
    const before = await size();
    await page.getByRole("slider", { name: /^Size/ }).focus();
    for (let step = 0; step < 20; step++) await page.keyboard.press("ArrowRight");
    const slid = await size();
    expect(slid).toBeGreaterThan(before);
    await wall(page).focus();
    await page.keyboard.press("+");
    await expect.poll(size, SOONEST).toBeGreaterThan(slid);
    const larger = await size();
    await page.keyboard.press("-");
    await expect.poll(size, SOONEST).toBeLessThan(larger);
    await page.keyboard.press("z");
    await expect.poll(size, SOONEST).toBeGreaterThan(350);
    await page.keyboard.press("z");
    await expect.poll(size, SOONEST).toBeLessThan(350);
  });

  test("arrows and w a s d move the cursor, Home and End to the ends", async ({ visit }) => {
    const page = await visit.open();
    await wall(page).focus();
    await page.keyboard.press("ArrowRight");
    await cursorAt(page, 1);
    for (const key of ["ArrowRight", "d", "d", "a", "ArrowLeft"]) await page.keyboard.press(key);
    await cursorAt(page, 2);
    await page.keyboard.press("ArrowDown");
    await expect.poll(async () => (await cursorOf(page)).place, SOONEST).toBeGreaterThan(3);
    const columns = (await cursorOf(page)).place - 2;
    for (const key of ["s", "s", "w", "ArrowUp"]) await page.keyboard.press(key);
    await cursorAt(page, 2 + columns);
    await page.keyboard.press("End");
    await cursorAt(page, 10_000);
    await page.keyboard.press("Home");
    const id = await cursorAt(page, 1);
    await page.keyboard.press("Enter");
    await expect.poll(() => panel(page).getAttribute("aria-label"), SOONEST).toBe(`Object ${id}`);
    await page.keyboard.press("d"); // the open panel follows
    const second = await cursorAt(page, 2);
    await expect.poll(() => panel(page).getAttribute("aria-label"), SOONEST).toBe(`Object ${second}`);
  });

  test("keys of the wall are heard where nothing has the focus", async ({ visit }) => {
    const page = await visit.open();
    await page.keyboard.press("d");
    await page.keyboard.press("d");
    await cursorAt(page, 2);
  });

  test("image, reconstruction, residual, triple, stretch, invert and channels are asked for", async ({ visit }) => {
    const page = await visit.open();
    for (const part of ["Reconstruction", "Residual", "Triple", "Image"]) {
      const button = tools(page).getByRole("button", { name: part, exact: true });
      if (part === "Image") await button.click(); // is there already
      else await nextSheet(page, () => button.click(), (asked) => asked.get("part") === part.toLowerCase());
      expect(await button.getAttribute("aria-pressed")).toBe("true");
    }
    const press = (name: string | RegExp) => () => tools(page).getByRole("button", { name }).click();
    await nextSheet(page, press("Invert"), (asked) => asked.get("invert") === "1");
    await nextSheet(page, press(/^green/), (asked) => asked.get("channels") === "rb");
    const stretch = page.getByRole("slider", { name: /^Stretch/ });
    await stretch.focus();
    await nextSheet(page, () => page.keyboard.press("ArrowRight"), (asked) => Math.abs(Number(asked.get("stretch")) - 1.05) < 1e-6);
    await tools(page).getByRole("button", { name: "Reset" }).click();
    expect(await tools(page).getByRole("button", { name: "Reset" }).count()).toBe(0);
    expect(drawn(await still(wall(page)), 60).count).toBeGreaterThan(20_000);
  });

  test("images are sorted by a column, in both directions", async ({ visit }) => {
    const page = await visit.open();
    for (const descending of [true, false]) {
      const sheet = await nextSheet(page, async () => {
        if (descending) await tools(page).getByRole("combobox", { name: "Sort by" }).selectOption("magnitude");
        else await tools(page).getByRole("button", { name: "Largest first; turn round" }).click();
      });
      await idsBy("magnitude", descending, sheet.get("ids")!.split(",").slice(0, 20));
    }
  });

  test("a random subset is shown, another, and all again", async ({ visit }) => {
    const page = await visit.open();
    const draw = async (name: string) => (await nextSheet(page, () => tools(page).getByRole("button", { name }).click())).get("ids");
    const first = await draw("Random subset");
    await expect.poll(() => countOf(page), SOONEST).toBe(500);
    expect(await draw("Again")).not.toBe(first);
    expect(await countOf(page)).toBe(500);
    await tools(page).getByRole("button", { name: "Show all, not a random subset" }).click();
    await expect.poll(() => countOf(page), SOONEST).toBe(10_000);
  });

  test("Ctrl+A marks what is on the screen, Shift a range, a box what it holds, Escape unmarks", async ({ visit }) => {
    const page = await visit.open();
    const note = page.locator("section[aria-label='Images'] .note");
    await wall(page).focus();
    await page.keyboard.press("ArrowRight");
    for (let step = 0; step < 4; step++) await page.keyboard.press("Shift+ArrowRight");
    await note.getByText("5 marked").waitFor();
    await page.keyboard.press("Escape");
    await note.waitFor({ state: "detached" });
    await page.keyboard.press("Control+a");
    await expect.poll(async () => Number((await note.textContent())?.match(/\d+/)?.[0]), SOONEST).toBeGreaterThan(40);
    await page.keyboard.press("Escape");
    const box = (await wall(page).boundingBox())!;
    await page.keyboard.down("Shift");
    await page.mouse.move(box.x + 60, box.y + 20);
    await page.mouse.down();
    await page.mouse.move(box.x + 260, box.y + 240, { steps: 5 });
    await page.mouse.up();
    await page.keyboard.up("Shift");
    await expect.poll(async () => Number((await note.textContent())?.match(/\d+/)?.[0]), SOONEST).toBeGreaterThan(3);
    await page.keyboard.press("Escape");
    await note.waitFor({ state: "detached" });
  });
});
