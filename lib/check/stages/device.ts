// Stage 1: the device opens, computes and moves bytes.
import { freemem } from "node:os";
import { SGD } from "../../optim/index.js";
import { add, fill, full, type Tensor, tensor, zeros } from "../../tensor/index.js";
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

/** Work in a stream of the caller, in order with an event. */
async function useStream({ device, open }: CaseContext): Promise<Finding> {
  if (device.name === "cpu") return { measured: { note: "a CPU has no streams" } };
  const count = 1_000_000;
  const x = full(device, [count], 0);
  for (let value = 1; value <= 20; value++) fill(x, value);
  // A second device waits for the work of the first, and a third one works in the stream of the first.
  const waiting = await open({});
  const sharing = await open({ stream: device.stream });
  if (sharing.stream !== device.stream) return { fault: "wrong", message: "the device does not use the given stream" };
  waiting.waitForEvent(device.recordEvent());
  for (const other of [waiting, sharing]) {
    const y = zeros(other, [count]);
    new SGD([pointerTo(y)], { lr: 1, device: other }).step([pointerTo(x)]);
    const wrong = (await y.read()).findIndex((value) => value !== -20);
    const which = other === waiting ? "waited for the event" : "shares the stream";
    if (wrong >= 0) return { fault: "wrong", message: `the device that ${which} read an old value at ${wrong}` };
  }
  return {};
}

function pointerTo({ devicePointer, size }: Tensor) {
  return { devicePointer, length: size };
}

/** Uploads and downloads many bytes at once. The rates are reported and not judged. */
async function transfer({ device, scale }: CaseContext): Promise<Finding> {
  // The host needs the data three times: here, on the way, and as the result.
  const most = scale === "reduced" ? 1e7 : device.name === "cpu" ? 1e8 : 1e9;
  const bytes = 4 * Math.floor(Math.min(most, freemem() / 8) / 4);
  const data = Int32Array.from({ length: bytes / 4 }, (_, i) => i ^ 0x5a5a5a5a);
  const x = zeros(device, [data.length], "int32");
  await device.synchronize();
  const [began, rate] = [performance.now(), (from: number) => bytes / 1e6 / (performance.now() - from)];
  x.write(data);
  await device.synchronize();
  const upload = rate(began);
  const middle = performance.now();
  const back = await x.read();
  const measured = { bytes, uploadGigabytesPerSecond: upload, downloadGigabytesPerSecond: rate(middle) };
  const wrong = back.findIndex((value, i) => value !== data[i]);
  if (wrong < 0) return { measured };
  return {
    fault: "wrong",
    measured,
    message: `element ${wrong} came back as ${back[wrong]} instead of ${data[wrong]}`,
  };
}

const cases: readonly CheckCase[] = [
  { name: "fill, add, read", run: fillAddRead },
  { name: "memory", run: countMemory },
  { name: "streams and events", run: useStream },
  { name: "upload and download", run: transfer },
];

/** Opening, memory, streams and transfers. */
export const deviceStage: Stage = {
  name: "device",
  title: "open, fill, add, read, memory, streams, transfers",
  groups: () => [{ name: "device", cases }],
};
