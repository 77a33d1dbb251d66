export type Variant = "plain" | "sanitized" | "races" | "portable" | "clang";
export const variants: Readonly<Record<Variant, { flags: readonly string[] }>>;
export const programs: readonly string[];
export interface Outcome {
  readonly status: number;
  readonly output: string;
  readonly seconds: number;
}
export function command(name: string, args: readonly string[]): Promise<Outcome>;
export function whyNot(variant: Variant): string;
export function build(source: string, variant: Variant, extraFlags?: readonly string[]): Promise<string>;
