import { readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { execa } from 'execa';

/** One line of the verdict: what was promised, what was measured. */
export interface Target {
  readonly what: string;
  readonly limit: string;
  readonly measured: string;
  readonly met: boolean;
}

export interface BenchResult {
  readonly title: string;
  /** How it was measured, for whoever wants to judge the figures. */
  readonly notes: readonly string[];
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly targets: readonly Target[];
}

export interface BenchOptions {
  /** Sizes and rounds small enough to see in a minute that the program works; the figures mean nothing. */
  readonly smoke: boolean;
  /** How long a history is made, where one is. */
  readonly events?: number;
  /** Path of the built checkout of another version, to compare with. */
  readonly before?: string;
}

export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/** The smallest value that at least `percent` of all are not above (nearest rank). */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN;
}

export function inSeconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(2)} s`;
}

export function inMilliseconds(milliseconds: number): string {
  return `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`;
}

export function atMost(what: string, limit: number, measured: number, show: (value: number) => string): Target {
  return { what, limit: `at most ${show(limit)}`, measured: show(measured), met: measured <= limit };
}

export function ratio(value: number): string {
  return value.toFixed(2);
}

export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

export function markdownOf(result: BenchResult): string {
  const parts = [`## ${result.title}`, '', ...result.notes.map((note) => `- ${note}`), '', markdownTable(result.head, result.rows)];
  if (result.targets.length > 0) {
    const rows = result.targets.map(({ what, limit, measured, met }) => [what, limit, measured, met ? 'met' : '**missed**']);
    parts.push('', markdownTable(['target', 'limit', 'measured', ''], rows));
  }
  return `${parts.join('\n')}\n`;
}

/** What the figures depend on. */
export async function describeMachine(): Promise<readonly string[]> {
  const qemu = (await execa('qemu-nbd', ['--version'])).stdout.split('\n')[0] ?? '';
  const nbdcopy = (await execa('nbdcopy', ['--version'])).stdout.split('\n')[0] ?? '';
  const { stdout: fileSystem } = await execa('df', ['--output=source,fstype', tmpdir()]);
  const { bavail, bsize } = await statfs(tmpdir());
  return [
    `${cpus().length} x ${cpus()[0]?.model ?? 'unknown processor'}, ${Math.round(totalmem() / 2 ** 30)} GiB of memory, Linux ${release()}`,
    `temporary files on ${fileSystem.split('\n')[1]?.trim().replaceAll(/\s+/g, ', ') ?? 'unknown'}, ${Math.round((bavail * bsize) / 2 ** 30)} GiB free`,
    `Node ${process.version}, ${qemu}, ${nbdcopy}`,
  ];
}

/** Work that others do on the machine spoils the figures. Load average of the last minute. */
export function loadAverage(): number {
  return Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[0]);
}
