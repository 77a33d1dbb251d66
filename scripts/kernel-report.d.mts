/** The compiler's report on a kernel. */
export interface KernelReport {
  readonly kernel: string;
  readonly mangled: string;
  readonly threads: number;
  readonly registers: number;
  readonly stackBytes: number;
  readonly spilledBytes: number;
  readonly sharedBytes: number;
  /** The largest number of bytes that one instruction loads from or stores to global memory. */
  readonly widestAccess: number;
}
export const architectures: readonly string[];
export function kernelsOf(source: string, architecture: string): KernelReport[];
export function occupancy(
  architecture: string,
  block: Pick<KernelReport, "threads" | "registers" | "sharedBytes">,
): number;
