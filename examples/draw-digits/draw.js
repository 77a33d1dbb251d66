import { mnistImage } from "./mnist-image.js";
import * as ort from "./onnxruntime-web/ort.wasm.min.mjs";

const canvas = document.querySelector("#drawing");
const answer = document.querySelector("#answer");
const context = canvas.getContext("2d");
/** Width of the pen, as a share of the canvas. */
const pen = 0.07;
/** Width of the pen, as a share of the longer side of the digit. MNIST's digits look like this. */
const penOfDigit = 0.12;

/** Lists of points from 0 to 1. */
let strokes = [];
/** The pen of the keyboard. */
const keyboard = { at: [0.5, 0.2], isDown: false, isUsed: false };
let session;

// More than one thread would need a page that is isolated from other origins.
ort.env.wasm.numThreads = 1;
try {
  session = await ort.InferenceSession.create("model.onnx");
  const [input] = session.inputMetadata;
  if (input.type !== "uint8" || String(input.shape.slice(1)) !== "28,28,1")
    throw new Error("expected inputs of 28 × 28 × 1 bytes; export an MNIST model, with --with-preprocessing");
  answer.textContent = "Draw a digit from 0 to 9.";
} catch (error) {
  session = undefined;
  answer.textContent = `The model could not be loaded: ${error.message}`;
}

const rows = Array.from({ length: 10 }, (_, digit) => {
  const row = document.createElement("li");
  row.innerHTML = '<span></span><div class="bar"><div></div></div><span></span>';
  const [name, bar, percent] = row.children;
  name.textContent = digit;
  document.querySelector("#probabilities").append(row);
  return { bar: bar.firstElementChild, percent };
});

canvas.addEventListener("pointerdown", (event) => {
  if (!event.isPrimary || event.button !== 0) return;
  canvas.setPointerCapture(event.pointerId);
  keyboard.isUsed = false;
  strokes.push([placeOf(event)]);
  changed();
});
canvas.addEventListener("pointermove", (event) => {
  if (!event.isPrimary || !canvas.hasPointerCapture(event.pointerId)) return;
  const events = event.getCoalescedEvents?.() ?? [];
  strokes.at(-1).push(...(events.length > 0 ? events : [event]).map(placeOf));
  changed();
});
canvas.addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const move = moves[event.key];
  if (event.key === "Escape") clear();
  else if (event.key === " ") lower(!keyboard.isDown);
  else if (move) {
    keyboard.at = keyboard.at.map((value, axis) => Math.min(0.95, Math.max(0.05, value + move[axis] / 20)));
    if (keyboard.isDown) strokes.at(-1).push(keyboard.at);
  } else return;
  event.preventDefault();
  keyboard.isUsed = event.key !== "Escape";
  changed();
});
canvas.addEventListener("blur", () => {
  lower(false);
  keyboard.isUsed = false;
  draw();
});
document.querySelector("#clear").addEventListener("click", clear);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

function placeOf({ clientX, clientY }) {
  const { left, top, width, height } = canvas.getBoundingClientRect();
  return [(clientX - left) / width, (clientY - top) / height];
}

function lower(isDown) {
  keyboard.isDown = isDown;
  if (isDown) strokes.push([keyboard.at]);
}

function clear() {
  strokes = [];
  lower(false);
  for (const { bar, percent } of rows) [bar.style.width, percent.textContent] = ["0", ""];
  if (session) answer.textContent = "Draw a digit from 0 to 9.";
  draw();
}

function changed() {
  draw();
  recognize();
}

function draw() {
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.strokeStyle = getComputedStyle(canvas).getPropertyValue("--ink");
  paint(context, canvas.width, 0, 0, pen);
  if (!keyboard.isUsed) return;
  const [x, y] = keyboard.at.map((value) => value * canvas.width);
  context.lineWidth = 4;
  context.strokeStyle = getComputedStyle(canvas).getPropertyValue("--accent");
  context.beginPath();
  context.arc(x, y, keyboard.isDown ? 10 : 18, 0, 2 * Math.PI);
  context.stroke();
}

/** Paints the strokes, moved and then scaled. */
function paint(target, scale, left, top, width) {
  target.lineWidth = width * scale;
  target.lineCap = "round";
  target.lineJoin = "round";
  for (const stroke of strokes) {
    target.beginPath();
    // A line to where it begins is a dot.
    for (const [x, y] of [stroke[0], ...stroke]) target.lineTo((x - left) * scale, (y - top) * scale);
    target.stroke();
  }
}

/** Returns the drawing as an image of MNIST. The pen has the same width for small and large digits. */
function imageOfStrokes() {
  const points = strokes.flat();
  if (points.length === 0) return undefined;
  const edges = [0, 1].map((axis) => {
    const values = points.map((point) => point[axis]);
    return [Math.min(...values), Math.max(...values)];
  });
  const longer = Math.max(0.15, ...edges.map(([from, to]) => to - from));
  const width = longer * penOfDigit;
  const [left, top] = edges.map(([from]) => from - width);
  const size = 200;
  const painted = new OffscreenCanvas(size, size).getContext("2d");
  paint(painted, size / (longer + 2 * width), left, top, width);
  const pixels = painted.getImageData(0, 0, size, size).data;
  return mnistImage(
    pixels.filter((_, i) => i % 4 === 3),
    size,
    size,
  );
}

/** Whether the model runs, and whether the drawing has changed since. */
const work = { isRunning: false, isStale: false };

async function recognize() {
  work.isStale = true;
  if (work.isRunning || session === undefined) return;
  work.isRunning = true;
  while (work.isStale) {
    work.isStale = false;
    const image = imageOfStrokes();
    if (image === undefined) break;
    const { output } = await session.run({ input: new ort.Tensor("uint8", image, [1, 28, 28, 1]) });
    if (strokes.length > 0) show(softmax(output.data));
  }
  work.isRunning = false;
}

function show(probabilities) {
  const likeliest = probabilities.indexOf(Math.max(...probabilities));
  const digit = document.createElement("strong");
  digit.textContent = likeliest;
  // Screen readers read the text again only if it has changed.
  if (answer.querySelector("strong")?.textContent !== digit.textContent)
    answer.replaceChildren("This looks like ", digit);
  probabilities.forEach((probability, i) => {
    const { bar, percent } = rows[i];
    percent.textContent = `${Math.round(100 * probability)} %`;
    bar.style.width = `${100 * probability}%`;
  });
}

function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}
