import { valueText } from '../../../../kernel/value-text.js';
import { type Report, type ReportColumn, reportPath, type ReportRow } from './report.plan.js';

/** The one style of the page; its policy allows exactly this text. */
export const REPORT_STYLE = `
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em; color: #1a1a1a; background: #fff; }
h1 { font-size: 1.6em; margin: 0 0 .5em; }
h2 { font-size: 1.2em; margin: 1.5em 0 .5em; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25em .6em .25em 0; border-bottom: 1px solid #ccc; }
td { overflow-wrap: anywhere; min-width: 5em; }
th { border-bottom: 2px solid #666; }
.number { text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: normal; min-width: 0; }
td.number { white-space: nowrap; }
.time { overflow-wrap: normal; min-width: 6em; }
td.id { font-family: ui-monospace, monospace; font-size: .7em; min-width: 10em; }
dl { display: flex; flex-wrap: wrap; gap: .5em 2em; margin: 0; }
dt { color: #555; font-size: .85em; }
dd { margin: 0; font-size: 1.3em; font-variant-numeric: tabular-nums; }
footer { margin-top: 2em; color: #555; font-size: .8em; overflow-wrap: anywhere; }
@page { size: A4 landscape; margin: 12mm; }
@media print {
  body { font-size: 9px; margin: 0; }
  thead { display: table-header-group; }
  tr, dl, footer { break-inside: avoid; }
  h2 { break-after: avoid; }
}
`;

/** A report as a page of its own: without scripts, images and links, and with all values escaped. */
export function htmlOf(report: Report, policy: string): string {
  const { definition, body, sha256 } = report;
  const facts = Object.entries(body.query).map(([name, value]) => `${name.replaceAll('_', ' ')} ${value}`);
  const tables = definition.tables.map(({ name, heading, columns }) => {
    const rows = body.tables[name] ?? [];
    return `<h2>${escaped(heading)} (${rows.length})</h2>\n${rows.length === 0 ? '<p>none</p>\n' : tableOf(columns, rows)}`;
  });
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${escaped(policy)}">
<title>${escaped(definition.title)}</title>
<style>${REPORT_STYLE}</style>
</head>
<body>
<h1>${escaped(definition.title)}</h1>
<p>${escaped(facts.join(', '))}</p>
<dl>
${definition.totals.map(({ name, heading, unit }) => `<div><dt>${escaped(heading)}</dt><dd>${escaped(valueText(unit, body.totals[name] ?? null))}</dd></div>\n`).join('')}</dl>
${tables.join('')}<footer>
<p>Computed from ${escaped(reportPath(body))}, which gives the same report again.</p>
<p>SHA-256 of its content, version ${body.version}: ${escaped(sha256)}</p>
</footer>
</body>
</html>
`;
}

function tableOf(columns: readonly ReportColumn[], rows: readonly ReportRow[]): string {
  const line = (cells: readonly string[]): string => `<tr>${cells.join('')}</tr>\n`;
  const head = line(columns.map((column) => `<th scope="col"${classOf(column)}>${escaped(column.heading)}</th>`));
  const body = rows.map((row) => line(columns.map((column) => `<td${classOf(column)}>${escaped(valueText(column.unit, row[column.name] ?? null))}</td>`)));
  return `<table>\n<thead>\n${head}</thead>\n<tbody>\n${body.join('')}</tbody>\n</table>\n`;
}

function classOf({ unit }: ReportColumn): string {
  switch (unit) {
    case 'text':
      return '';
    case 'id':
    case 'time':
      return ` class="${unit}"`;
    case 'bytes':
    case 'count':
    case 'percent':
    case 'seconds':
      return ' class="number"';
  }
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;').replaceAll("'", '&#39;');
}
