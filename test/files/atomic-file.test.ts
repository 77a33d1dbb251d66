// Writing to a symbolic link replaces the link's target, for every kind of file: reports, figures, studies,
// checkpoints.
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { replaceFile, writeAtomically } from "#lib/files/atomic-file.js";
import { readSafetensors, writeSafetensors } from "#lib/weights/index.js";
import { expectError } from "../support/errors.js";
import { filled, temporaryFolders } from "../support/folders.js";

const folder = temporaryFolders();
const text = (content: string) => [Buffer.from(content)];

describe("a file behind a symbolic link", () => {
  /** Two folders, one with links and one with their targets. */
  function places(target: string) {
    const root = folder();
    for (const name of ["links", "disk"]) mkdirSync(join(root, name));
    const [link, file] = [join(root, "links", "latest"), join(root, "disk", "file")];
    symlinkSync(target, link);
    return { root, link, file };
  }

  it.each(["../disk/file", ".././links/../disk//file"])(
    "%s is replaced in its folder, and the link stays",
    async (target) => {
      const { root, link, file } = places(target);
      writeFileSync(file, "before");
      const { ino } = statSync(file);
      await writeAtomically(link, text("after"));
      expect(readFileSync(file, "utf8")).toBe("after");
      expect(readlinkSync(link)).toBe(target);
      // It is replaced and not overwritten, so it is complete at every moment.
      expect(statSync(file).ino).not.toBe(ino);
      expect(readdirSync(join(root, "disk"))).toEqual(["file"]);
      expect(readdirSync(join(root, "links"))).toEqual(["latest"]);
    },
  );

  it("is created if it does not exist, even in a missing folder", async () => {
    const { link, root } = places("../disk/new/file");
    await writeAtomically(link, text("after"));
    expect(readFileSync(join(root, "disk/new/file"), "utf8")).toBe("after");
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
  });

  it("is found through several links, and through linked folders", async () => {
    const { link, root, file } = places("../disk/file");
    symlinkSync(link, join(root, "absolute"));
    symlinkSync("links", join(root, "alias"));
    symlinkSync("../alias/latest", join(root, "disk", "back"));
    for (const [i, path] of ["absolute", "alias/latest", "disk/back"].entries()) {
      await writeAtomically(join(root, path), text(`after ${i}`));
      expect(readFileSync(file, "utf8")).toBe(`after ${i}`);
    }
    expect(readdirSync(join(root, "disk")).sort()).toEqual(["back", "file"]);
  });

  it('is found if ".." follows a linked folder', async () => {
    const { root } = places("unused");
    mkdirSync(join(root, "disk", "deep"));
    symlinkSync(join(root, "disk", "deep"), join(root, "links", "deep"));
    symlinkSync("../file", join(root, "disk", "deep", "up"));
    await writeAtomically(join(root, "links", "deep", "up"), text("after"));
    expect(readFileSync(join(root, "disk", "file"), "utf8")).toBe("after");
  });

  it("keeps its content if writing the new one fails", async () => {
    const { root, link, file } = places("../disk/file");
    writeFileSync(file, "before");
    const failing = replaceFile(link, 10, async (growing) => {
      await growing.append(Buffer.from("aft"));
      throw new Error("no more");
    });
    await expect(failing).rejects.toThrow("no more");
    expect(readFileSync(file, "utf8")).toBe("before");
    expect(readdirSync(join(root, "disk"))).toEqual(["file"]);
  });

  it("can be a checkpoint", async () => {
    const { link, file } = places("../disk/file");
    await writeSafetensors(link, new Map([["x", { dtype: "uint8", shape: [2], data: Uint8Array.of(1, 2) }]]), {});
    for (const path of [link, file])
      expect((await readSafetensors(path)).tensors.get("x")?.data).toEqual(Uint8Array.of(1, 2));
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
  });

  it("is refused for circular links, devices and folders", async () => {
    const root = folder();
    symlinkSync("b", join(root, "a"));
    symlinkSync("a", join(root, "b"));
    symlinkSync("/dev/null", join(root, "null"));
    mkdirSync(join(root, "folder"));
    filled(join(root, "folder"), { file: "x" });
    symlinkSync("folder", join(root, "to-folder"));
    const expected = { a: "symbolic links", null: "a device", "to-folder": "could not be written" };
    for (const [name, word] of Object.entries(expected)) {
      const path = join(root, name);
      await expectError(() => writeAtomically(path, text("x")), "invalid-file", path, "could not be written", word);
      expect(lstatSync(path).isSymbolicLink()).toBe(true);
    }
    expect(statSync("/dev/null").isCharacterDevice()).toBe(true);
    expect(readdirSync(root).sort()).toEqual(["a", "b", "folder", "null", "to-folder"]);
  });
});
