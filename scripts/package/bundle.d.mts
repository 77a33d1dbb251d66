/** A file of the bundle. */
export interface Output {
  readonly bytes: number;
  readonly inputs: readonly string[];
  readonly imports: readonly { readonly path: string; readonly kind: string; readonly external?: boolean }[];
}

/** The import paths of the package, and the file of each without its ending, below `dist/`. */
export const entries: Record<string, string>;

/** Bundles lib/ into a folder. Returns the outputs by their path below the folder. */
export function bundle(folder: string): Promise<Record<string, Output>>;

/** Returns the outputs that are loaded with one of them, itself included. */
export function loadedWith(outputs: Record<string, Output>, path: string): Set<string>;

/** Returns the folders of the npm packages that are a part of the outputs. */
export function bundledPackages(outputs: Record<string, Output>, paths?: Iterable<string>): string[];

/** Declares the constructors that are internal in the source as protected. */
export function withProtectedConstructors(declarations: string, source: string): string;
