// Before all journeys: the atlas, and the server that those journeys share that change nothing.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { copied, PYTHON, python, VOTES, serve } from "./server";

declare module "vitest" {
  export interface ProvidedContext {
    folder: string; // of this run
    pristine: string; // the atlas that is copied
    url: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = mkdtempSync(join(tmpdir(), "peculiar-browser-"));
  let pristine = process.env.PECULIAR_ATLAS ?? "";
  if (!existsSync(pristine)) {
    execFileSync(PYTHON, [join(import.meta.dirname, "atlas.py"), join(folder, "made")], { stdio: "inherit" });
    pristine = join(folder, "made", "atlas");
  }
  const shared = copied(pristine, folder, "shared");
  await python(VOTES, shared);
  const server = await serve(shared);
  project.provide("folder", folder);
  project.provide("pristine", pristine);
  project.provide("url", server.url);
  return async () => {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  };
}
