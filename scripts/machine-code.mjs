// Reads the machine code (SASS) of kernels from a cubin, for sm_80 and sm_90: the instructions, the loops and what they
// contain. The partial CUDA toolkits of build machines have no cuobjdump.
//
//   node scripts/machine-code.mjs native/cuda/attention_operations.cu attentionTensorKernel [sm_90]
//
// prints the loops of the kernels whose names contain the second argument.
//
// An instruction has 128 bits. Bits 0 to 8 are the operation, 9 to 11 the form of the operands, 12 to 15 the
// predicate that guards it. Bits 73 to 75 are the size of a memory access. Bits 110 to 112 are the barrier that an
// instruction releases when its result is there (7: none), bits 116 to 121 the set of barriers that it waits for. The target of a branch is relative to the
// next instruction and counts words of 4 bytes: bits 34 to 81, and since sm_90 bits 16 to 23 below them. NVIDIA
// publishes the names of the instructions (CUDA Binary Utilities, "Instruction Set Reference") but not the encoding. The
// open-source compiler of Mesa (NAK) documents the same numbers.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { flags, run } from "./nvcc.mjs";

const instructionBytes = 16;
const instructionWords = 4;
const names = new Map(
  `
  002 MOV, 003 P2R, 004 R2P, 005 CS2R, 006 VOTE, 007 SEL, 008 FSEL, 009 FMNMX, 00b FSETP, 00c ISETP, 010 IADD3,
  011 LEA, 012 LOP3, 016 PRMT, 017 IMNMX, 019 SHF, 01c PLOP3, 020 FMUL, 021 FADD, 023 FFMA, 024 IMAD,
  025 IMAD.WIDE, 027 IMAD.HI, 028 DMUL, 029 DADD, 02a DSETP, 02b DFMA, 036 VIADD, 03b LDSM, 03c HMMA, 03e F2FP,
  048 VIMNMX, 082 UMOV, 08c UISETP, 090 UIADD3, 091 ULEA, 092 ULOP3, 099 USHF, 0a4 UIMAD, 0a5 UIMAD.WIDE,
  0b9 ULDC, 0ca R2UR, 100 FLO, 101 BREV, 102 FCHK, 104 F2F, 105 F2I, 106 I2F, 108 MUFU, 109 POPC, 110 F2F.64,
  111 F2I.64, 112 I2F.64, 118 NOP, 119 S2R, 11a DEPBAR, 11d BAR, 141 BSYNC, 143 CALL, 144 CALL, 145 BSSY,
  146 YIELD, 147 BRA, 148 WARPSYNC, 149 BRX, 14d EXIT, 150 RET, 180 LD, 181 LDG, 182 LDC, 183 LDL, 184 LDS,
  185 ST, 186 STG, 187 STL, 188 STS, 189 SHFL, 18c ATOMS, 18e RED, 192 MEMBAR, 1a8 ATOMG, 1ae LDGDEPBAR,
  1af LDGDEPBAR, 1c3 S2UR
`
    .trim()
    .split(/,\s*/)
    .map((entry) => entry.split(" "))
    .map(([number, name]) => [Number.parseInt(number, 16), name]),
);
// With this form of operands, LDGSTS has the number of LDGDEPBAR.
const copyToShared = 0xfae;
const accessSizes = ["U8", "S8", "U16", "S16", "32", "64", "128", "128"];
const accesses = new Set(["LD", "LDG", "LDL", "LDS", "ST", "STG", "STL", "STS", "LDGSTS"]);

/** The index of the always true predicate. */
const alwaysTrue = 7;

function decode(low, high, at, architecture) {
  const opcode = Number(low & 0xfffn);
  const name = opcode === copyToShared ? "LDGSTS" : (names.get(opcode & 0x1ff) ?? `0x${opcode.toString(16)}`);
  const size = accesses.has(name) ? accessSizes[Number((high >> 9n) & 7n)] : undefined;
  const guard = Number((low >> 12n) & 15n);
  const instruction = {
    at,
    name,
    ...(size && { size }),
    isConditional: guard !== alwaysTrue,
    barrier: Number((high >> 46n) & 7n),
    waitsFor: Number((high >> 52n) & 63n),
  };
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
  // Code that is rarely needed is at a kernel's end and branches back to where it came from. That is no loop: walking
  // back from the branch leads past its target to the kernel's start.
  return [...bodies]
    .filter(([first, body]) => first === 0 || !body.has(0))
    .map(([, body]) => [...body].sort((a, b) => a - b).map((at) => instructions[at]))
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

/** The largest number of 16-byte loads from global memory in a loop before one of them is waited for. */
export function loadsTogether(loop) {
  let [most, pending] = [0, []];
  for (const { name, size, barrier, waitsFor } of loop) {
    if (pending.some((one) => (waitsFor >> one) & 1)) pending = pending.filter((one) => !((waitsFor >> one) & 1));
    if (name === "LDG" && size === "128") pending.push(barrier);
    most = Math.max(most, pending.length);
  }
  return most;
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
