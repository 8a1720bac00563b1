import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

export const PROJECT = resolve(import.meta.dirname, '../..');

/** A small project in a temporary folder, with the packages of the real one. */
export class PlantedTree {
  readonly root = mkdtempSync(join(tmpdir(), 'sendense-planted-'));

  constructor(files: Readonly<Record<string, string>>) {
    symlinkSync(join(PROJECT, 'node_modules'), join(this.root, 'node_modules'));
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(this.root, path)), { recursive: true });
      writeFileSync(join(this.root, path), content);
    }
  }

  /** Runs a tool of node_modules in the tree and gives its standard output, whether it found something or not. @throws Error when it could not work */
  run(script: string, ...argv: readonly string[]): string {
    try {
      return execFileSync(process.execPath, [join(PROJECT, 'node_modules', script), ...argv], {
        cwd: this.root,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
        maxBuffer: 64 * 1024 * 1024,
      });
    } catch (error) {
      const { stdout, stderr } = error as { stdout?: string; stderr?: string }; // what execFileSync adds to its error
      if (stdout === undefined || stdout === '') throw new Error(`${script} could not work: ${stderr ?? String(error)}`, { cause: error });
      return stdout;
    }
  }

  remove(): void {
    rmSync(this.root, { recursive: true });
  }
}
