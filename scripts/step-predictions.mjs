// Predicts the milliseconds of training steps on an H200, operation by operation: from the work of each operation, two
// published rates of the device, and the instructions of the kernels (lib/bench/predictions.ts). Needs a clone that is
// set up, but no GPU. scripts/kernel-figures.mjs writes the tables into docs/kernels.md.
import { costOf } from "../dist/bench/cost.js";
import { efficiencies, h200, predictedMilliseconds } from "../dist/bench/predictions.js";
import { recordsOfStep, trainingSubjects } from "../dist/bench/training-rows.js";
import { openDevice } from "../dist/index.js";

/**
 * The records of a step with a full batch. Records of such a step would take minutes on a CPU. Every size grows
 * linearly with the number of items, so the sizes follow from steps with one item and with two.
 */
function scaledRecords(items, one, two) {
  if (one.length !== two.length) throw new Error("the number of items changes the operations of a step");
  const scaled = (tensors, others) =>
    tensors.map((tensor, i) => ({
      ...tensor,
      shape: tensor.shape.map((size, axis) => size + (others[i].shape[axis] - size) * (items - 1)),
    }));
  return one.map((record, i) => ({
    ...record,
    inputs: scaled(record.inputs, two[i].inputs),
    outputs: scaled(record.outputs, two[i].outputs),
  }));
}

/** The predicted time of each operation of a training step, the longest first. */
async function predictStep(device, [full, one, two]) {
  const { batch } = full.sizes;
  const records = scaledRecords(batch, await recordsOfStep(device, one), await recordsOfStep(device, two));
  const rows = new Map();
  for (const record of records) {
    const cost = costOf(record);
    const row = rows.get(record.operation) ?? {
      operation: record.operation,
      calls: 0,
      bytes: 0,
      flops: 0,
      milliseconds: 0,
    };
    row.calls += 1;
    row.bytes += cost.bytes;
    row.flops += cost.flops;
    row.milliseconds += predictedMilliseconds(cost);
    rows.set(record.operation, row);
  }
  const operations = [...rows.values()].sort((a, b) => b.milliseconds - a.milliseconds);
  const milliseconds = operations.reduce((sum, row) => sum + row.milliseconds, 0);
  return { training: full.name, batch: full.batch, milliseconds, operations };
}

/** Predicts a step of each training of the benchmark. */
export async function predictSteps() {
  const device = await openDevice("cpu");
  try {
    const [full, one, two] = [undefined, 1, 2].map((items) => trainingSubjects("full", items));
    const steps = [];
    for (const [i, subject] of full.entries()) steps.push(await predictStep(device, [subject, one[i], two[i]]));
    return { rates: h200, steps };
  } finally {
    await device.close();
  }
}

const digits = (value) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));

/** The predictions as a section of docs/kernels.md. */
export function predictionSection({ rates, steps }) {
  const tables = steps.map(({ training, batch, milliseconds, operations }) => {
    const rows = operations.map(({ operation, calls, bytes, flops, milliseconds: time }) => {
      const work = flops > 0 ? `${digits(flops / 1e9)}` : "";
      return `| ${operation} | ${calls} | ${digits(bytes / 1e6)} | ${work} | ${time.toFixed(2)} |`;
    });
    return [
      `### ${training}, ${batch}, bf16: ${milliseconds.toFixed(1)} ms`,
      "",
      "| operation | calls | MB | GFLOP | ms |",
      "| --- | --- | --- | --- | --- |",
      ...rows,
    ].join("\n");
  });
  const families = Object.entries(efficiencies).map(
    ([family, { copy, matrix, reason }]) =>
      `| ${family} | ${Math.round(100 * copy)} % | ${matrix === 1 ? "" : `${Math.round(100 * matrix)} %`} | ${reason} |`,
  );
  return `## Predicted training steps on an H200

Predictions, not measurements. An operation takes the longer of two times: its bytes at a part of the rate of a copy
(${rates.copy.toLocaleString("en-US")} GB/s), and its products at a part of the rate of cuBLAS (${rates.matrix} TFLOP/s); and ${rates.launch * 1000} µs for the launch. The parts follow
from the instructions of the kernels in machine code, and from estimates where the reason says so
(\`lib/bench/predictions.ts\`). The work is counted from the records of a step (\`lib/bench/cost.ts\`). The time of the
host and of the transfer of the batch is not in them. \`stepsize check --device cuda:0 --bench\` measures the same steps
and prints the prediction beside the measurement.

${tables.join("\n\n")}

### Parts of the two rates

| kernels | of the copy | of cuBLAS | reason |
| --- | --- | --- | --- |
${families.join("\n")}
`;
}

if (process.argv[1] === import.meta.filename) console.log(predictionSection(await predictSteps()));
