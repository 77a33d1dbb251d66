/**
 * `npx tsx bench/training.ts [--device cuda:0] [--precision bf16] [--steps 20] [--rounds 5] [--only resnet18] [--small]
 * [--no-torch] [--json file]`: whole training steps, including batches from the host, of resnet18 with 512 images and
 * of OLMo-36M with 16 sequences of 1,024 tokens. Eager and captured steps alternate with PyTorch's eager and compiled
 * steps, whose batch stays on the device. With --small, uses sizes for a CPU.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { type Contender, findTorch, interleave, machineFacts, ratioOf, spreadOf } from "#lib/bench/index.js";
import { type BatchSource, fromIterable } from "#lib/data/index.js";
import * as models from "#lib/models/index.js";
import type { Device } from "#lib/native/index.js";
import { crossEntropy, type Module } from "#lib/nn/index.js";
import { AdamW } from "#lib/optim/index.js";
import * as schedule from "#lib/schedule/index.js";
import { Trainer } from "#lib/train/index.js";
import type { ModelCard } from "#lib/weights/index.js";
import { chosenOf, deviceOf, refuse, wholeNumber } from "./arguments.js";
import { torchFor } from "./peers/torch.js";

const { values } = parseArgs({
  options: {
    device: { type: "string", default: "auto" },
    precision: { type: "string", default: "bf16" },
    steps: { type: "string", default: "20" },
    rounds: { type: "string", default: "5" },
    only: { type: "string" },
    small: { type: "boolean", default: false },
    "no-torch": { type: "boolean", default: false },
    json: { type: "string" },
  },
});

interface Subject {
  readonly name: string;
  readonly items: number;
  /** Sizes that torch_peer.py gets in addition to the name. */
  readonly sizes: Readonly<Record<string, number>>;
  readonly make: (device: Device) => Module;
  readonly data: () => BatchSource;
  readonly card?: ModelCard;
}

/** Yields the same batch repeatedly. The cost of drawing batches is measured elsewhere. */
function repeated(inputs: Uint8Array | Int32Array, shape: readonly number[], labels: Int32Array, perItem?: number) {
  const targets = perItem === undefined ? labels : { data: labels, shape: [shape[0] as number, perItem] };
  const batch = { inputs: { data: inputs, shape }, labels: targets };
  return fromIterable(function* () {
    for (;;) yield batch;
  });
}

function resnet18(small: boolean): Subject {
  const [batch, side, classes] = small ? [2, 32, 10] : [512, 224, 1000];
  const pixels = Uint8Array.from({ length: batch * side * side * 3 }, (_, i) => (i * 7919) % 256);
  const labels = Int32Array.from({ length: batch }, (_, i) => i % classes);
  const preprocessing = {
    shape: [side, side, 3],
    dtype: "uint8",
    scale: 1 / 255,
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
  } as const;
  return {
    name: "resnet18",
    items: batch,
    sizes: { batch, side, classes },
    make: (device) => models.resnet18({ classes, device, seed: 0 }),
    data: () => repeated(pixels, [batch, side, side, 3], labels),
    card: { preprocessing },
  };
}

function olmo36m(small: boolean): Subject {
  const [batch, length, vocabulary] = small ? [1, 32, 500] : [16, 1024, 50_304];
  const shape = small ? models.olmoShapes["olmo-nano"] : models.olmoShapes["olmo-36m"];
  const tokens = Int32Array.from({ length: batch * length }, (_, i) => (i * 7919) % vocabulary);
  return {
    name: "olmo-36m",
    items: batch * length,
    sizes: { batch, length, vocabulary, ...shape },
    make: (device) => models.olmo({ ...shape, vocabulary, context: length, device, seed: 0 }),
    data: () => repeated(tokens, [batch, length], tokens, length),
  };
}

interface Measured {
  readonly milliseconds: number;
  /** Time per step in which the event loop was busy. */
  readonly hostMicroseconds?: number;
}

