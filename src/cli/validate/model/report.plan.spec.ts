import { describe, expect, it } from '@jest/globals';
import type { CheckResult } from './check.plan.js';
import { checkLines, overallStatus, summaryLine } from './report.plan.js';

const result = (status: CheckResult['status'], remedy: string | null = null): CheckResult => ({
  id: 'database',
  role: 'hub',
  title: 'The database',
  status,
  detail: 'PostgreSQL 18',
  remedy,
});

describe('the report of an installation', () => {
  it('has one line for a check, and one below it for how to mend it', () => {
    expect(checkLines(result('pass'))).toBe('PASS  hub   database              The database: PostgreSQL 18\n');
    expect(checkLines(result('fail', 'Start it.'))).toBe('FAIL  hub   database              The database: PostgreSQL 18\n            -> Start it.\n');
  });

  it('counts the checks by their status', () => {
    const results = [result('pass'), result('pass'), result('warn'), result('fail'), result('fail'), result('fail'), result('skip')];
    expect(summaryLine(results)).toBe('\n7 checks: 2 passed, 1 warned, 3 failed, 1 skipped\n');
  });

  it('is as bad as its worst check; one that does not apply is no harm', () => {
    expect(overallStatus([])).toBe('pass');
    expect(overallStatus([result('pass'), result('skip')])).toBe('pass');
    expect(overallStatus([result('warn'), result('pass')])).toBe('warn');
    expect(overallStatus([result('warn'), result('fail'), result('pass')])).toBe('fail');
  });
});
