// `peculiar explore` as a process, and Python for what a page cannot do.
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, cpSync } from "node:fs";
import { join, resolve } from "node:path";

const HERE = import.meta.dirname;
const OURS = resolve(HERE, "../../.venv/bin/python");
export const PYTHON = process.env.PYTHON ?? (existsSync(OURS) ? OURS : "python3");
const STARTS_WITHIN = 60_000;

/** Votes of two experts on the first 40 objects, who disagree on ten of them, gathered into the column "label". */
export const VOTES = `
import sys
from peculiar import Atlas
from peculiar.explorer.opened import Opened
from peculiar.labels import Said
atlas = Atlas(sys.argv[1])
ids = Opened(atlas.folder, "main").object_ids[:40].tolist()
classes = [each.name for each in atlas.labels.classes()]
for expert, shift in (("anna", 0), ("ben", 1)):
    said = [Said(f"{expert}-{n:08d}", each, classes[(n + (shift if n < 10 else 0)) % len(classes)], f"2026-01-01T00:00:{n:02d}+00:00") for n, each in enumerate(ids)]
    atlas.labels.add(expert, said)
atlas.gather_labels()
`;

export interface Server {
  url: string;
  port: number;
  /** End at once, as a crash or a power cut would. */
  kill(): Promise<void>;
  stop(): Promise<void>;
}

const running = new Set<ChildProcess>();
process.on("exit", () => running.forEach((each) => each.kill("SIGKILL")));

/** Start a server of an atlas; port 0 is any that is free. */
export function serve(atlas: string, { port = 0, args = [] }: { port?: number; args?: string[] } = {}): Promise<Server> {
  const command = ["-c", "from peculiar.cli import main; main()", "explore", atlas, "--no-browser", "--port", String(port), ...args];
  const child = spawn(PYTHON, command, { env: { ...process.env, COLUMNS: "200" } });
  running.add(child);
  let said = "";
  const ended = new Promise<void>((done) => child.on("exit", () => (running.delete(child), done())));
  return new Promise((started, failed) => {
    const late = setTimeout(() => failed(new Error(`the server did not start: ${said}`)), STARTS_WITHIN);
    const hear = (chunk: Buffer) => {
      said += chunk.toString();
      const found = /http:\/\/127\.0\.0\.1:(\d+)\//.exec(said);
      if (!found) return;
      clearTimeout(late);
      const end = async (signal: NodeJS.Signals) => (child.kill(signal), await ended);
      started({ url: found[0], port: Number(found[1]), kill: () => end("SIGKILL"), stop: () => end("SIGTERM") });
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
    child.on("exit", () => failed(new Error(`the server ended: ${said}`)));
  });
}

/** A copy of an atlas, to be labelled. */
export function copied(atlas: string, folder: string, name: string): string {
  const to = join(folder, name);
  cpSync(atlas, to, { recursive: true });
  return to;
}

/** Run lines of Python; what they print. */
export function python(lines: string, ...args: string[]): Promise<string> {
  return new Promise((done, failed) => {
    const child = spawn(PYTHON, ["-c", lines, ...args]);
    let [said, wrong] = ["", ""];
    child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (wrong += chunk.toString()));
    child.on("exit", (code) => (code ? failed(new Error(wrong)) : done(said.trim())));
  });
}
