import { execFile } from 'node:child_process';
import { link, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, expect, jest } from '@jest/globals';
import { at, cannotKeep, FULL, INCREMENTAL, KeptRepository, NOBODY, NOW, PARENT } from '../../test/support/kept-repository.js';
import { requireCondition } from '../../test/support/require-tools.js';
import { IS_LONG } from '../../test/support/long-proof.js';

jest.setTimeout(120_000);

const run = promisify(execFile);
const DAY = 86_400_000;
const SECRET = 'not of this restore point';

const { describe, it } = requireCondition(cannotKeep() === null, cannotKeep() ?? '');

let kept: KeptRepository;

/** As the hub's account, which owns all files. @returns whether it succeeded */
async function asHub(...argv: readonly [string, ...string[]]): Promise<boolean> {
  const drop = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--inh-caps=-all', '--bounding-set=-all', '--'];
  return asRoot('setpriv', ...drop, ...argv);
}

async function asRoot(...[tool, ...rest]: readonly [string, ...string[]]): Promise<boolean> {
  return run(tool, rest).then(
    () => true,
    () => false,
  );
}

afterEach(() => kept.remove());

describe('the keeper', () => {
  it.each(IS_LONG ? (['ext4', 'xfs', 'btrfs'] as const) : (['ext4'] as const))(
    'on %s: neither root nor the hub can remove or change a locked restore point, until its lock ends',
    async (type) => {
      kept = await KeptRepository.create(type);
      const full = await kept.seal(FULL, 1);
      const incremental = await kept.seal(INCREMENTAL, 3, { parent: PARENT });
      await kept.round(at(0));
      expect([await kept.immutable(FULL), await kept.immutable(INCREMENTAL)]).toEqual(['all', 'all']);
      for (const path of [full, incremental]) {
        for (const file of await readdir(path)) {
          expect([file, await asRoot('rm', '-f', join(path, file)), await asHub('rm', '-f', join(path, file))]).toEqual([file, false, false]);
          expect(await asHub('chattr', '-i', join(path, file))).toBe(false);
        }
        expect(await asRoot('truncate', '-s', '0', join(path, 'disk-0.qcow2'))).toBe(false);
        expect(await asRoot('mv', join(path, 'disk-0.qcow2'), join(kept.path, 'gone'))).toBe(false);
        expect(await asRoot('ln', join(path, 'disk-0.qcow2'), join(kept.path, 'another-name'))).toBe(false);
      }
      // The next backup of the VM is not hindered.
      await kept.seal('vm-00000000/20270106T000000Z-incr-00000003', null);

      await kept.round(at(1.5));
      expect(await kept.immutable(FULL)).toBe('all');
      await kept.round(at(3));
      expect([await kept.immutable(FULL), await kept.immutable(INCREMENTAL)]).toEqual(['none', 'none']);
      expect(await asHub('rm', '-rf', full, incremental)).toBe(true);
      expect(kept.warnings).toEqual([]);
    },
  );

  it('unlocks nothing for a clock ten years ahead, one that was set back, or a state that was lost', async () => {
    kept = await KeptRepository.create('ext4');
    await kept.seal(FULL, 1);
    await kept.seal(INCREMENTAL, 3, { parent: PARENT });
    await kept.round(at(0));
    await kept.round({ ...at(0), wall_ms: NOW + 3650 * DAY, boot_ms: 60_000 });
    expect([await kept.immutable(FULL), await kept.immutable(INCREMENTAL)]).toEqual(['all', 'all']);
    expect(kept.warnings).toEqual([expect.stringContaining('the clock is more than a day ahead')]);
    // A restart counts as no more than the time since.
    await kept.round({ wall_ms: NOW + 3650 * DAY, boot_ms: 60_000, boot_id: 'another boot' });
    await kept.round({ ...at(-1), boot_ms: 10 * DAY });
    expect([await kept.immutable(FULL), await kept.immutable(INCREMENTAL)]).toEqual(['all', 'all']);
    // Without its state, what it has locked says until when: the full is needed for as long as the incremental.
    await rm(join(kept.state, 'locks.json'));
    await rm(join(kept.state, 'clock.json'));
    await kept.round(at(2));
    expect([await kept.immutable(FULL), await kept.immutable(INCREMENTAL)]).toEqual(['all', 'all']);
    await writeFile(join(kept.state, 'clock.json'), '{');
    await expect(kept.round(at(9))).rejects.toThrow('is damaged. All locks stay');
    expect(await kept.immutable(FULL)).toBe('all');
  });

  it('makes no lock shorter when the hub replaces a manifest before it is locked, or hides a locked restore point', async () => {
    kept = await KeptRepository.create('ext4');
    const full = await kept.seal(FULL, 1);
    await kept.round(at(0));
    await kept.seal(INCREMENTAL, 3, { parent: PARENT });
    const scanned = await readFile(join(full, 'manifest.json'), 'utf8');
    await kept.round(at(0));
    await expect(rm(join(kept.path, INCREMENTAL), { recursive: true, force: true })).rejects.toThrow();
    expect(await readFile(join(full, 'manifest.json'), 'utf8')).toBe(scanned);
    // The folder itself can be renamed, as a removal does first.
    await rename(full, full.replace('2027', '.partial-2027'));
    await kept.round(at(2));
    await rename(full.replace('2027', '.partial-2027'), full);
    expect(await kept.immutable(FULL)).toBe('all');
    await rename(full, full.replace('2027', '.partial-2027'));
    await kept.round(at(3));
    await rename(full.replace('2027', '.partial-2027'), full);
    expect(await kept.immutable(FULL)).toBe('none');
  });

  it('leaves partial restore points alone, and what is no file of a restore point', async () => {
    kept = await KeptRepository.create('ext4');
    const secret = join(kept.mount.path, 'secret');
    await writeFile(secret, SECRET);
    await kept.seal('vm-00000000/.partial-20270102T000000Z-full-00000004', 3);
    const linked = await kept.seal('vm-00000000/20270103T000000Z-full-00000005', 3);
    await rm(join(linked, 'disk-0.qcow2'));
    await symlink(secret, join(linked, 'disk-0.qcow2'));
    const twice = await kept.seal('vm-00000000/20270104T000000Z-full-00000006', 3);
    await link(secret, join(kept.mount.path, 'another name'));
    await rm(join(twice, 'disk-0.qcow2'));
    await link(secret, join(twice, 'disk-0.qcow2'));
    await symlink('/etc', join(kept.path, 'vm-11111111'));
    await kept.round(at(0));
    expect((await run('lsattr', ['--', secret])).stdout).not.toMatch(/^\S*i/);
    expect(await kept.immutable('vm-00000000/20270104T000000Z-full-00000006')).toBe('some');
    expect(kept.warnings).toEqual([expect.stringContaining('restore points could not be kept')]);
    for (const name of await readdir(join(kept.path, 'vm-00000000/.partial-20270102T000000Z-full-00000004'))) {
      expect(await asRoot('rm', join(kept.path, 'vm-00000000/.partial-20270102T000000Z-full-00000004', name))).toBe(true);
    }
    await run('chattr', ['-R', '-f', '-i', kept.path]).catch(() => undefined);
  });

  it('locks for the days of its settings, whatever the manifest says, and waits for the file system', async () => {
    kept = await KeptRepository.create('ext4');
    await kept.seal(FULL, null);
    const settings = { lockDays: 2, longestLockDays: 3650 };
    await kept.mount.unmount();
    await kept.round(at(0), settings);
    expect(kept.warnings).toEqual([expect.stringContaining('ENOENT')]);
    await kept.mount.mountAgain();
    await kept.round(at(0), settings);
    expect(await kept.immutable(FULL)).toBe('all');
    await kept.round(at(1.9), settings);
    expect(await kept.immutable(FULL)).toBe('all');
    await kept.round(at(2), settings);
    expect(await kept.immutable(FULL)).toBe('none');
  });
});
