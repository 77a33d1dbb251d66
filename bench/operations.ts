/**
 * `npx tsx bench/operations.ts [--device cuda:0] [--rounds 11] [--only matmul,conv2d] [--small] [--json file]`: every
 * kind of operation at the sizes of resnet18 and OLMo-36M, measured alternately with a copy of the same number of bytes
 * and with PyTorch if it is installed (--no-torch: without it). With --small, uses sizes for a CPU.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import {
  type Contender,
  findTorch,
  interleave,
  machineFacts,
  type Pass,
  ratioOf,
  Stopwatch,
  spreadOf,
  type TorchPeer,
} from "#lib/bench/index.js";
import { randomTensor } from "#lib/bench/values.js";
import type { Device } from "#lib/native/index.js";
import { elementCount } from "#lib/shapes.js";
import { copy, execute, type Tensor, tensor } from "#lib/tensor/index.js";
import { chosenOf, deviceOf, wholeNumber } from "./arguments.js";
import { type Case, type Input, operationCases } from "./operation-cases.js";
import { torchFor } from "./peers/torch.js";

const { values } = parseArgs({
  options: {
    device: { type: "string", default: "auto" },
    rounds: { type: "string", default: "11" },
    only: { type: "string" },
    small: { type: "boolean", default: false },
    json: { type: "string" },
    "no-torch": { type: "boolean", default: false },
  },
});

function made(device: Device, { shape, dtype, below }: Input, salt: number): Tensor {
  if (dtype !== "int32") return randomTensor(device, shape, dtype, salt);
  // The ids are spread over the whole range and never repeat in succession.
  return tensor(
    device,
    Int32Array.from({ length: elementCount(shape) }, (_, i) => (i * 7919) % (below ?? 1)),
    shape,
  );
}

interface Row extends Pick<Case, "name" | "operation" | "inputs" | "attributes" | "work"> {
  readonly milliseconds: number;
  readonly rate: number;
  /** The other contender's time divided by the library's. Above 1 the library is faster. */
  readonly copy?: number;
  readonly torch?: number;
}

async function measure(device: Device, peer: TorchPeer | undefined, rounds: number, one: Case): Promise<Row> {
  const stopwatch = new Stopwatch(device);
  const inputs = one.inputs.map((input, i) => made(device, input, i));
  const work = () => {
    for (const result of execute(one.operation, inputs, one.attributes)) result.dispose();
  };
  const isCopied = one.work.unit === "GB/s";
  const words = isCopied ? Math.ceil(one.work.amount / 8) : 1;
  const [to, from] = [0, 1].map((salt) => randomTensor(device, [words], "float32", salt)) as [Tensor, Tensor];
  const contenders: Contender<Pass>[] = [{ name: "stepsize", run: stopwatch.passOf(work) }];
  if (isCopied) contenders.push({ name: "copy", run: stopwatch.passOf(() => copy(to, from)) });
  const { inputs: shapes, attributes } = one;
  const question = JSON.stringify({ operation: one.torch, device: device.name, inputs: shapes, attributes });
  if (peer && one.torch) contenders.push({ name: "torch", run: () => peer.ask(question, 10) as Promise<Pass> });
  const passes = await interleave(contenders, rounds);
  const times = (name: string) => passes.get(name)?.map(({ milliseconds }) => milliseconds);
  const stepsizeTimes = times("stepsize") as number[];
  const ratio = (name: string) => {
    const list = times(name);
    return list ? { [name]: ratioOf(list, stepsizeTimes) } : {};
  };
  for (const each of [...inputs, to, from]) each.dispose();
  stopwatch.dispose();
  device.trim();
  const milliseconds = spreadOf(stepsizeTimes).median;
  const { name, operation, work: amount } = one;
  const perSecond = amount.amount / milliseconds / (amount.unit === "GB/s" ? 1e6 : 1e9);
  return {
    name,
    operation,
    inputs: shapes,
    attributes,
    work: amount,
    milliseconds,
    rate: perSecond,
    ...ratio("copy"),
    ...ratio("torch"),
  };
}

const rounds = wholeNumber("--rounds", values.rounds);
const cases = chosenOf(operationCases(values.small), values.only, ({ operation }) => operation);
const device = await deviceOf(values.device);
const found = values["no-torch"] ? { problem: "excluded by --no-torch" } : findTorch();
const peer = torchFor(device, found);
const rows: Row[] = [];
for (const one of cases) {
  const row = await measure(device, peer, rounds, one);
  rows.push(row);
  const parts = [
    row.name.padEnd(44),
    `${row.milliseconds.toPrecision(3)} ms`.padStart(12),
    `${row.rate.toPrecision(3)} ${row.work.unit}`.padStart(16),
    row.copy === undefined ? "".padStart(16) : `${(100 * row.copy).toFixed(0)} % of copy`.padStart(16),
    row.torch === undefined ? "" : `× ${row.torch.toPrecision(3)} of PyTorch`.padStart(20),
  ];
  console.log(parts.join("").trimEnd());
}
await peer?.close();
if (values.json !== undefined) {
  const about = {
    command: `npx tsx bench/operations.ts ${process.argv.slice(2).join(" ")}`,
    ...machineFacts(),
    device: { name: device.name, ...device.describe() },
    torch: "problem" in found ? null : found.version,
    rows,
  };
  writeFileSync(values.json, `${JSON.stringify(about, null, 2)}\n`);
}
await device.close();
