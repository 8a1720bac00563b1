import { type ChildProcessWithoutNullStreams } from 'node:child_process';
import type { BootedHost } from './booted-host.js';
import { until } from './hub-system.js';

const BLOCK_PATIENCE_MS = 400_000;

/** A root shell on a booted host, in which what one block of commands has set is there for the next, as for somebody who types them. */
export class HostShell {
  private readonly process: ChildProcessWithoutNullStreams;
  private output = '';
  private blocks = 0;

  constructor(private readonly host: BootedHost) {
    this.process = host.spawn(['bash', '-s']);
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
      });
    }
    this.process.stdin.on('error', () => undefined);
    // The first command that fails ends the shell; also the one at the beginning of a pipe.
    this.process.stdin.write('set -euo pipefail\ncd /root\n');
  }

  /** Types these lines, and waits until they are through. @returns what they printed @throws Error with that when one fails */
  async run(block: string): Promise<string> {
    this.blocks += 1;
    const mark = `--- end of block ${this.blocks} ---`;
    const from = this.output.length;
    this.process.stdin.write(`${block}\necho '${mark}'\n`);
    await until(
      `these commands on ${this.host.name}:\n${block}`,
      () => Promise.resolve(this.output.includes(mark, from) || this.process.exitCode !== null || this.process.signalCode !== null),
      BLOCK_PATIENCE_MS,
    );
    const printed = this.output.slice(from);
    if (!printed.includes(mark)) throw new Error(`these commands failed on ${this.host.name}:\n${block}\n\nThey printed:\n${printed}`);
    return printed.slice(0, printed.indexOf(mark));
  }

  end(): void {
    this.process.kill('SIGKILL');
  }
}

/** Fenced blocks of a page below a heading, with the word behind `sh` that says where they are to be typed. */
export function blocksBelow(page: string, heading: string): readonly { readonly where: string; readonly text: string }[] {
  const start = page.indexOf(`\n## ${heading}\n`);
  if (start < 0) throw new Error(`the page has no heading "${heading}"`);
  const end = page.indexOf('\n## ', start + 1);
  const section = page.slice(start, end < 0 ? undefined : end);
  return [...section.matchAll(/^```sh (\S+)\n([\s\S]*?)^```$/gm)].map(([, where = '', text = '']) => ({ where, text }));
}
