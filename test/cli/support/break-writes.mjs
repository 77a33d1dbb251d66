// Preloaded by a program that cannot write to one file any more, as on a full disk: the file takes half of what it is
// given, and then the write fails.
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

const { file, after, times = Number.POSITIVE_INFINITY, code } = JSON.parse(process.env.BREAK_WRITES);
const [open, write] = [fs.openSync, fs.writeSync];
const broken = new Set();
let writes = 0;

fs.openSync = (path, ...more) => {
  const handle = open(path, ...more);
  if (String(path).endsWith(file)) broken.add(handle);
  return handle;
};
fs.writeSync = (handle, data, offset = 0, ...more) => {
  if (!broken.has(handle) || writes++ < after || writes > after + times) return write(handle, data, offset, ...more);
  write(handle, data, offset, (data.length - offset) >> 1);
  throw Object.assign(new Error(`${code}: injected, write`), { code, syscall: "write" });
};
syncBuiltinESMExports();
