import { describe, expect, it } from '@jest/globals';
import { byText, type ReportDefinition, reportBody, reportPath } from './report.plan.js';

const DEFINITION: ReportDefinition = {
  name: 'ages',
  title: 'Ages',
  version: 2,
  totals: [{ name: 'vms', heading: 'VMs', unit: 'count' }],
  tables: [
    {
      name: 'vms',
      heading: 'VMs',
      columns: [
        { name: 'vm', heading: 'VM', unit: 'text' },
        { name: 'age_seconds', heading: 'Age', unit: 'seconds' },
      ],
    },
  ],
};
const QUERY = { as_of: '0000000000000000042', at: '2027-01-05T12:00:00.000Z' };

describe('the body of a report', () => {
  it('has the values in the order of the definition', () => {
    const body = reportBody(DEFINITION, QUERY, { totals: { vms: 1 }, tables: { vms: [{ age_seconds: null, vm: 'a' }] } });
    expect(JSON.stringify(body)).toBe(
      `{"report":"ages","version":2,"query":${JSON.stringify(QUERY)},"totals":{"vms":1},"tables":{"vms":[{"vm":"a","age_seconds":null}]}}`,
    );
    expect(reportPath(body)).toBe('/api/v1/reports/ages?as_of=0000000000000000042&at=2027-01-05T12:00:00.000Z');
  });

  it('has exactly the defined values', () => {
    const withRow = (row: Record<string, string>) => () => reportBody(DEFINITION, QUERY, { totals: { vms: 1 }, tables: { vms: [row] } });
    expect(withRow({ vm: 'a' })).toThrow('a row of the report has no age_seconds');
    expect(withRow({ vm: 'a', age_seconds: '1', odd: '1' })).toThrow('the report defines no column odd');
  });
});

it('sorts by texts, the first one first', () => {
  const rows = ['b2', 'a2', 'B1', 'a1'];
  expect(
    rows.toSorted(
      byText(
        (row) => row.slice(0, 1),
        (row) => row.slice(1),
      ),
    ),
  ).toEqual(['B1', 'a1', 'a2', 'b2']);
});
