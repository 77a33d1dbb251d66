import { createRequire } from "node:module";

/** The native baselines of `bench/native/baseline.cc`. */
interface Baseline {
  adamwTraffic(
    p: Float32Array,
    g: Float32Array,
    m: Float32Array,
    v: Float32Array,
    threads: number,
    repeats: number,
  ): number;
  hasOpenblas(): boolean;
  openblasGemm(n: number, a: Float32Array, b: Float32Array, c: Float32Array, threads: number, repeats: number): number;
}

export const baseline = createRequire(import.meta.url)("./native/build/Release/baseline.node") as Baseline;
