import { execFile, execFileSync } from 'node:child_process';
import { chown, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from '@jest/globals';
import { requireKernel } from '../../../test/support/require-tools.js';
import { CAP_CHOWN, CAP_DAC_OVERRIDE, droppingCapabilities, hasCapability } from './capabilities.js';
import type { ToolRights } from './process-supervisor.port.js';
import { ShellProcessSupervisor } from './shell-process-supervisor.js';

const run = promisify(execFile);
const NOBODY = 65_534;
const SUPERVISOR = fileURLToPath(new URL('./shell-process-supervisor.ts', import.meta.url));
/** Lets Node.js load the sources. */
const TYPESCRIPT = fileURLToPath(new URL('../../../test/bench/typescript.mjs', import.meta.url));
/** As the unit of a deployed node grants them to its account. */
const AS_SERVICE = ['--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=+dac_override,+chown', '--ambient-caps=+dac_override,+chown', '--'];
const RIGHTS: readonly ToolRights[] = ['none', 'files', 'all'];
const START = `
const [, supervisor, root] = process.argv;
const { ShellProcessSupervisor } = await import(supervisor);
for (const rights of ['none', 'files', 'all']) await new ShellProcessSupervisor().start(root + '/' + rights, ['sleep', '60'], { rights, background: true });
await new ShellProcessSupervisor().start(root + '/default', ['sleep', '60']);
process.exit();
`;
const { describe, it } = requireKernel(whyNot());

function whyNot(): string | null {
  if (process.getuid?.() !== 0) return 'only root can give ambient capabilities';
  try {
    execFileSync('setpriv', [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--', 'test', '-r', SUPERVISOR]);
    return null;
  } catch {
    return `an account without rights cannot read ${SUPERVISOR}`;
  }
}

describe('tools of a service with ambient capabilities', () => {
  it('keep only those that they need, and get none of its secrets', async () => {
    const root = await mkdtemp(join(tmpdir(), 'sendense-rights-'));
    const supervisor = new ShellProcessSupervisor();
    const started = [...RIGHTS, 'default'].map((name) => join(root, name));
    try {
      await chown(root, NOBODY, NOBODY);
      const env = { ...process.env, SENDENSE_NODE_TOKEN: 'a secret of the service' };
      await run('setpriv', [...AS_SERVICE, process.execPath, '--import', TYPESCRIPT, '--input-type=module', '-e', START, SUPERVISOR, root], { env });
      const found = await Promise.all(
        started.map(async (directory) => {
          const status = await supervisor.status(directory);
          if (status.state !== 'running' || status.identity === null) throw new Error(JSON.stringify(status));
          const { pid } = status.identity;
          expect(await readFile(`/proc/${pid}/environ`, 'utf8')).not.toContain('a secret of the service');
          const text = await readFile(`/proc/${pid}/status`, 'utf8');
          return { uid: /^Uid:\s+(\d+)/m.exec(text)?.[1], files: hasCapability(text, CAP_DAC_OVERRIDE), chown: hasCapability(text, CAP_CHOWN) };
        }),
      );
      const uid = String(NOBODY);
      expect(found).toEqual([
        { uid, files: false, chown: false },
        { uid, files: true, chown: false },
        { uid, files: true, chown: true },
        { uid, files: false, chown: false },
      ]);
    } finally {
      await Promise.all(started.map((directory) => supervisor.stop(directory, 0)));
      await rm(root, { recursive: true, force: true });
    }
  }, 60_000);

  it('are started unchanged when there is nothing to drop, and without any when there is no file capability to keep', () => {
    const status = (mask: string): string => `CapEff:\t0000000000000000\nCapAmb:\t${mask}\n`;
    expect(droppingCapabilities(status('0000000000000000'), 'none')).toEqual([]);
    expect(droppingCapabilities('', 'none')).toEqual([]);
    expect(droppingCapabilities(status('0000000000200000'), 'all')).toEqual([]);
    expect(droppingCapabilities(status('0000000000200000'), 'files')).toEqual(['setpriv', '--inh-caps=-all', '--ambient-caps=-all', '--']);
  });
});
