import type { Value } from '../../../../kernel/value-text.js';
import type { ReportRow, ReportTable } from './report.plan.js';

/** A spreadsheet takes a cell that begins with one of these for a formula. */
const FORMULA = /^[=+\-@\t\r\n]/;

/** A table as CSV (RFC 4180) with a header line. Text that a spreadsheet would take for a formula begins with an apostrophe. */
export function csvOf({ columns }: ReportTable, rows: readonly ReportRow[]): string {
  const lines = [columns.map(({ name }) => cellOf(name)), ...rows.map((row) => columns.map(({ name }) => cellOf(row[name] ?? null)))];
  return lines.map((cells) => `${cells.join(',')}\r\n`).join('');
}

function cellOf(value: Value): string {
  if (value === null) return '';
  if (typeof value !== 'string') return String(value);
  const text = FORMULA.test(value) ? `'${value}` : value;
  // Some spreadsheets separate cells by a semicolon or a tab.
  return /[",;\t\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
