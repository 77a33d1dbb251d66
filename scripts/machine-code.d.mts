/** An instruction of a kernel. */
export interface Instruction {
  /** The number of instructions before it. */
  readonly at: number;
  /** NVIDIA's name without modifiers, or the number of an operation that is not in the list of names. */
  readonly name: string;
  /** The size of an access to memory in bits: `"32"`, `"64"`, `"128"`, or `"U8"` to `"S16"`. */
  readonly size?: string;
  readonly isConditional: boolean;
  /** The barrier that it releases when its result is there; 7 if it has none. */
  readonly barrier: number;
  /** The barriers that it waits for, as a set of bits. */
  readonly waitsFor: number;
  /** Of a branch: where it goes. */
  readonly target?: number;
}
export function kernelsIn(cubin: Buffer): Map<string, Instruction[]>;
export function loopsOf(instructions: readonly Instruction[]): Instruction[][];
export function countByName(instructions: readonly Instruction[]): Record<string, number>;
export function loadsTogether(loop: readonly Instruction[]): number;
export function machineCodeOf(source: string, architecture: string): Map<string, Instruction[]>;
