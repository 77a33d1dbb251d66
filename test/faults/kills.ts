// Kills runs at random moments and checks the result: every checkpoint on the disk loads, and a run that continues from
// the newest one ends with the bits of an undisturbed run.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { PhiloxStream } from "#lib/random.js";
import { lastLineOf, library } from "../train/support/children.js";
import type { Damage } from "./damage.js";

/** Number and moments of the kills. */
export interface Kills {
  readonly kills: number;
  /** Seed of the random moments. Default 0. */
  readonly seed?: number;
  /** Called after each kill. */
  readonly onProgress?: (done: number) => void;
}

/**
 * Trains in a separate process with a checkpoint after every step, kills the process with SIGKILL at a random moment
 * and continues from the newest checkpoint in another one, as often as requested. A kill is lost if a checkpoint
 * differs in any byte from that of an undisturbed run, whose checkpoints were all loaded, if a run cannot continue, or
 * if it ends otherwise.
 */
export async function injectKills({ kills, seed = 0, onProgress }: Kills): Promise<Damage> {
  const folder = mkdtempSync(join(tmpdir(), "stepsize-kills-"));
  try {
    return await injectInto(folder, kills, new PhiloxStream(seed, 0), onProgress);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function injectInto(
  folder: string,
  kills: number,
  random: PhiloxStream,
  onProgress: ((done: number) => void) | undefined,
): Promise<Damage> {
  const program = join(folder, "program.mjs");
  writeFileSync(program, text);
  const reference = join(folder, "undisturbed");
  const undisturbed = await finish(program, reference, "reference");
  const lost: string[] = [];
  let injected = 0;
  for (let round = 0; injected < kills; round++) {
    const place = join(folder, String(round));
    // Killed repeatedly until the run is complete, also while it loads or removes files.
    while (injected < kills && (await killed(program, place, random.uniform()))) {
      injected++;
      onProgress?.(injected);
      for (const name of checkpointsIn(place)) {
        const isSame = readFileSync(join(place, name)).equals(readFileSync(join(reference, name)));
        if (!isSame) lost.push(`kill ${injected}: ${name} is not that of an undisturbed run`);
      }
    }
    const end = await finish(program, place, "finish").catch((error: Error) => error.message);
    if (end !== undisturbed) lost.push(`run ${round} ended otherwise: ${end}`);
    rmSync(place, { recursive: true });
  }
  return { injected, lost };
}

function checkpointsIn(place: string): string[] {
  return existsSync(place) ? readdirSync(place).filter((name) => name.endsWith(".safetensors")) : [];
}

/** Starts a run in a folder and kills it. Returns whether it was killed before its end. */
async function killed(program: string, place: string, moment: number): Promise<boolean> {
  const child = spawn(process.execPath, [program, place, "train"], { stdio: ["ignore", "pipe", "ignore"] });
  const ended = new Promise<NodeJS.Signals | null>((resolve) => {
    child.on("close", (_, signal) => resolve(signal));
  });
  // The program prints a line when it starts to read. Earlier moments do not involve files.
  await Promise.race([new Promise((resolve) => child.stdout.once("data", resolve)), ended]);
  child.stdout.resume();
  await sleep(moment * 150);
  child.kill("SIGKILL");
  return (await ended) === "SIGKILL";
}

/** Lets a run continue to its end, and returns the digest of its final state. */
function finish(program: string, place: string, task: "reference" | "finish"): Promise<string> {
  return lastLineOf(task, spawn(process.execPath, [program, place, task], { stdio: ["ignore", "pipe", "pipe"] }));
}

const text = `
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { AdamW, data, models, nn, openDevice, schedule, Trainer } from ${library};

const [place, task] = process.argv.slice(2);
mkdirSync(place, { recursive: true });
const device = await openDevice("cpu", { threads: 1 });
const budget = 40;
const set = data.fromArrays({
  inputs: Float32Array.from({ length: 64 * 20 }, (_, i) => Math.sin(i * i)),
  labels: Int32Array.from({ length: 64 }, (_, i) => i % 4),
  shape: [20],
});
function make() {
  const model = models.mlp({ inputs: 20, hidden: [300], classes: 4, device, seed: 1 });
  const optimizer = new AdamW(model.parameters(), { lr: schedule.uba({ budget, maxLr: 0.01 }) });
  const trainer = new Trainer({ model, optimizer, loss: nn.crossEntropy, data: set.batches({ size: 16 }) });
  return { model, optimizer, trainer };
}
async function digestOf({ model, optimizer, trainer }) {
  const hash = createHash("sha256").update(String(trainer.step));
  for (const state of [model.stateDict(), optimizer.stateDict()])
    for (const [name, one] of state) hash.update(name).update(await one.read());
  return hash.digest("hex");
}
const pathOf = (step) => join(place, step + ".safetensors");
const names = (ending) => readdirSync(place).filter((name) => name.endsWith(ending));
console.log("begun");
const one = make();
const newest = Math.max(0, ...names(".safetensors").map((name) => parseInt(name)));
if (newest > 0) await one.trainer.load(pathOf(newest));
// What a kill left half written goes, as in a run of the command.
for (const name of names(".partial")) rmSync(join(place, name));
const digests = [];
for await (const { step } of one.trainer.run({ checkpointEvery: { steps: 1, path: pathOf } })) {
  if (task === "reference") digests[step + 1] = await digestOf(one);
  // As many stay as in a run of the command.
  else rmSync(pathOf(step - 2), { force: true });
}
const other = make();
for (const step of digests.keys()) {
  if (step === 0) continue;
  await other.trainer.load(pathOf(step));
  if ((await digestOf(other)) !== digests[step]) throw new Error("the checkpoint of step " + step + " differs");
}
console.log(await digestOf(one));
await device.close();
`;
