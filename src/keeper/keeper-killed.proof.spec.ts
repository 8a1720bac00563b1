import { execFile } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, expect, jest } from '@jest/globals';
import { build } from 'esbuild';
import { at, cannotKeep, FULL, INCREMENTAL, KeptRepository, NOW, PARENT } from '../../test/support/kept-repository.js';
import { requireCondition } from '../../test/support/require-tools.js';

jest.setTimeout(600_000);

const run = promisify(execFile);
const DAY = 86_400_000;

const { describe, it } = requireCondition(cannotKeep() === null, cannotKeep() ?? '');

let kept: KeptRepository;

afterEach(() => kept.remove());

describe('the keeper', () => {
  it('is right again after it was killed before and after each of its calls', async () => {
    kept = await KeptRepository.create('ext4');
    await kept.seal(FULL, 1);
    await kept.seal(INCREMENTAL, 3, { parent: PARENT });
    const program = join(import.meta.dirname, `../../.setup/keeper-round-${process.pid}.mjs`);
    await build({
      entryPoints: [join(import.meta.dirname, '../../test/support/keeper-round.program.ts')],
      outfile: program,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node24',
      logLevel: 'error',
      banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    });
    const tools = join(kept.directory, 'tools');
    await mkdir(tools);
    const chattr = (await run('which', ['chattr'])).stdout.trim();
    await writeFile(
      join(tools, 'chattr'),
      `#!/bin/sh
n=$(($(cat ${tools}/calls) + 1)); echo $n >${tools}/calls
[ "$(cat ${tools}/kill)" != "$n.before" ] || { kill -9 $PPID; exit 1; }
${chattr} "$@"
[ "$(cat ${tools}/kill)" != "$n.after" ] || kill -9 $PPID
`,
      { mode: 0o755 },
    );
    const killed = async (kill: string, days: number): Promise<void> => {
      await writeFile(join(tools, 'calls'), '0');
      await writeFile(join(tools, 'kill'), kill);
      const args = [program, kept.path, kept.state, `${NOW + days * DAY}`, `${days * DAY}`];
      const keeper = run(process.execPath, args, { env: { PATH: `${tools}:${process.env['PATH'] ?? ''}` } });
      await expect(keeper).rejects.toMatchObject({ signal: 'SIGKILL' });
    };
    try {
      for (const call of [1, 2, 3, 4]) {
        for (const moment of ['before', 'after']) {
          await rm(join(kept.state, 'clock.json'), { force: true });
          await killed(`${call}.${moment}`, 0);
          await kept.round(at(0));
          expect([call, moment, await kept.immutable(FULL), await kept.immutable(INCREMENTAL)]).toEqual([call, moment, 'all', 'all']);
          await killed(`${call}.${moment}`, 3);
          await kept.round(at(3));
          expect([call, moment, await kept.immutable(FULL), await kept.immutable(INCREMENTAL)]).toEqual([call, moment, 'none', 'none']);
          expect(kept.warnings).toEqual([]);
          // Its manifests are older than the end of their locks again.
          await rm(join(kept.state, 'locks.json'), { force: true });
        }
      }
    } finally {
      await rm(program, { force: true });
    }
  });
});
