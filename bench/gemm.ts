import { openDevice, ops } from "stepsize";
import type { Contender } from "#lib/bench/index.js";
import { baseline } from "./baseline.js";
import { compare, type Result } from "./harness.js";

/** Square products of 512 to 2048, compared with OpenBLAS if it is installed. */
export async function gemm(threads: number): Promise<Result[]> {
  const device = await openDevice("cpu", { threads });
  const results: Result[] = [];
  for (const n of [512, 1024, 2048]) {
    const repeats = Math.max(2, Math.round(2 ** 34 / n ** 3));
    const a = ops.uniform(device, [n, n], { seed: 1 });
    const b = ops.uniform(device, [n, n], { seed: 2 });
    const stepsize: Contender = {
      name: "stepsize",
      run: async () => {
        await device.synchronize();
        const begin = performance.now();
        for (let i = 0; i < repeats; i++) ops.matmul(a, b).dispose();
        await device.synchronize();
        return (performance.now() - begin) / repeats;
      },
    };
    const arrays = [1, 2, 3].map(() => new Float32Array(n * n).fill(0.5)) as [Float32Array, Float32Array, Float32Array];
    const openblas: Contender = { name: "OpenBLAS", run: () => baseline.openblasGemm(n, ...arrays, threads, repeats) };
    const about = { name: `gemm ${n}`, threads, work: { amount: 2 * n ** 3, unit: "GFLOP/s" } } as const;
    results.push(await compare(about, baseline.hasOpenblas() ? [openblas, stepsize] : [stepsize]));
    a.dispose();
    b.dispose();
  }
  await device.close();
  return results;
}
