/**
 * `npx tsx bench/curvature.ts [--out <file>]`: the curvature of resnet8 on MNIST at several moments of two runs,
 * `stepsize train --budget 300` with `--optimizer sgd` and with adamw, and the noise floor as a function of the batch.
 * Prints a row for each and writes bench/results/curvature-resnet8-mnist.json. `npx tsx bench/curvature-table.ts` then
 * writes the rows into docs/uba.md. Takes about ten minutes on two cores.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { completeConfig } from "#lib/cli/config/train-config.js";
import { adamPreconditioner, type Curvature, curvature } from "#lib/curvature/index.js";
import { openDevice } from "#lib/native/index.js";
import { Preprocessing } from "#lib/nn/index.js";
import { assembleRun, openTask } from "#lib/tasks/index.js";
import { readCheckpoint } from "#lib/weights/index.js";
import type { CurvatureResults, Row } from "./curvature-table.js";
import { line } from "./curvature-table.js";

const { values } = parseArgs({ options: { out: { type: "string" } } });
const moments = [0, 15, 75, 150, 225, 300];
const steps = 40;

const folder = mkdtempSync(join(tmpdir(), "stepsize-"));
const checkpoint = join(folder, "now.safetensors");
const task = await openTask("mnist");
const rows: Row[] = [];
for (const optimizer of ["sgd", "adamw"] as const) {
  const device = await openDevice("cpu");
  const label = (field: string) => field;
  const { settings, schedule } = completeConfig({ values: { budget: 300, optimizer }, label });
  const { model, card, trainer, batches } = assembleRun(settings, { task, device, schedule });
  const normalize = new Preprocessing(card.preprocessing!);
  const prepare = (raw: Parameters<typeof normalize.apply>[0]) => normalize.apply(raw);
  for (const moment of moments) {
    for await (const record of trainer.run({ until: moment })) void record;
    const look = async (adam: boolean, batch: number, products: number) => {
      // Another seed than the run's, so that the items are not those that it saw last.
      const source = task.trainingBatches({ size: batch, seed: 1 });
      await trainer.save(checkpoint);
      const preconditioner = adam ? await adamPreconditioner(await readCheckpoint(checkpoint)) : undefined;
      const found = await curvature(model, await source.at(0), {
        loss: task.loss,
        prepare,
        preconditioner,
        steps: products,
      });
      await source.close();
      const row = rowOf(found, { optimizer, adam, moment, batch, learningRate: schedule(Math.min(moment, 299)) });
      rows.push(row);
      console.log(line(row));
    };
    await look(false, 512, steps);
    if (optimizer === "adamw" && moment > 0) await look(true, 512, steps);
    if (optimizer === "sgd" && moment === 300) for (const batch of [128, 2048]) await look(false, batch, steps);
  }
  await batches.close();
  await device.close();
}

rmSync(folder, { recursive: true });

const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
const about = { cpu: cpus()[0]?.model.trim() ?? "unknown", node: process.version, commit };
const results: CurvatureResults = {
  command: "npx tsx bench/curvature.ts",
  ...about,
  date: new Date().toISOString().slice(0, 10),
  rows,
};
const file = values.out ?? join(import.meta.dirname, "results", "curvature-resnet8-mnist.json");
writeFileSync(file, `${JSON.stringify(results, fourDigits, 1)}\n`);
console.log(`written to ${file}`);

function rowOf(found: Curvature, about: Pick<Row, "optimizer" | "adam" | "moment" | "batch" | "learningRate">): Row {
  const { loss, gradientNorm, lambdaMax, lambdaMin, lambdaQ, kappa, negativeMass, noiseFloor, distance, ritz } = found;
  const nodes = ritz.map(({ value, weight }) => [value, weight] as const);
  return {
    ...about,
    loss,
    gradientNorm,
    lambdaMax,
    lambdaMin,
    lambdaQ,
    kappa,
    negativeMass,
    noiseFloor,
    distance,
    nodes,
  };
}

function fourDigits(_: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
}
