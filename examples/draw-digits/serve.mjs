// Serves a page that recognizes digits drawn on a canvas. README.md describes how to make the model.
//
//   node examples/draw-digits/serve.mjs --model model.onnx
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, extname, join, resolve } from "node:path";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "model.onnx" },
    host: { type: "string", default: "127.0.0.1" },
    port: { type: "string", default: "8000" },
  },
});

const types = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

if (!existsSync(values.model))
  stop(`${values.model}: there is no such file; make it with: \
npx stepsize export --checkpoint runs/1 --to onnx --with-preprocessing`);

/** The files of the page by their address. Nothing else is served. */
const files = new Map([
  ["/", join(import.meta.dirname, "index.html")],
  ["/draw.js", join(import.meta.dirname, "draw.js")],
  ["/mnist-image.js", join(import.meta.dirname, "mnist-image.js")],
  ["/model.onnx", resolve(values.model)],
  ...["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"].map((name) => [
    `/onnxruntime-web/${name}`,
    join(runtimeFolder(), name),
  ]),
]);

const server = createServer(async ({ url = "/" }, response) => {
  const file = files.get(url.replace(/\?.*/, ""));
  if (file === undefined) return response.writeHead(404, { "Content-Type": "text/plain" }).end("not found\n");
  try {
    const type = types[extname(file)] ?? "application/octet-stream";
    response.writeHead(200, { "Content-Type": type, "Cache-Control": "no-cache" }).end(await readFile(file));
  } catch (error) {
    response.writeHead(500, { "Content-Type": "text/plain" }).end(`${error.message}\n`);
  }
});
server.on("error", ({ code, message }) =>
  stop(code === "EADDRINUSE" ? `port ${values.port} is in use; choose another one with --port` : message),
);
const port = Number(values.port);
if (!Number.isInteger(port) || port < 0 || port > 65_535)
  stop(`--port: expected a whole number from 0 to 65535, got ${values.port}`);
server.listen(port, values.host, () => {
  console.log(`http://${values.host}:${server.address().port} shows the page; Ctrl-C ends the server`);
});

/** Returns the folder with the files of onnxruntime-web, which is searched from the working directory and from here. */
function runtimeFolder() {
  for (const folder of [process.cwd(), import.meta.dirname])
    try {
      return dirname(createRequire(join(folder, "here.js")).resolve("onnxruntime-web"));
    } catch {
      // The next folder may have it.
    }
  return stop("the package onnxruntime-web is not installed; install it with: npm install --no-save onnxruntime-web");
}

function stop(message) {
  console.error(message);
  process.exit(1);
}
