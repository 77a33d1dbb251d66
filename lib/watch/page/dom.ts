// Small helpers for the document. Text always becomes a text node, so names of runs cannot be markup.

type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;

/** Makes an element. An attribute that is `undefined` or false is left out; true becomes an empty one. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  setAttributes(element, attributes);
  element.append(...children);
  return element;
}

function setAttributes(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes))
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : String(value));
}

/** Makes the head and the body of a table. The first cell of a row names the row; the others are numbers. */
export function tableParts(head: readonly string[], rows: readonly (readonly string[])[]): HTMLElement[] {
  const headings = head.map((name, i) => make("th", { scope: "col", class: i > 0 && "number" }, name));
  const lines = rows.map(([name = "", ...cells]) => {
    const numbers = cells.map((cell) => make("td", { class: "number" }, cell));
    return make("tr", {}, make("th", { scope: "row" }, name), ...numbers);
  });
  return [make("thead", {}, make("tr", {}, ...headings)), make("tbody", {}, ...lines)];
}

const svgNamespace = "http://www.w3.org/2000/svg";

/** Makes an SVG element. */
export function makeSvg(tag: string, attributes: Attributes, ...children: readonly Node[]): SVGElement {
  const element = document.createElementNS(svgNamespace, tag);
  setAttributes(element, attributes);
  element.append(...children);
  return element;
}

/** Returns the element with an id, which the server's document has. */
export function byId<T extends Element = HTMLElement>(id: string): T {
  const element = document.querySelector<T>(`#${id}`);
  if (element === null) throw new Error(`the document has no ${id}`);
  return element;
}

/** Sets the text of an element if it differs, so that a screen reader announces changes only. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
