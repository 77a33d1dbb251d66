export function whyNoThreadSanitizer(): Promise<string>;
export function runRaces(...args: readonly "race"[]): Promise<string>;
