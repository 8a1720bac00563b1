import type { CheckResult } from './check.plan.js';

const ID_WIDTH = 20;

/** One check for humans: its title and result, and the remedy on the next line. */
export function checkLines({ id, role, status, title, detail, remedy }: CheckResult): string {
  const line = `${status.toUpperCase()}  ${role.padEnd(4)}  ${id.padEnd(ID_WIDTH)}  ${title}: ${detail}\n`;
  return remedy === null ? line : `${line}${' '.repeat(12)}-> ${remedy}\n`;
}

export function summaryLine(results: readonly CheckResult[]): string {
  const count = (status: CheckResult['status']): number => results.filter((result) => result.status === status).length;
  return `\n${results.length} checks: ${count('pass')} passed, ${count('warn')} warned, ${count('fail')} failed, ${count('skip')} skipped\n`;
}

export function overallStatus(results: readonly CheckResult[]): 'pass' | 'warn' | 'fail' {
  if (results.some(({ status }) => status === 'fail')) return 'fail';
  return results.some(({ status }) => status === 'warn') ? 'warn' : 'pass';
}
