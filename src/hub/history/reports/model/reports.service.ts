import { createHash } from 'node:crypto';
import { Injectable, StreamableFile } from '@nestjs/common';
import type { Response } from 'express';
import { Clock } from '../../../../lib/clock/clock.js';
import { KeyedMutex } from '../../../../lib/concurrency/keyed-mutex.js';
import { canonicalSha256 } from '../../../../lib/http/canonical-json.js';
import { validationProblem } from '../../../../lib/http/problem.js';
import { currentRequest } from '../../../../lib/http/request-state.js';
import { attachment } from '../../../operations/http/attachment.js';
import { readAsOf } from '../../../store/postgres/as-of.js';
import { PastInstants } from '../../../store/postgres/past-instants.js';
import { PATH_HEADER, SHA256_HEADER } from './api-report.decorator.js';
import { type BrokenRule, isBroken, type ReportTimes } from './period.plan.js';
import type { ReportQuery, ReportResponse } from './report.dto.js';
import { csvOf } from './report-csv.plan.js';
import { htmlOf, REPORT_STYLE } from './report-html.plan.js';
import { type Report, reportBody, type ReportContent, type ReportDefinition, type ReportParameters, reportPath } from './report.plan.js';

/** A page loads nothing and runs nothing; its own style is named by its hash. */
const STYLE_POLICY = `default-src 'none'; style-src 'sha256-${createHash('sha256').update(REPORT_STYLE).digest('base64')}'; base-uri 'none'; form-action 'none'`;

export interface ReportSource<Parameters extends ReportParameters> {
  readonly definition: ReportDefinition;
  /** What the report is about, from what was asked and the defaults. */
  readonly parameters: (times: ReportTimes) => Parameters | BrokenRule;
  /** Runs as of the instant of the report. */
  readonly read: (parameters: Parameters) => Promise<ReportContent>;
}

/** Computes reports from the records of one instant, and answers them in the format that was asked for. */
@Injectable()
export class Reports {
  /** One at a time: a report of ten thousand VMs takes much memory. */
  private readonly turns = new KeyedMutex();

  constructor(
    private readonly instants: PastInstants,
    private readonly clock: Clock,
  ) {}

  async answer<Parameters extends ReportParameters>(
    source: ReportSource<Parameters>,
    { format, table }: ReportQuery & { readonly table?: string },
    response: Response,
  ): Promise<ReportResponse | StreamableFile> {
    if (table !== undefined && format !== 'csv') {
      throw validationProblem([{ field: 'table', rule: 'only_with_csv', message: 'table must be used with format=csv; the other formats have all tables' }]);
    }
    const report = await this.turns.runExclusive('report', () => this.compute(source));
    const { definition, body, sha256 } = report;
    response.set({ [SHA256_HEADER]: sha256, [PATH_HEADER]: reportPath(body) });
    const file = `sendense-${definition.name}-${sha256.slice(0, 12)}`;
    switch (format) {
      case 'json': {
        const { title, totals, tables } = definition;
        const layout = { title, totals: [...totals], tables: tables.map((one) => ({ ...one, columns: [...one.columns] })) };
        return { ...body, tables: { ...body.tables }, layout, sha256 };
      }
      case 'csv': {
        const chosen = definition.tables.find(({ name }) => name === table) ?? definition.tables[0];
        const type = 'text/csv; charset=utf-8; header=present';
        return sent(csvOf(chosen, body.tables[chosen.name] ?? []), type, attachment(`${file}-${chosen.name}.csv`));
      }
      case 'html':
        response.set('Content-Security-Policy', `${STYLE_POLICY}; frame-ancestors 'none'`);
        return sent(htmlOf(report, STYLE_POLICY), 'text/html; charset=utf-8', 'inline');
    }
  }

  private async compute<Parameters extends ReportParameters>({ definition, parameters, read }: ReportSource<Parameters>): Promise<Report> {
    const now = this.clock.iso();
    const instant = currentRequest()?.instant ?? (await this.instants.atTime(now));
    if (instant === null) throw new Error('the clock was set back while a report was computed');
    const found = parameters({ now, recorded: instant.time });
    if (isBroken(found)) throw validationProblem([found]);
    const content = await readAsOf(instant, () => read(found));
    const body = reportBody(definition, { as_of: instant.position ?? instant.time, ...found }, content);
    return { definition, body, sha256: canonicalSha256(body) };
  }
}

function sent(text: string, type: string, disposition: string): StreamableFile {
  return new StreamableFile(Buffer.from(text), { type, disposition });
}
