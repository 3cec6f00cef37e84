// How long the page of a server takes until it shows something; for benchmarks/explorer.py: node measure.mjs URL [FOLDER].
import { chromium } from "playwright-core";

const [, , url, shots] = process.argv;
const args = ["--no-sandbox", "--disable-quic", "--disable-background-networking"];
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args });
const page = await browser.newPage({ viewport: { width: 1600, height: 950 } });
await page.goto(url);

/** Milliseconds from the navigation to the last mark of this name, when there is one. */
async function marked(name) {
  const last = (name) => performance.getEntriesByName(name).at(-1)?.startTime;
  return (await page.waitForFunction(last, name, { timeout: 120_000 })).jsonValue();
}

/** When all images were there: the last mark since then after which none came for a while. */
async function settled(since) {
  const isNew = (since) => performance.getEntriesByName("wall").at(-1)?.startTime > since;
  await page.waitForFunction(isNew, since, { timeout: 120_000 });
  for (let last = -1; ; ) {
    const now = await marked("wall");
    if (now === last) return now;
    last = now;
    await page.waitForTimeout(800);
  }
}

const told = { map: await marked("map"), wall: await settled(0) };
if (shots) await page.screenshot({ path: `${shots}/first.png` });
for (const size of [32, 16]) {
  const began = await page.evaluate(() => performance.now());
  await page.getByRole("slider", { name: /size/i }).first().fill(String(Math.log2(size)));
  told[`wall_${size}`] = (await settled(began)) - began;
  if (shots) await page.screenshot({ path: `${shots}/wall-${size}.png` });
}

const box = await page.locator('[role="application"]').first().boundingBox();
await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
const before = await page.evaluate(() => [performance.getEntriesByName("map").length, performance.now()]);
for (let turn = 0; turn < 40; turn++) {
  await page.mouse.wheel(0, turn % 2 ? 120 : -120);
  await page.waitForTimeout(20);
}
const after = await page.evaluate(() => [performance.getEntriesByName("map").length, performance.now()]);
told.frame = (after[1] - before[1]) / (after[0] - before[0]);
console.log(JSON.stringify(told));
await browser.close();
