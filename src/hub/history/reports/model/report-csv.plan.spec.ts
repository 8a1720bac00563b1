import { describe, expect, it } from '@jest/globals';
import { csvOf } from './report-csv.plan.js';
import type { ReportTable } from './report.plan.js';

const TABLE: ReportTable = {
  name: 'vms',
  heading: 'VMs',
  columns: [
    { name: 'vm', heading: 'VM', unit: 'text' },
    { name: 'age_seconds', heading: 'Age', unit: 'seconds' },
  ],
};

describe('a table as CSV', () => {
  it('has a header, a line for each row, and raw values', () => {
    expect(
      csvOf(TABLE, [
        { vm: 'web-1', age_seconds: 60 },
        { vm: 'web-2', age_seconds: null },
      ]),
    ).toBe('vm,age_seconds\r\nweb-1,60\r\nweb-2,\r\n');
    expect(csvOf(TABLE, [])).toBe('vm,age_seconds\r\n');
  });

  it('quotes separators, quotes and line ends', () => {
    expect(csvOf(TABLE, [{ vm: 'a,"b"\nc', age_seconds: 0 }])).toBe('vm,age_seconds\r\n"a,""b""\nc",0\r\n');
  });

  it.each(['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', '\n=1'])('disarms %j', (vm) => {
    expect(csvOf(TABLE, [{ vm, age_seconds: 0 }]).replace(/"/g, '')).toBe(`vm,age_seconds\r\n'${vm},0\r\n`);
  });
});
