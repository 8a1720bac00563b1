/**
 * Runs Jest, and runs each test file that failed once more, alone, at the end: `run-tests.ts COUNTS [jest arguments]`.
 * Writes "<passed> <failed> <skipped>" to the file COUNTS.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { createInterface } from 'node:readline';
import { failedFiles, type JestReport, verdictOf } from './test-verdict.js';

/** When more files fail than this, the cause is not one upset test, and none runs again. */
const MOST_REPEATED_FILES = 10;

const [countsFile, ...jestArguments] = process.argv.slice(2);
if (countsFile === undefined) throw new Error('usage: run-tests.ts COUNTS [jest arguments]');

const work = mkdtempSync(join(tmpdir(), 'sendense-test-run-'));
const reasons = new Set<string>();

try {
  const first = await jest(jestArguments);
  const failed = failedFiles(first.report);
  const again = new Map<string, JestReport>();
  if (failed.length > MOST_REPEATED_FILES) say(`\n${failed.length} files failed, too many to be an accident; none runs again`);
  else {
    for (const file of failed) {
      say(`\nrunning once more, alone: ${relative(process.cwd(), file)}`);
      again.set(file, (await jest(['--runInBand', '--forceExit', ...optionsOf(jestArguments), '--runTestsByPath', file])).report);
    }
  }
  const { passed, failed: failures, skipped, flaky } = verdictOf(first.report, again);
  // Jest also fails for what no test stands for, such as a pattern that matches no file.
  const failedOtherwise = first.exitCode !== 0 && failed.length === 0 ? 1 : 0;
  if (skipped > 0) {
    say(`\n${skipped} skipped, because:`);
    for (const reason of [...reasons].sort()) say(reason);
    if (process.env['CI'] !== 'true') say('CI=true bin/setup installs the tools of every test, and CI=true bin/test runs them all (as root).');
  }
  if (flaky.length > 0) say('');
  for (const { file, test, failure } of flaky) say(`FLAKY ${relative(process.cwd(), file)} ${test}: ${failure}`);
  writeFileSync(countsFile, `${passed} ${failures + failedOtherwise} ${skipped}\n`);
} finally {
  rmSync(work, { recursive: true, force: true });
}

/** @returns Jest's exit code and report; its output goes to standard output as it appears */
async function jest(argv: readonly string[]): Promise<{ readonly exitCode: number; readonly report: JestReport }> {
  const outputFile = join(work, 'report.json');
  rmSync(outputFile, { force: true });
  const child = spawn('npm', ['run', '--silent', 'jest', '--', '--json', `--outputFile=${outputFile}`, ...argv], { stdio: ['ignore', 'ignore', 'pipe'] });
  const exited = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      resolve(code ?? 1);
    });
  });
  for await (const line of createInterface({ input: child.stderr })) {
    say(line);
    if (line.startsWith('skipped: ')) reasons.add(line);
  }
  const exitCode = await exited;
  return { exitCode, report: reportIn(outputFile) };
}

/** A Jest that was killed has written none. */
function reportIn(file: string): JestReport {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as JestReport; // Jest's own format
  } catch {
    return { testResults: [] };
  }
}

/** Without what says which files to run, and on how many workers. */
function optionsOf(argv: readonly string[]): readonly string[] {
  return argv.filter((argument) => argument.startsWith('--') && !/^--(maxWorkers|testPathIgnorePatterns|shard)\b/.test(argument));
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
