import { stripVTControlCharacters } from 'node:util';

/** What this project reads of Jest's JSON report (`--json --outputFile`). */
export interface JestReport {
  readonly testResults: readonly JestFile[];
}

export interface JestFile {
  /** Absolute path of the test file. */
  readonly name: string;
  readonly status: string;
  /** The failures of the file as text; of a file that could not be loaded, the only place where they are. */
  readonly message: string;
  readonly assertionResults: readonly JestTest[];
}

export interface JestTest {
  readonly fullName: string;
  readonly status: string;
  readonly failureMessages?: readonly string[] | null;
}

/** A test that failed once and passed when its file ran again alone. */
export interface FlakyTest {
  readonly file: string;
  readonly test: string;
  /** First line of the first failure. */
  readonly failure: string;
}

export interface Verdict {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly flaky: readonly FlakyTest[];
}

/** Named in place of a test when the file failed outside of its tests: while it was loaded, or in afterAll. */
const WHOLE_FILE = '(the file itself)';

export function failedFiles(report: JestReport): readonly string[] {
  return report.testResults.filter(({ status }) => status === 'failed').map(({ name }) => name);
}

/**
 * Counts each file by its last run. A test that failed at first counts as passed only if it ran again and passed.
 * @param again reports of the second runs, by file; a failed file without one stays failed
 */
export function verdictOf(first: JestReport, again: ReadonlyMap<string, JestReport>): Verdict {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const flaky: FlakyTest[] = [];
  for (const file of first.testResults) {
    const second = again.get(file.name)?.testResults.find(({ name }) => name === file.name);
    const last = second ?? file;
    const passed = last.assertionResults.filter(({ status }) => status === 'passed').map(({ fullName }) => fullName);
    const failures = failuresOf(last);
    const lost = failuresOf(file).filter(({ test }) => !failures.some((failure) => failure.test === test) && test !== WHOLE_FILE && !passed.includes(test));
    counts.passed += passed.length;
    counts.failed += failures.length + lost.length;
    counts.skipped += last.assertionResults.length - passed.length - failures.filter(({ test }) => test !== WHOLE_FILE).length - lost.length;
    if (second !== undefined && failures.length + lost.length === 0) flaky.push(...failuresOf(file).map((failure) => ({ file: file.name, ...failure })));
  }
  return { ...counts, flaky };
}

function failuresOf(file: JestFile): readonly { readonly test: string; readonly failure: string }[] {
  const failed = file.assertionResults.filter(({ status }) => status === 'failed');
  if (failed.length === 0 && file.status === 'failed') return [{ test: WHOLE_FILE, failure: firstLine(file.message) }];
  return failed.map(({ fullName, failureMessages }) => ({ test: fullName, failure: firstLine(failureMessages?.[0] ?? file.message) }));
}

/** The first line that says something: Jest begins the text of a file with its own heading (`●`). */
function firstLine(text: string): string {
  const lines = stripVTControlCharacters(text).split('\n');
  return (lines.find((line) => line.trim() !== '' && !line.trim().startsWith('●')) ?? '').trim();
}
