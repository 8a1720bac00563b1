import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type JestFile, type JestReport, verdictOf } from '../run/test-verdict.js';
import { PROJECT } from './planted-tree.js';

const PATIENCE_MS = 60_000;

function file(name: string, tests: Readonly<Record<string, 'passed' | 'failed' | 'pending'>>, message = ''): JestFile {
  const assertionResults = Object.entries(tests).map(([fullName, status]) => ({
    fullName,
    status,
    failureMessages: status === 'failed' ? [`Error: ${fullName} broke\n    at somewhere`] : [],
  }));
  const failed = message !== '' || assertionResults.some(({ status }) => status === 'failed');
  return { name, status: failed ? 'failed' : 'passed', message, assertionResults };
}

function report(...testResults: readonly JestFile[]): JestReport {
  return { testResults };
}

function repeated(...files: readonly JestFile[]): ReadonlyMap<string, JestReport> {
  return new Map(files.map((each) => [each.name, report(each)]));
}

describe('the verdict of a test run', () => {
  it('counts what passed, failed and was skipped', () => {
    const first = report(file('/a', { one: 'passed', two: 'pending' }), file('/b', { three: 'failed' }));
    expect(verdictOf(first, new Map())).toEqual({ passed: 1, failed: 1, skipped: 1, flaky: [] });
  });

  it('passes a test that failed once and passed alone, and names it as flaky with its first failure', () => {
    const first = report(file('/a', { one: 'failed', two: 'passed' }));
    expect(verdictOf(first, repeated(file('/a', { one: 'passed', two: 'passed' })))).toEqual({
      passed: 2,
      failed: 0,
      skipped: 0,
      flaky: [{ file: '/a', test: 'one', failure: 'Error: one broke' }],
    });
  });

  it('fails a test that failed twice', () => {
    const twice = file('/a', { one: 'failed', two: 'passed' });
    expect(verdictOf(report(twice), repeated(twice))).toEqual({ passed: 1, failed: 1, skipped: 0, flaky: [] });
  });

  it('fails a file whose second run has another failure, and calls nothing of it flaky', () => {
    const first = report(file('/a', { one: 'failed', two: 'passed' }));
    expect(verdictOf(first, repeated(file('/a', { one: 'passed', two: 'failed' })))).toEqual({ passed: 1, failed: 1, skipped: 0, flaky: [] });
  });

  it('fails a test that failed and did not run again', () => {
    const first = report(file('/a', { one: 'failed', two: 'passed' }));
    expect(verdictOf(first, repeated(file('/a', { one: 'pending', two: 'passed' })))).toMatchObject({ failed: 1, flaky: [] });
    expect(verdictOf(first, repeated(file('/a', { two: 'passed' })))).toMatchObject({ passed: 1, failed: 1, flaky: [] });
  });

  it('counts a file that cannot be loaded as one failure', () => {
    const broken = file('/a', {}, '  ● Test suite failed to run\n\n    Cannot find module x');
    expect(verdictOf(report(broken), repeated(broken))).toEqual({ passed: 0, failed: 1, skipped: 0, flaky: [] });
    expect(verdictOf(report(broken), repeated(file('/a', { one: 'passed' })))).toMatchObject({
      passed: 1,
      failed: 0,
      flaky: [{ test: '(the file itself)', failure: 'Cannot find module x' }],
    });
  });
});

describe('bin/test with a test file that fails', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sendense-test-run-'));
  });

  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  /** Runs planted tests as bin/test does. @returns what it printed, and the counts */
  function runPlanted(tests: Readonly<Record<string, string>>): { readonly printed: string; readonly counts: string } {
    for (const [name, source] of Object.entries(tests)) writeFileSync(join(folder, name), source);
    const config = JSON.stringify({ rootDir: folder, testRegex: '\\.planted\\.cjs$', moduleFileExtensions: ['cjs', 'js'] });
    const counts = join(folder, 'counts');
    const { stdout } = spawnSync(
      process.execPath,
      ['--import', './test/bench/typescript.mjs', 'test/run/run-tests.ts', counts, `--config=${config}`, `--cacheDirectory=${join(folder, 'cache')}`],
      { cwd: PROJECT, encoding: 'utf8', timeout: PATIENCE_MS },
    );
    return { printed: stdout, counts: readFileSync(counts, 'utf8').trim() };
  }

  it(
    'runs the file again alone, and lists as flaky what passes then',
    () => {
      const { printed, counts } = runPlanted({
        'upset.planted.cjs': `const { existsSync, writeFileSync } = require('node:fs');
          const mark = ${JSON.stringify(join(folder, 'ran'))};
          test('passes the second time', () => {
            const again = existsSync(mark);
            writeFileSync(mark, '');
            if (!again) throw new Error('the first time');
          });`,
      });
      expect(counts).toBe('1 0 0');
      expect(printed).toMatch(/^FLAKY .*upset\.planted\.cjs passes the second time: Error: the first time$/m);
    },
    PATIENCE_MS,
  );

  it(
    'fails what fails twice',
    () => {
      const { printed, counts } = runPlanted({ 'broken.planted.cjs': `test('never passes', () => { throw new Error('always'); });` });
      expect(counts).toBe('0 1 0');
      expect(printed).not.toMatch(/^FLAKY/m);
    },
    PATIENCE_MS,
  );
});
