import { describe } from "vitest";
import type { Page } from "playwright-core";
import { formatValue } from "../src/grid/columns";
import { api, expect, panel, SOONEST, test, type Visit } from "./fixture";

const grid = (page: Page) => page.getByRole("grid", { name: "Objects in order" });
const headers = async (page: Page) => (await grid(page).getByRole("columnheader").allTextContents()).map((each) => each.replace(/[↓↑]/g, "").trim());

async function opened(visit: Visit): Promise<Page> {
  const page = await visit.open();
  await page.getByRole("button", { name: "Table", exact: true }).click();
  await grid(page).waitFor();
  return page;
}

/** Cells of the row at a place of the order, counted from 1, when its values are there. */
async function cells(page: Page, place: number): Promise<string[]> {
  const row = grid(page).locator(`[role=row][aria-rowindex="${place + 1}"]`);
  await row.waitFor();
  await row.locator(".wait").first().waitFor({ state: "detached" });
  return (await row.getByRole("gridcell").allTextContents()).map((each) => each.trim());
}

/** What these cells must say, by the server. */
async function expected(page: Page, place: number, id: string): Promise<string[]> {
  const names = (await headers(page)).slice(3);
  const { columns } = await api<{ columns: { name: string; kind: "number" | "category" | "text" }[] }>("atlas");
  const { rows } = await api<{ rows: (string | number | null)[][] }>("table", { ids: id, names: names.join(",") });
  return [place.toLocaleString("en-US"), "", id, ...names.map((name, at) => formatValue(rows[0][at + 1], columns.find((each) => each.name === name)!).trim())];
}

describe("table", () => {
  test("rows are sorted by a click on a header, and turned by another", async ({ visit }) => {
    const page = await opened(visit);
    for (const direction of ["descending", "ascending"]) {
      await grid(page).getByRole("columnheader").getByRole("button", { name: /^ra$/ }).click();
      await grid(page).locator(`[role=columnheader][aria-sort=${direction}]`).waitFor();
      await expect.poll(() => grid(page).getAttribute("aria-busy"), SOONEST).toBe("false");
      const at = (await headers(page)).indexOf("ra");
      const values: number[] = [];
      for (let place = 1; place <= 10; place++) values.push(Number((await cells(page, place))[at]));
      expect(values).toEqual([...values].sort((a, b) => (direction === "descending" ? b - a : a - b)));
      expect(Math.abs(values[0] - (direction === "descending" ? 151 : 150))).toBeLessThan(0.01);
    }
  });

  test("columns are chosen, and texts that are markup are shown as text", async ({ visit }) => {
    const page = await opened(visit);
    const scripts = await page.locator("script").count();
    await page.getByRole("button", { name: /^Columns/ }).click();
    await page.getByRole("dialog", { name: "Columns shown" }).getByLabel("Find a column").fill("note");
    await page.getByRole("checkbox", { name: "note" }).check();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog", { name: "Columns shown" }).waitFor({ state: "detached" });
    expect(await headers(page)).toContain("note");
    await grid(page).getByText("<script>alert(1)</script>").first().waitFor();
    await grid(page).getByText("<img src=x onerror=alert(1)>").first().waitFor();
    expect(await page.locator("script").count()).toBe(scripts);
    expect(await page.locator("img[src='x']").count()).toBe(0);
    const [, , id] = await cells(page, 2);
    expect(await cells(page, 2)).toEqual(await expected(page, 2, id));
  });

  test("row 9,000 is reached by the wheel and the last by a key, with the values of the server", async ({ visit }) => {
    const page = await opened(visit);
    await grid(page).hover();
    await page.mouse.wheel(0, 38 * 8_990);
    const far = await cells(page, 9_000);
    expect(far).toEqual(await expected(page, 9_000, far[2]));
    expect(await grid(page).getByRole("row").count()).toBeLessThan(60);
    await grid(page).focus();
    await page.keyboard.press("End");
    const last = await cells(page, 10_000);
    expect(last).toEqual(await expected(page, 10_000, last[2]));
    await page.keyboard.press("Home");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    const [, , id] = await cells(page, 2);
    await expect.poll(() => panel(page).getAttribute("aria-label"), SOONEST).toBe(`Object ${id}`);
  });
});
