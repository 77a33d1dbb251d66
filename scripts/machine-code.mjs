// Reads the machine code (SASS) of kernels from a cubin, for sm_80 and sm_90: the instructions, the loops and what they
// contain. The partial CUDA toolkits of build machines have no cuobjdump.
//
//   node scripts/machine-code.mjs native/cuda/attention_operations.cu attentionTensorKernel [sm_90]
//
// prints the loops of the kernels whose names contain the second argument.
//
// An instruction has 128 bits. Bits 0 to 8 are the operation, 9 to 11 the form of the operands, 12 to 15 the
// predicate that guards it. Bits 73 to 75 are the size of a memory access. The target of a branch is relative to the
// next instruction and counts words of 4 bytes: bits 34 to 81, and since sm_90 bits 16 to 23 below them. NVIDIA publishes the names of the instructions (CUDA Binary Utilities, "Instruction
// Set Reference") but not the encoding. The open-source compiler of Mesa (NAK) documents the same numbers.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { flags, run } from "./kernel-report.mjs";

const instructionBytes = 16;
const instructionWords = 4;
const names = {
  2: "MOV",
  3: "P2R",
  4: "R2P",
  5: "CS2R",
  6: "VOTE",
  7: "SEL",
  8: "FSEL",
  9: "FMNMX",
  11: "FSETP",
  12: "ISETP",
  16: "IADD3",
  17: "LEA",
  18: "LOP3",
  22: "PRMT",
  23: "IMNMX",
  25: "SHF",
  28: "PLOP3",
  32: "FMUL",
  33: "FADD",
  35: "FFMA",
  36: "IMAD",
  37: "IMAD.WIDE",
  39: "IMAD.HI",
  40: "DMUL",
  41: "DADD",
  42: "DSETP",
  43: "DFMA",
  54: "VIADD",
  59: "LDSM",
  60: "HMMA",
  62: "F2FP",
  72: "VIMNMX",
  130: "UMOV",
  140: "UISETP",
  144: "UIADD3",
  145: "ULEA",
  146: "ULOP3",
  153: "USHF",
  164: "UIMAD",
  165: "UIMAD.WIDE",
  185: "ULDC",
  202: "R2UR",
  256: "FLO",
  257: "BREV",
  258: "FCHK",
  260: "F2F",
  261: "F2I",
  262: "I2F",
  264: "MUFU",
  265: "POPC",
  272: "F2F.64",
  273: "F2I.64",
  274: "I2F.64",
  280: "NOP",
  281: "S2R",
  282: "DEPBAR",
  285: "BAR",
  321: "BSYNC",
  323: "CALL",
  324: "CALL",
  325: "BSSY",
  326: "YIELD",
  327: "BRA",
  328: "WARPSYNC",
  329: "BRX",
  333: "EXIT",
  336: "RET",
  384: "LD",
  385: "LDG",
  386: "LDC",
  387: "LDL",
  388: "LDS",
  389: "ST",
  390: "STG",
  391: "STL",
  392: "STS",
  393: "SHFL",
  396: "ATOMS",
  398: "RED",
  402: "MEMBAR",
  424: "ATOMG",
  430: "LDGDEPBAR",
  431: "LDGDEPBAR",
  451: "S2UR",
};
// With this form of operands, LDGSTS has the number of LDGDEPBAR.
const copyToShared = 0xfae;
const accessSizes = ["U8", "S8", "U16", "S16", "32", "64", "128", "128"];
const accesses = new Set(["LD", "LDG", "LDL", "LDS", "ST", "STG", "STL", "STS", "LDGSTS"]);

/** The index of the always true predicate. */
const alwaysTrue = 7;

function decode(low, high, at, architecture) {
  const opcode = Number(low & 0xfffn);
  const name = opcode === copyToShared ? "LDGSTS" : (names[opcode & 0x1ff] ?? `0x${opcode.toString(16)}`);
  const size = accesses.has(name) ? accessSizes[Number((high >> 9n) & 7n)] : undefined;
  const guard = Number((low >> 12n) & 15n);
  const instruction = { at, name, ...(size && { size }), isConditional: guard !== alwaysTrue };
  if (name !== "BRA") return instruction;
  const words = BigInt.asIntN(48, ((high & 0x3ffffn) << 30n) | (low >> 34n));
  const offset = architecture < 90 ? Number(words) : Number(words) * 256 + Number((low >> 16n) & 255n);
  // A branch may have another predicate beside its guard, in bits 87 to 90.
  const second = Number((high >> 23n) & 15n);
  return {
    ...instruction,
    isConditional: guard !== alwaysTrue || second !== alwaysTrue,
    target: at + 1 + offset / instructionWords,
  };
}

