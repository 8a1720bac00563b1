import { Option } from 'commander';
import { type Value, valueText } from '../../kernel/value-text.js';
import type { Report } from '../api/answers.js';
import { hubOf } from '../api/hub-options.js';
import { readingCommand, type ResourceOptions, table } from '../api/resource.command.js';
import { CliCommand } from '../terminal/command.js';
import { instant } from '../terminal/option-values.js';

interface ReportOptions extends ResourceOptions {
  readonly csv?: true;
  readonly html?: true;
  readonly at?: string;
  readonly withinHours?: string;
  readonly from?: string;
  readonly until?: string;
  readonly table?: string;
}

type Row = Readonly<Record<string, Value>>;

/** A report of a large installation takes longer than other answers. */
const REPORT_MS = 120_000;

export function reportCommand(environment: NodeJS.ProcessEnv): CliCommand {
  const report = (name: string, description: string): CliCommand =>
    readingCommand(name, description)
      .addOption(new Option('--csv', 'print a table as CSV').conflicts(['json', 'html']))
      .addOption(new Option('--html', 'print a page for browsers and printers').conflicts(['json', 'csv']));
  const ofPeriod = (name: string, description: string): CliCommand =>
    report(name, description)
      .option('--from <time>', 'from this time on, for example 2026-11-21T10:30:00Z or 2026-11-21; default: 30 days before the end', instant)
      .option('--until <time>', 'before this time; default: that of --as-of, or now', instant);
  const printed = (name: string, parameters: readonly (keyof ReportOptions)[]) => async (options: ReportOptions) =>
    print(name, parameters, options, environment);
  const protection = report('protection', 'how each VM is protected: policies, last good restore point, RPO')
    .option('--at <time>', 'judge ages at this time; default: that of --as-of, or now', instant)
    .does(printed('protection', ['at']));
  const runs = ofPeriod('runs', 'runs of policies in a period, and failed backups')
    .addOption(new Option('--table <table>', 'with --csv: the table; default: runs').choices(['runs', 'failures']))
    .does(printed('runs', ['from', 'until', 'table']));
  const evidence = report('restore-evidence', 'what has shown of each VM that it can be restored').does(printed('restore-evidence', []));
  const changes = ofPeriod('changes', 'who changed policies, deleted, pinned or held something, restored or downloaded')
    .addOption(new Option('--table <table>', 'with --csv: the table; default: policies').choices(['policies', 'deletions', 'protections', 'accesses']))
    .does(printed('changes', ['from', 'until', 'table']));
  const capacity = ofPeriod('capacity', 'what restore points use in each repository, and how that changed')
    .addOption(new Option('--table <table>', 'with --csv: the table; default: vms').choices(['vms', 'repositories']))
    .does(printed('capacity', ['from', 'until', 'table']));
  const sla = ofPeriod('sla', 'what was promised for each VM in a period, and what was kept').does(printed('sla', ['from', 'until']));
  const threeTwoOne = report('three-two-one', 'whether three copies of each VM exist, on two kinds of storage, one of them off-site')
    .option('--at <time>', 'judge ages at this time; default: that of --as-of, or now', instant)
    .option('--within-hours <hours>', 'restore points that count; default: 48')
    .does(printed('three-two-one', ['at', 'withinHours']));
  return new CliCommand('report')
    .description('Prints reports. The same report can be printed again years later.')
    .addCommand(protection)
    .addCommand(runs)
    .addCommand(sla)
    .addCommand(evidence)
    .addCommand(changes)
    .addCommand(capacity)
    .addCommand(threeTwoOne);
}

async function print(name: string, parameters: readonly (keyof ReportOptions)[], options: ReportOptions, environment: NodeJS.ProcessEnv): Promise<void> {
  const format = options.csv === true ? 'csv' : options.html === true ? 'html' : 'json';
  const query = new URLSearchParams({ format });
  for (const parameter of parameters) {
    const value = options[parameter];
    if (typeof value === 'string') query.set(parameter === 'withinHours' ? 'within_hours' : parameter, value);
  }
  const { text, headers } = await (await hubOf(options, environment)).read(`/reports/${name}?${query.toString()}`, REPORT_MS);
  const source = `from ${headers.get('report-path') ?? ''}\nSHA-256 ${headers.get('report-sha256') ?? ''}\n`;
  if (format !== 'json') process.stdout.write(text);
  else {
    // The hub's own answer has the shape of its API document.
    const report = JSON.parse(text) as Report;
    process.stdout.write(options.json === true ? `${JSON.stringify(report, null, 2)}\n` : `${reportText(report)}\n${source}`);
  }
  // A table of CSV has no place for it.
  if (format === 'csv') process.stderr.write(source);
}

/** Totals, then each table without the ids, which `--json` and `--csv` have. */
function reportText({ totals, tables, layout }: Report): string {
  const width = Math.max(...layout.totals.map(({ heading }) => heading.length));
  const numbers = layout.totals.map(({ name, heading, unit }) => `${heading.padEnd(width)}  ${valueText(unit, (totals as Row)[name] ?? null)}\n`);
  const texts = layout.tables.map(({ name, heading, columns }) => {
    const shown = columns.filter(({ unit }) => unit !== 'id');
    const rows = (tables[name] as readonly Row[]).map((row) =>
      Object.fromEntries(shown.map((column) => [column.heading, valueText(column.unit, row[column.name] ?? null)])),
    );
    const headings = shown.map((column) => column.heading);
    return `\n${heading}\n${rows.length === 0 ? 'none\n' : table(headings, rows)}`;
  });
  return `${layout.title}\n${numbers.join('')}${texts.join('')}`;
}
