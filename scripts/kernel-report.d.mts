/** What the compiler says of a kernel. */
export interface KernelReport {
  readonly kernel: string;
  readonly mangled: string;
  readonly threads: number;
  readonly registers: number;
  readonly stackBytes: number;
  readonly spilledBytes: number;
  readonly sharedBytes: number;
  /** The most bytes that one instruction moves from or to global memory. */
  readonly widestAccess: number;
}
export const architectures: readonly string[];
export function kernelsOf(source: string, architecture: string): KernelReport[];
export function occupancy(
  architecture: string,
  block: Pick<KernelReport, "threads" | "registers" | "sharedBytes">,
): number;