/** Measures consecutive passes of `steps` steps of one trainer. */
function passes(trainer: Trainer, steps: number, capture: boolean): () => Promise<Measured> {
  const run = async (count: number) => {
    for await (const record of trainer.run({ until: trainer.step + count, capture, runAhead: true })) void record;
  };
  let isWarm = false;
  return async () => {
    if (!isWarm) await run(3);
    isWarm = true;
    const busy = performance.eventLoopUtilization();
    const begin = performance.now();
    await run(steps);
    const milliseconds = (performance.now() - begin) / steps;
    const { active } = performance.eventLoopUtilization(busy);
    return { milliseconds, hostMicroseconds: (active * 1e3) / steps };
  };
}

function trainerOf(device: Device, { make, data, card }: Subject): Trainer {
  const model = make(device);
  if (values.precision === "bf16") model.setPrecision("bf16");
  const optimizer = new AdamW(model.parameters(), {
    lr: schedule.uba({ budget: 100_000, maxLr: 1e-4 }),
    weightDecay: 0.1,
  });
  return new Trainer({ model, optimizer, loss: crossEntropy, data: data(), card });
}

const [steps, rounds] = [wholeNumber("--steps", values.steps), wholeNumber("--rounds", values.rounds)];
if (!["bf16", "float32"].includes(values.precision))
  refuse(`--precision: expected bf16 or float32, got "${values.precision}"`);
const subjects = [resnet18, olmo36m].map((of) => of(values.small));
const chosen = chosenOf(subjects, values.only, ({ name }) => name);
const found = values["no-torch"] ? { problem: "excluded by --no-torch" } : findTorch();
const rows = [];
for (const subject of chosen) {
  const device = await deviceOf(values.device);
  const peer = torchFor(device, found);
  const contenders: Contender<Measured>[] = [
    { name: "eager", run: passes(trainerOf(device, subject), steps, false) },
    { name: "captured", run: passes(trainerOf(device, subject), steps, true) },
  ];
  const { name, items, sizes } = subject;
  const torchPass = (compiled: boolean) => {
    const question = { training: name, device: device.name, precision: values.precision, compiled, sizes };
    return () => peer?.ask(JSON.stringify(question), steps) as Promise<Measured>;
  };
  if (peer) contenders.push({ name: "torch", run: torchPass(false) });
  // Compiled PyTorch needs a GPU and a compiler for it.
  if (peer && device.name !== "cpu") contenders.push({ name: "torch compiled", run: torchPass(true) });
  const all = await interleave(contenders, rounds);
  const eager = (all.get("eager") as Measured[]).map(({ milliseconds }) => milliseconds);
  for (const [contender, list] of all) {
    const times = list.map(({ milliseconds }) => milliseconds);
    const host = list.flatMap(({ hostMicroseconds }) => hostMicroseconds ?? []);
    const row = {
      model: name,
      contender,
      milliseconds: spreadOf(times),
      itemsPerSecond: (1e3 * items) / spreadOf(times).median,
      ofEager: ratioOf(times, eager),
      ...(host.length > 0 && { hostMicroseconds: spreadOf(host).median }),
    };
    rows.push(row);
    const parts = [
      name.padEnd(10),
      contender.padEnd(16),
      `${row.milliseconds.median.toPrecision(4)} ms`.padStart(12),
      `${row.itemsPerSecond.toFixed(0)} items/s`.padStart(18),
      `× ${row.ofEager.toPrecision(3)} of eager`.padStart(18),
      host.length > 0 ? `host ${spreadOf(host).median.toFixed(0)} µs`.padStart(16) : "",
    ];
    console.log(parts.join("").trimEnd());
  }
  await peer?.close();
  await device.close();
}
if (values.json !== undefined) {
  const device = await deviceOf(values.device);
  const command = `npx tsx bench/training.ts ${process.argv.slice(2).join(" ")}`;
  const facts = { name: device.name, ...device.describe() };
  const torch = "problem" in found ? null : found.version;
  writeFileSync(
    values.json,
    `${JSON.stringify({ command, ...machineFacts(), device: facts, torch, rows }, null, 2)}\n`,
  );
  await device.close();
}
