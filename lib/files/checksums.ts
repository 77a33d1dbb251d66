import { crc32 } from "node:zlib";
import { invalidArgument, StepsizeError } from "../errors.js";

/**
 * Checksums in the metadata of a safetensors file. The entry `stepsize.crc32` is the text of a JSON object:
 *
 *     {"format":"stepsize-crc32-1","header":"89abcdef","tensors":{"weight":"01234567"}}
 *
 * Each number is a CRC-32 (zlib's) in eight lower-case hexadecimal digits: of a tensor's bytes, and of all bytes before
 * the data with the eight digits of `header` written as zeros. So every bit of the file is covered, and the header has
 * its length before a checksum is known. Programs that do not know the entry ignore it.
 *
 * @module
 */

/** The key of the metadata. */
export const checksumKey = "stepsize.crc32";

// In the value, beside the key. One flipped bit changes one of them, and the other still tells that there are checksums.
const format = "stepsize-crc32-1";
const zeros = "00000000";
// As it stands in the file, where the text is inside a text.
const beforeDigits = Buffer.from(JSON.stringify(`{"format":"${format}","header":"`).slice(1, -1));

/** A CRC-32 as eight hexadecimal digits. */
export function hex(sum: number): string {
  return sum.toString(16).padStart(8, "0");
}

/** The checksum of bytes that come after those of `before`. */
export function continued(before: number, bytes: Uint8Array): number {
  return crc32(bytes, before);
}

/** The entry for tensors of these checksums; one that is not known yet takes as much room. The header's is zeros. */
export function checksumText(tensors: Iterable<readonly [name: string, sum: number]>): string {
  const sums = Object.fromEntries([...tensors].map(([name, sum]) => [name, hex(sum)]));
  return JSON.stringify({ format, header: zeros, tensors: sums });
}

/** Writes the checksum of everything before the data into it. */
export function sealHeader(header: Buffer): void {
  const at = header.indexOf(beforeDigits) + beforeDigits.length;
  header.write(hex(crc32(header)), at, "latin1");
}

/** Throws if a caller's metadata could be taken for checksums. */
export function expectNoChecksums(metadata: Readonly<Record<string, string>>): void {
  for (const [key, value] of Object.entries(metadata))
    if (key === checksumKey || key.includes(format) || value.includes(format))
      invalidArgument(
        `metadata.${key}`,
        `metadata without ${checksumKey}, which is made when the file is written`,
        value,
      );
}

/**
 * Reads the checksums of a file's tensors and compares that of the header.
 *
 * @param header all bytes before the data
 * @returns by name, in hexadecimal; `undefined` for a file without checksums, as other programs write it
 * @throws StepsizeError `invalid-file` if the header is damaged
 */
export function readChecksums(
  path: string,
  header: Buffer,
  metadata: Readonly<Record<string, string>>,
): ReadonlyMap<string, string> | undefined {
  const text = metadata[checksumKey];
  if (text === undefined && !Object.values(metadata).some((value) => value.includes(format))) return undefined;
  const found = header.indexOf(beforeDigits);
  const at = found + beforeDigits.length;
  const digits = header.toString("latin1", at, at + zeros.length);
  const blank = Buffer.from(header);
  blank.write(zeros, at, "latin1");
  if (text === undefined || found < 0 || digits !== hex(crc32(blank)))
    damaged(path, `the header does not have the checksum that its ${checksumKey} says`);
  const sums = tensorsOf(text);
  return sums ? new Map(sums) : damaged(path, `its ${checksumKey} has no checksum of every tensor`);
}

function tensorsOf(text: string): [string, string][] | undefined {
  try {
    const { tensors } = JSON.parse(text) as { tensors: Readonly<Record<string, string>> };
    const sums = Object.entries(tensors);
    return sums.every(([, sum]) => typeof sum === "string") ? sums : undefined;
  } catch {
    return undefined;
  }
}

/** Throws the error for a file whose bytes are not those that were written. */
export function damaged(path: string, problem: string): never {
  throw new StepsizeError(
    "invalid-file",
    `${path}: is damaged: ${problem}. Copy it again from where it came, or load another; if a program wrote it anew on` +
      ` purpose, let that leave ${checksumKey} out of the metadata`,
  );
}
