import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, inject } from "vitest";
import type { Page } from "playwright-core";
import { cursorAt, expect, LARGE, panel, shoot, SMALL, test, wall } from "./fixture";
import { serve, type Server } from "./server";

const AXE = readFileSync(join(import.meta.dirname, "../node_modules/axe-core/axe.min.js"), "utf8");
let locked: Server;

beforeAll(async () => {
  locked = await serve(join(inject("folder"), "shared"), { args: ["--tokens"] });
});
afterAll(() => locked.stop());

interface Finding {
  id: string;
  impact: string;
  nodes: { html: string; failureSummary: string }[];
}

/** What axe finds that is serious or critical. */
async function findings(page: Page, view: string): Promise<string[]> {
  await page.evaluate(AXE);
  const found = await page.evaluate(async () => {
    const run = (globalThis as unknown as { axe: { run(options: object): Promise<{ violations: Finding[] }> } }).axe.run;
    return (await run({ resultTypes: ["violations"] })).violations;
  });
  return found
    .filter((each) => ["serious", "critical"].includes(each.impact))
    .flatMap((each) => each.nodes.map((node) => `${view}: ${each.id}: ${node.html.slice(0, 160)}: ${node.failureSummary.split("\n")[1]?.trim()}`));
}

describe("accessibility", () => {
  for (const [theme, size] of [["dark", LARGE], ["light", SMALL], ["light", LARGE], ["dark", SMALL]] as const)
    test(`axe finds nothing serious: ${theme}, ${size.width} by ${size.height}`, async ({ visit }) => {
      visit.expects(/status of 401/);
      const found: string[] = [];
      const check = async (page: Page, view: string) => {
        found.push(...(await findings(page, view)));
        await shoot(page, `${view} ${theme} ${size.width}`);
      };
      const page = await visit.open({ theme, size, bypassCSP: true });
      await wall(page).focus();
      await page.keyboard.press("d");
      await cursorAt(page, 1);
      await check(page, "explore");
      await page.keyboard.press("Enter");
      await panel(page).getByRole("button", { name: /at distance/ }).first().waitFor();
      await check(page, "object");
      await page.getByRole("button", { name: "Close the object" }).click();
      await page.getByRole("button", { name: "Table", exact: true }).click();
      await page.getByRole("gridcell").first().waitFor();
      await check(page, "table");
      await page.getByRole("button", { name: "Export", exact: true }).click();
      await check(page, "export");
      await page.keyboard.press("Escape");
      await page.getByRole("combobox", { name: "color", exact: true }).selectOption("label");
      await page.locator("section[aria-label='Legend']").getByRole("button").first().waitFor();
      await check(page, "category");
      await page.getByRole("button", { name: "Labels", exact: true }).click();
      await page.getByRole("heading", { name: "Votes" }).waitFor();
      await check(page, "labels");
      await page.getByRole("button", { name: "Help" }).click();
      await page.getByRole("dialog").waitFor();
      await check(page, "help");
      await check(await visit.open({ url: locked.url, theme, size, bypassCSP: true, until: "token" }), "token");
      expect(found).toEqual([]);
    });
});
