// Limits set by control groups, read from file systems made for the test. Containers, batch systems and services nest
// groups.
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { temporaryFolders } from "../support/folders.js";

const folder = temporaryFolders();
const program = join(folder(), "available-resources");

beforeAll(() => {
  const sources = ["support/available_resources_program.cc", "../../native/cpu/available_resources.cc"];
  const files = sources.map((name) => resolve(import.meta.dirname, name));
  const flags = ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"];
  const { status, stderr } = spawnSync("g++", [...flags, ...files, "-o", program], { encoding: "utf8" });
  expect(status, stderr).toBe(0);
});

/** The limits that the program finds in a file system with these files. */
function granted(files: Record<string, string>): { cpus: number; memory: number } {
  const root = folder();
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(root, dirname(name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  const { status, stdout, stderr } = spawnSync(program, [root], { encoding: "utf8" });
  expect(status, stderr).toBe(0);
  const { cpus, memory } = JSON.parse(stdout) as Record<string, string>;
  const number = (text?: string) => (text === "inf" ? Number.POSITIVE_INFINITY : Number(text));
  return { cpus: number(cpus), memory: number(memory) };
}

const unlimited = { cpus: Number.POSITIVE_INFINITY, memory: Number.POSITIVE_INFINITY };
const unified = "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

describe("version 2", () => {
  const groupFiles = { "proc/self/mountinfo": unified, "proc/self/cgroup": "0::/user.slice/job/step\n" };

  test("the smallest quota between the group and the root applies", () => {
    const quotas = { step: "400000 100000", job: "150000 50000", "user.slice": "max 100000" };
    for (const least of ["user.slice", "user.slice/job", "user.slice/job/step"]) {
      const files = {
        "sys/fs/cgroup/user.slice/cpu.max": quotas["user.slice"],
        "sys/fs/cgroup/user.slice/job/cpu.max": quotas.job,
        "sys/fs/cgroup/user.slice/job/step/cpu.max": quotas.step,
        [`sys/fs/cgroup/${least}/cpu.max`]: "50000 100000\n",
      };
      expect(granted({ ...groupFiles, ...files }).cpus).toBe(0.5);
    }
    expect(granted({ ...groupFiles, "sys/fs/cgroup/user.slice/job/cpu.max": "150000 50000\n" }).cpus).toBe(3);
  });

  test("memory is the smallest remaining amount", () => {
    const files = {
      "sys/fs/cgroup/user.slice/memory.max": "max\n",
      "sys/fs/cgroup/user.slice/memory.current": "7000\n",
      "sys/fs/cgroup/user.slice/job/memory.max": "5000\n",
      "sys/fs/cgroup/user.slice/job/memory.current": "4600\n",
      "sys/fs/cgroup/user.slice/job/step/memory.max": "3000\n",
      "sys/fs/cgroup/user.slice/job/step/memory.current": "1000\n",
    };
    expect(granted({ ...groupFiles, ...files }).memory).toBe(400);
    expect(granted({ ...groupFiles, ...files, "sys/fs/cgroup/user.slice/job/memory.current": "6000\n" }).memory).toBe(
      0,
    );
  });

  test("a sibling group, or one with a longer name, is ignored", () => {
    const files = { "sys/fs/cgroup/user.slice/job2/cpu.max": "1000 100000", "sys/fs/cgroup/other/cpu.max": "1 100000" };
    expect(granted({ ...groupFiles, ...files })).toEqual(unlimited);
  });

  test("a container's group is the root", () => {
    const inside = { "proc/self/mountinfo": unified, "proc/self/cgroup": "0::/\n" };
    expect(granted({ ...inside, "sys/fs/cgroup/cpu.max": "200000 100000\n" }).cpus).toBe(2);
    // Without a namespace the mount names the group that it shows.
    const bound = unified.replace(" / /sys", " /docker/ab /sys");
    const outside = { "proc/self/mountinfo": bound, "proc/self/cgroup": "0::/docker/ab/job\n" };
    const files = { "sys/fs/cgroup/cpu.max": "300000 100000\n", "sys/fs/cgroup/job/cpu.max": "100000 100000\n" };
    expect(granted({ ...outside, ...files }).cpus).toBe(1);
    // The process is in a group that the mount does not show. The limits of the shown group still apply.
    const elsewhere = { ...outside, "proc/self/cgroup": "0::/docker/abc\n" };
    expect(granted({ ...elsewhere, ...files }).cpus).toBe(3);
    const above = { ...inside, "proc/self/cgroup": "0::/../job\n" };
    expect(granted({ ...above, ...files }).cpus).toBe(3);
  });

  test("a mount point may have a space in its name", () => {
    const spaced = { ...groupFiles, "proc/self/mountinfo": unified.replace("/sys/fs/cgroup", "/the\\040groups") };
    expect(granted({ ...spaced, "the groups/user.slice/cpu.max": "70000 100000" }).cpus).toBeCloseTo(0.7, 10);
  });
});

describe("version 1", () => {
  const mounts =
    "31 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:4 master:1 - cgroup cgroup rw,cpu,cpuacct\n" +
    "32 30 0:29 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n" +
    "34 30 0:31 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";
  const groups = "4:memory:/batch/7\n3:cpuset:/elsewhere\n1:cpu,cpuacct:/batch/7\n0::/\n";
  const groupFiles = { "proc/self/mountinfo": mounts, "proc/self/cgroup": groups };
  const quota = (path: string, quota: number, period = 100000) => ({
    [`sys/fs/cgroup/cpu,cpuacct${path}/cpu.cfs_quota_us`]: `${quota}\n`,
    [`sys/fs/cgroup/cpu,cpuacct${path}/cpu.cfs_period_us`]: `${period}\n`,
  });

  test("the smallest quota between the group and the root applies, and -1 means no limit", () => {
    const free = { ...quota("", -1), ...quota("/batch", -1), ...quota("/batch/7", -1) };
    expect(granted({ ...groupFiles, ...free }).cpus).toBe(Number.POSITIVE_INFINITY);
    for (const path of ["", "/batch", "/batch/7"])
      expect(granted({ ...groupFiles, ...free, ...quota("/batch", 800000), ...quota(path, 75000, 50000) }).cpus).toBe(
        1.5,
      );
  });

  test("memory is the smallest remaining amount", () => {
    const memory = {
      "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
      "sys/fs/cgroup/memory/memory.usage_in_bytes": "100\n",
      "sys/fs/cgroup/memory/batch/memory.limit_in_bytes": "1000\n",
      "sys/fs/cgroup/memory/batch/memory.usage_in_bytes": "900\n",
    };
    expect(granted({ ...groupFiles, ...memory }).memory).toBe(100);
  });

  test("with both versions mounted, the smaller limit applies", () => {
    const both = { ...groupFiles, "proc/self/mountinfo": `${mounts}${unified}` };
    const files = { ...quota("/batch", 250000), "sys/fs/cgroup/cpu.max": "200000 100000\n" };
    expect(granted({ ...both, ...files }).cpus).toBe(2);
  });
});

describe("the affinity mask", () => {
  const cpus = (possible: number, allowed: number) => {
    const { status, stdout, stderr } = spawnSync(program, [`${possible}`, `${allowed}`], { encoding: "utf8" });
    expect(status, stderr).toBe(0);
    return Number(stdout);
  };

  test.each([
    [8, 3],
    [1024, 1024],
    // The C library's fixed set has room for 1,024.
    [1025, 1],
    [1025, 1025],
    [8192, 4000],
    [2 ** 20, 2 ** 20],
  ])("of a machine with up to %i CPUs may allow %i of them", (possible, allowed) => {
    expect(cpus(possible, allowed)).toBe(allowed);
  });

  test("counts as one CPU if the system refuses its size or does not provide it", () => {
    expect(cpus(2 ** 21, 2 ** 21)).toBe(1);
    expect(cpus(0, 0)).toBe(1);
  });
});

describe("unreadable files mean no limit", () => {
  test.each([
    ["no files", {}],
    ["an empty list of mounts", { "proc/self/mountinfo": "", "proc/self/cgroup": "0::/a\n" }],
    ["truncated lines", { "proc/self/mountinfo": "31 30 0:28 /\n - \n31 30 0:28 / /sys/fs/cgroup -\n" }],
    ["a quota that is not a number", { "proc/self/mountinfo": unified, "sys/fs/cgroup/cpu.max": "many few\n" }],
    ["a period of 0", { "proc/self/mountinfo": unified, "sys/fs/cgroup/cpu.max": "1000 0\n" }],
    ["an empty quota", { "proc/self/mountinfo": unified, "sys/fs/cgroup/cpu.max": "" }],
  ])("%s", (_, files) => {
    expect(granted(files)).toEqual(unlimited);
  });
});
