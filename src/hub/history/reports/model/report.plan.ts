import type { Value, ValueUnit } from '../../../../kernel/value-text.js';

export interface ReportColumn {
  /** Member of a row, and heading in CSV. */
  readonly name: string;
  /** For people. */
  readonly heading: string;
  readonly unit: ValueUnit;
}

export interface ReportTable {
  readonly name: string;
  readonly heading: string;
  readonly columns: readonly ReportColumn[];
}

/** What a report consists of. JSON, CSV, the page and the terminal's tables derive from it. */
export interface ReportDefinition {
  readonly name: string;
  readonly title: string;
  /** Raised when a row gets other members or another meaning: reports of different versions have different hashes. */
  readonly version: number;
  readonly totals: readonly ReportColumn[];
  /** The first one is the CSV of a report whose table is not named. */
  readonly tables: readonly [ReportTable, ...ReportTable[]];
}

/** A flat row: a value for each column. */
export type ReportRow = Readonly<Record<string, Value>>;

/** The numbers of a report: by the names of its definition. */
export interface ReportContent {
  readonly totals: ReportRow;
  readonly tables: Readonly<Record<string, readonly ReportRow[]>>;
}

/** What a report was asked for. */
export type ReportParameters = Readonly<Record<string, string>>;

/** What the hash of a report covers: what was asked, and every value of the answer. */
export interface ReportBody extends ReportContent {
  readonly report: string;
  readonly version: number;
  /** With these parameters the same report can be computed again. */
  readonly query: ReportParameters;
}

/** A computed report. */
export interface Report {
  readonly definition: ReportDefinition;
  readonly body: ReportBody;
  readonly sha256: string;
}

/** The values of a report, in the order of its definition. @throws Error for a value that is not defined or is missing */
export function reportBody(definition: ReportDefinition, query: ReportParameters, content: ReportContent): ReportBody {
  const { name, version, totals, tables } = definition;
  const rows = tables.map((table) => [table.name, (content.tables[table.name] ?? []).map((row) => ordered(table.columns, row))] as const);
  return { report: name, version, query, totals: ordered(totals, content.totals), tables: Object.fromEntries(rows) };
}

/** The path of the query under which the same report can be computed again. */
export function reportPath({ report, query }: ReportBody): string {
  const parameters = Object.entries(query).map(([name, value]) => `${name}=${value}`);
  return `/api/v1/reports/${report}?${parameters.join('&')}`;
}

/** In the same order on every machine: a database sorts by its locale. */
export function byText<Row>(...of: readonly ((row: Row) => string)[]): (a: Row, b: Row) => number {
  return (a, b) => {
    for (const textOf of of) {
      const [one, other] = [textOf(a), textOf(b)];
      if (one !== other) return one < other ? -1 : 1;
    }
    return 0;
  };
}

function ordered(columns: readonly ReportColumn[], row: ReportRow): ReportRow {
  const unknown = Object.keys(row).filter((member) => columns.every(({ name }) => name !== member));
  if (unknown.length > 0) throw new Error(`the report defines no column ${unknown.join(', ')}`);
  return Object.fromEntries(
    columns.map(({ name }) => {
      const value = row[name];
      if (value === undefined) throw new Error(`a row of the report has no ${name}`);
      return [name, value];
    }),
  );
}
