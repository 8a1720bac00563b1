import { describe, expect, it } from '@jest/globals';
import { htmlOf } from './report-html.plan.js';
import { type ReportDefinition, reportBody, type ReportRow } from './report.plan.js';

const DEFINITION: ReportDefinition = {
  name: 'ages',
  title: 'Ages <of> VMs',
  version: 1,
  totals: [{ name: 'vms', heading: 'VMs', unit: 'count' }],
  tables: [
    {
      name: 'vms',
      heading: 'All & sundry',
      columns: [
        { name: 'vm', heading: 'VM', unit: 'text' },
        { name: 'age_seconds', heading: 'Age', unit: 'seconds' },
        { name: 'last', heading: 'Last', unit: 'time' },
      ],
    },
  ],
};

function page(rows: readonly ReportRow[]): string {
  const body = reportBody(
    DEFINITION,
    { as_of: '0000000000000000042', at: '2027-01-05T12:00:00.000Z' },
    { totals: { vms: rows.length }, tables: { vms: rows } },
  );
  return htmlOf({ definition: DEFINITION, body, sha256: 'ab'.repeat(32) }, "style-src 'sha256-x'");
}

describe('a report as a page', () => {
  it('escapes everything that comes from outside', () => {
    const html = page([{ vm: `<script>alert("1")</script>&'`, age_seconds: null, last: null }]);
    expect(html).toContain('<td>&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;</td>');
    expect(html).toContain('<h1>Ages &lt;of&gt; VMs</h1>');
    expect(html).not.toMatch(/<script|<img|<link|href=|src=/);
  });

  it('shows values for people', () => {
    const html = page([{ vm: 'web-1', age_seconds: 3660, last: '2027-01-05T11:00:00.000Z' }]);
    expect(html).toContain('<td>web-1</td><td class="number">1 h 1 min</td><td class="time">2027-01-05 11:00:00 UTC</td>');
    expect(html).toContain('<dt>VMs</dt><dd>1</dd>');
    expect(html).toContain('<h2>All &amp; sundry (1)</h2>');
  });

  it('says that a table is empty', () => {
    expect(page([])).toContain('<p>none</p>');
  });

  it('has the query and the hash in its footer', () => {
    expect(page([])).toContain('/api/v1/reports/ages?as_of=0000000000000000042&amp;at=2027-01-05T12:00:00.000Z');
    expect(page([])).toContain('ab'.repeat(32));
  });
});
