import { colorRules } from "./style.js";

/** A row of a table: a name and one or more values. */
export type Row = readonly [name: string, ...values: string[]];

/** A section of a page: a figure with its caption, or a table. */
export type Section =
  | { readonly heading: string; readonly figure: string; readonly caption: string }
  | { readonly heading: string; readonly columns?: readonly string[]; readonly rows: readonly Row[] };

/** Makes a self-contained HTML page, without scripts, fonts or images from other files. */
export function htmlPage(page: {
  readonly title: string;
  /** A word beside the title, such as the state of a run. It is set off by a color if it is bad. */
  readonly badge?: { readonly text: string; readonly isBad: boolean } | undefined;
  readonly lead: string;
  /** The most important numbers, shown as tiles. */
  readonly figures: readonly Row[];
  readonly sections: readonly Section[];
}): string {
  const tiles = page.figures
    .map(([name, value]) => `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value ?? "")}</dd></div>`)
    .join("");
  const badge =
    page.badge === undefined
      ? ""
      : ` <span class="badge${page.badge.isBad ? " bad" : ""}">${escapeHtml(page.badge.text)}</span>`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(page.title)}</title>
<style>${colorRules(":root")}${rules}</style>
</head>
<body>
<main>
<h1>${escapeHtml(page.title)}${badge}</h1>
<p>${escapeHtml(page.lead)}</p>
<dl>${tiles}</dl>
${page.sections.map(sectionHtml).join("\n")}
</main>
</body>
</html>
`;
}

/** Escapes text for HTML. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function sectionHtml(section: Section): string {
  const heading = `<h2>${escapeHtml(section.heading)}</h2>`;
  if ("figure" in section)
    return `<section>${heading}<figure>${section.figure}<figcaption>${escapeHtml(section.caption)}</figcaption></figure></section>`;
  const head =
    section.columns && `<tr>${section.columns.map((name) => `<th scope="col">${escapeHtml(name)}</th>`).join("")}</tr>`;
  const rows = section.rows.map(
    ([name, ...values]) =>
      `<tr><th scope="row">${escapeHtml(name)}</th>${values.map((value) => `<td>${escapeHtml(value)}</td>`).join("")}</tr>`,
  );
  return `<section>${heading}<table${head ? ' class="columns"' : ""}>${head ? `<thead>${head}</thead>` : ""}<tbody>${rows.join("")}</tbody></table></section>`;
}

const rules = `
:root{color-scheme:light dark}
body{margin:0;background:var(--surface);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:760px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:26px;margin:0 0 4px}
.badge{font-size:13px;font-weight:600;vertical-align:4px;padding:2px 9px;margin-left:6px;border:1px solid var(--line);border-radius:9px;color:var(--muted);white-space:nowrap}
.badge.bad{color:var(--bad);border-color:currentColor}
h2{font-size:17px;margin:36px 0 8px}
p,figcaption,dt,thead th{color:var(--muted)}
p{margin:0 0 20px}
dl{display:flex;flex-wrap:wrap;gap:12px 40px;margin:0}
dt{font-size:13px}
dd{margin:0;font-size:22px;font-weight:600;font-variant-numeric:tabular-nums}
figure{margin:0;overflow-x:auto}
figcaption{font-size:13px;margin-top:6px}
svg{display:block;width:100%;min-width:560px;height:auto}
svg text{white-space:pre}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;font-weight:400;padding:5px 12px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}
tbody th{width:34%;color:var(--muted)}
.columns tbody th{width:auto;white-space:nowrap}
td{overflow-wrap:anywhere}
`;
