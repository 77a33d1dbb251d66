// The program that runs cases of one group, in a process of its own. `protocol.ts` describes what it is asked and what
// it answers.
import { writeSync } from "node:fs";
import { isMainThread, parentPort, workerData } from "node:worker_threads";
import { type Device, type DeviceOptions, openDevice } from "../native/index.js";
import { messageOf } from "../realms.js";
import { answerDescriptor, type GroupEvent, type GroupRequest } from "./protocol.js";
import { openReference } from "./reference.js";
import type { Finding } from "./report.js";
import { type CheckCase, scaleOf } from "./stage.js";
import { replayOnThread, type ThreadRequest } from "./stages/capture.js";
import { findGroup } from "./stages.js";

/** Writes a line at once, because the next thing that happens may be the end of the process. */
function answer(event: GroupEvent): void {
  writeSync(answerDescriptor, `${JSON.stringify(event)}\n`);
}

/** Ends this process with the one that started it, which cannot kill it if it was killed itself. */
function endWithParent(): void {
  // An exit would wait for a kernel that hangs.
  const end = () => process.kill(process.pid, "SIGKILL");
  process.stdin.on("end", end).on("error", end).resume();
}

async function findingOf(work: () => Promise<Finding>): Promise<Finding> {
  try {
    return await work();
  } catch (error) {
    return { fault: "error", message: messageOf(error) };
  }
}

async function main({ device: name, stage, group, cases }: GroupRequest): Promise<void> {
  endWithParent();
  const chosen = findGroup(stage, group).cases.filter((one) => cases.includes(one.name));
  const opened: Device[] = [];
  const open = async (options: DeviceOptions) => {
    const device = await openDevice(name, options);
    opened.push(device);
    return device;
  };
  let reference: Promise<Device> | undefined;
  const openExpected = async (device: Device) => {
    const expected = await openReference(device);
    opened.push(expected);
    return expected;
  };
  const runCase = async (device: Device, { name, run }: CheckCase): Promise<Finding> => {
    answer({ event: "started", name });
    const started = performance.now();
    const finding = await findingOf(() =>
      run({
        device,
        scale: scaleOf(device.name),
        reference: () => (reference ??= openExpected(device)),
        open,
        measured: (figures) => answer({ event: "measured", name, figures }),
      }),
    );
    answer({ event: "ended", name, milliseconds: performance.now() - started, finding });
    return finding;
  };
  const device = await open({}).catch((error: unknown) => {
    answer({ event: "refused", message: messageOf(error) });
    return process.exit(0);
  });
  answer({ event: "opened", name: device.name, facts: device.describe() });
  for (const one of chosen) {
    const { fault } = await runCase(device, one);
    // The error may have made the device unusable, so the next case gets a new process.
    if (fault === "error") process.exit(0);
  }
  await Promise.all(opened.map((one) => one.close()));
  process.exit(0);
}

/** Runs on a thread that a case started. */
async function runThread({ device, replays }: ThreadRequest): Promise<void> {
  parentPort?.postMessage(await replayOnThread(await openDevice(device), replays));
}

if (isMainThread) await main(JSON.parse(process.argv[2] ?? ""));
else await runThread(workerData);