/** The instructions of each kernel of a cubin, by the kernel's mangled name. `at` and `target` count instructions. */
export function kernelsIn(cubin) {
  const architecture = (cubin.readUInt32LE(0x30) >> 8) & 0xff;
  const sections = Number(cubin.readBigUInt64LE(0x28));
  const [size, count, names] = [0x3a, 0x3c, 0x3e].map((at) => cubin.readUInt16LE(at));
  const section = (index) => {
    const at = sections + index * size;
    const [offset, length] = [0x18, 0x20].map((field) => Number(cubin.readBigUInt64LE(at + field)));
    return { name: cubin.readUInt32LE(at), bytes: cubin.subarray(offset, offset + length) };
  };
  const strings = section(names).bytes;
  const kernels = new Map();
  for (let index = 0; index < count; index++) {
    const { name: start, bytes } = section(index);
    const name = strings.toString("latin1", start, strings.indexOf(0, start));
    if (!name.startsWith(".text.")) continue;
    const instructions = [];
    for (let at = 0; at < bytes.length; at += instructionBytes)
      instructions.push(
        decode(bytes.readBigUInt64LE(at), bytes.readBigUInt64LE(at + 8), at / instructionBytes, architecture),
      );
    kernels.set(name.slice(".text.".length), instructions);
  }
  return kernels;
}

/** The instructions that may run after this one. A call returns to the next instruction. */
function successors({ at, name, target, isConditional }) {
  const next = isConditional || !["BRA", "EXIT", "RET"].includes(name) ? [at + 1] : [];
  return target === undefined ? next : [target, ...next];
}

/**
 * The loops of a kernel, inner loops before the loops around them. A loop has the instructions that lead from its first
 * one back to it. An inner loop's instructions are in the outer loop too. Code that a loop calls is not part of it.
 */
export function loopsOf(instructions) {
  const before = instructions.map(() => []);
  for (const instruction of instructions) for (const at of successors(instruction)) before[at]?.push(instruction.at);
  const bodies = new Map();
  for (const { at, target } of instructions) {
    // A branch to itself fills the end of a kernel.
    if (target === undefined || target >= at) continue;
    const body = bodies.get(target) ?? new Set([target]);
    bodies.set(target, body);
    const open = [at];
    for (let last = open.pop(); last !== undefined; last = open.pop()) {
      if (body.has(last)) continue;
      body.add(last);
      open.push(...before[last]);
    }
  }
  return [...bodies.values()]
    .map((body) => [...body].sort((a, b) => a - b).map((at) => instructions[at]))
    .sort((a, b) => a.length - b.length);
}

/** How often each instruction occurs, by name; accesses of memory also by size: `LDG.128`. */
export function countByName(instructions) {
  const counts = {};
  for (const { name, size } of instructions) {
    const key = size ? `${name}.${size}` : name;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

/** Compiles a source for an architecture and reads its machine code. */
export function machineCodeOf(source, architecture) {
  const folder = mkdtempSync(join(tmpdir(), "stepsize-machine-code-"));
  try {
    const output = join(folder, "kernels.cubin");
    run("nvcc", ...flags, `-arch=${architecture}`, "-cubin", source, "-o", output);
    return kernelsIn(readFileSync(output));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv[1] === import.meta.filename) {
  const [source, name = "", architecture = "sm_90"] = process.argv.slice(2);
  const kernels = source.endsWith(".cubin") ? kernelsIn(readFileSync(source)) : machineCodeOf(source, architecture);
  for (const [kernel, instructions] of kernels) {
    if (!kernel.includes(name)) continue;
    console.log(`${kernel}: ${instructions.length} instructions`);
    for (const loop of loopsOf(instructions)) {
      const counts = Object.entries(countByName(loop)).sort(([, a], [, b]) => b - a);
      const [first, last] = [loop[0].at, loop[loop.length - 1].at];
      console.log(
        `  loop ${first} to ${last}, ${loop.length} instructions: ${counts.map(([key, n]) => `${n} ${key}`).join(", ")}`,
      );
    }
  }
}
