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
  /** The loops of the machine code, inner loops before the loops around them (machine-code.mjs). */
  readonly loops: readonly Loop[];
}
/** The instructions of a loop. Those of inner loops are counted too. */
export interface Loop {
  readonly instructions: number;
  /** How often each instruction occurs, by name and size of the access: `HMMA`, `LDG.128`. */
  readonly counts: Readonly<Record<string, number>>;
  /** The largest number of 16-byte loads from global memory before one of them is waited for. */
  readonly loadsTogether: number;
}
export const architectures: readonly string[];
export function kernelsOf(source: string, architecture: string): KernelReport[];
export function occupancy(
  architecture: string,
  block: Pick<KernelReport, "threads" | "registers" | "sharedBytes">,
): number;
