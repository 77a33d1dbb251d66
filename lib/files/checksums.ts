import { crc32 } from "node:zlib";
import { invalidArgument, StepsizeError } from "../errors.js";
import { dictionary, object, Place, text } from "../schema.js";

/**
 * Checksums in the metadata of a safetensors file. The entry `stepsize.crc32` is the text of a JSON object:
 *
 *     {"format":"stepsize-crc32-1","header":"89abcdef","tensors":{"weight":"01234567"}}
 *
 * Each value is a CRC-32 (zlib's) as eight lower-case hexadecimal digits. There is one for the bytes of each tensor.
 * `header` is that of all bytes before the data, computed with zeros in place of its own digits. So the checksums cover
 * every bit of the file, and the length of the header is known before the checksums are. Other programs ignore the
 * entry.
 *
 * @module
 */

/** Key of the checksums in the metadata. */
export const checksumKey = "stepsize.crc32";

// The format is in the value, and the key is beside it. A flipped bit changes only one of them, and the other still
// shows that the file has checksums.
const format = "stepsize-crc32-1";
const zeros = "00000000";
// As in the file, where the JSON text is a string inside JSON.
const beforeDigits = Buffer.from(JSON.stringify(`{"format":"${format}","header":"`).slice(1, -1));

/** Returns a CRC-32 as eight hexadecimal digits. */
export function hex(sum: number): string {
  return sum.toString(16).padStart(8, "0");
}

/** Returns the checksum of bytes that follow bytes with the checksum `before`. */
export function continued(before: number, bytes: Uint8Array): number {
  return crc32(bytes, before);
}

/**
 * Returns the metadata entry for tensors with these checksums. The header's checksum is zeros. The length of the entry
 * does not depend on the checksums.
 */
export function checksumText(tensors: Iterable<readonly [name: string, sum: number]>): string {
  const sums = Object.fromEntries([...tensors].map(([name, sum]) => [name, hex(sum)]));
  return JSON.stringify({ format, header: zeros, tensors: sums });
}

/** Writes the checksum of the header into the header. */
export function sealHeader(header: Buffer): void {
  const at = header.indexOf(beforeDigits) + beforeDigits.length;
  header.write(hex(crc32(header)), at, "latin1");
}

/** Throws `invalid-argument` if metadata of the caller could be mistaken for checksums. */
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
 * Returns the checksums of a file's tensors, after verifying that of the header.
 *
 * @param header all bytes before the data
 * @returns hexadecimal digits by name; `undefined` for a file without checksums, such as those of other programs
 * @throws StepsizeError `invalid-file` if the header is damaged
 */
export function readChecksums(
  path: string,
  header: Buffer,
  metadata: Readonly<Record<string, string>>,
): ReadonlyMap<string, string> | undefined {
  const entry = metadata[checksumKey];
  if (entry === undefined && !Object.values(metadata).some((value) => value.includes(format))) return undefined;
  const found = header.indexOf(beforeDigits);
  const at = found + beforeDigits.length;
  const digits = header.toString("latin1", at, at + zeros.length);
  const blank = Buffer.from(header);
  blank.write(zeros, at, "latin1");
  if (entry === undefined || found < 0 || digits !== hex(crc32(blank)))
    damaged(path, `the header does not have the checksum that its ${checksumKey} says`);
  return tensorsOf(entry) ?? damaged(path, `its ${checksumKey} has no checksum of every tensor`);
}

const entrySchema = object({ tensors: dictionary(text) });

function tensorsOf(entry: string): ReadonlyMap<string, string> | undefined {
  try {
    const { tensors } = entrySchema(JSON.parse(entry), new Place(checksumKey));
    return new Map(Object.entries(tensors));
  } catch {
    return undefined;
  }
}

/** Throws the error for a file whose bytes differ from those that were written. */
export function damaged(path: string, problem: string): never {
  throw new StepsizeError(
    "invalid-file",
    `${path}: is damaged: ${problem}. Copy it again from where it came, or load another; if a program wrote it anew on` +
      ` purpose, let that leave ${checksumKey} out of the metadata`,
  );
}
