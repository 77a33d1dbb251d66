export declare const root: string;

export interface Target {
  readonly name: string;
  readonly sources: readonly string[];
  readonly flags: readonly string[];
  readonly link: readonly string[];
}
export declare function readTargets(architecture?: string): Target[];
