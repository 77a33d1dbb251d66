// Stage 1: the device opens, computes and moves bytes.
import { add, full, tensor, zeros } from "../../tensor/index.js";
import type { Finding } from "../report.js";
import type { CaseContext, CheckCase, Stage } from "../stage.js";

const passed: Finding = {};

async function fillAddRead({ device }: CaseContext): Promise<Finding> {
  // Several blocks of threads and a partial one.
  const count = 100_003;
  const x = full(device, [count], 1.5);
  const y = tensor(
    device,
    Float32Array.from({ length: count }, (_, i) => i),
  );
  const sum = await add(x, y).read();
  const wrong = sum.findIndex((value, i) => value !== i + 1.5);
  if (wrong < 0) return passed;
  return { fault: "wrong", message: `element ${wrong} of 1.5 + ${wrong}: got ${sum[wrong]}` };
}

async function countMemory({ open }: CaseContext): Promise<Finding> {
  // A device of its own, because the garbage collector may release tensors of earlier cases.
  const device = await open({});
  const bytes = 16 * 2 ** 20;
  const x = zeros(device, [bytes / 4]);
  const during = device.memory();
  x.dispose();
  await device.synchronize();
  const after = device.memory();
  device.trim();
  const { cached } = device.memory();
  const measured = { allocated: during.allocated, cached: after.cached, peak: after.peak };
  const wrong = (message: string): Finding => ({ fault: "wrong", measured, message });
  if (during.allocated !== bytes) return wrong(`${during.allocated} bytes are allocated for a tensor of ${bytes}`);
  if (after.allocated !== 0) return wrong(`${after.allocated} bytes are allocated after the only tensor was disposed`);
  if (after.cached < bytes || cached !== 0) return wrong(`${after.cached} bytes are cached, and ${cached} after trim`);
  return { measured };
}

const cases: readonly CheckCase[] = [
  { name: "fill, add, read", run: fillAddRead },
  { name: "memory", run: countMemory },
];

/** Opening, memory, streams and transfers. */
export const deviceStage: Stage = {
  name: "device",
  title: "open, fill, add, read, memory, streams, transfers",
  groups: () => [{ name: "device", cases }],
};
