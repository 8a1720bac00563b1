import { execFile } from 'node:child_process';
import { cp, mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import type { RestoreJobResponse } from '../../src/hub/restore/restore-jobs/model/restore-job.response.js';
import { BackupClient } from '../support/backup-client.js';
import { BareDomain, type BareDisk, requireInstant } from '../support/bare-domain.js';
import { HubSystem, until } from '../support/hub-system.js';
import { LibvirtSystem } from '../support/libvirt-system.js';
import { createTestDatabase } from '../support/postgres.js';
import { requireLibvirt } from '../support/require-tools.js';

jest.setTimeout(300_000);
const run = promisify(execFile);
const { describe, it } = requireLibvirt('qemu-nbd', 'nbdcopy', 'nbdkit', 'nbdinfo');

const DISKS: readonly BareDisk[] = [
  { target: 'vda', mib: 16 },
  { target: 'vdb', mib: 8 },
];

let system: LibvirtSystem;
let domains = 0;

beforeAll(async () => {
  system = await LibvirtSystem.create();
});

afterAll(async () => {
  await system.destroy();
});

/** A domain that runs and has a chain of a full and an incremental. */
async function chained(name: string, disks: readonly BareDisk[] = DISKS): Promise<{ readonly domain: BareDomain; readonly newest: BackupResponse }> {
  domains += 1;
  const domain = await BareDomain.create(system.host, name, `00000000-0000-4000-8000-${String(domains).padStart(12, '0')}`, disks);
  await system.client.registerVm(name, domain.uuid, undefined, 'libvirt');
  await domain.start();
  for (const { target } of disks) await domain.write(target, 1);
  await system.backUp(name, 'auto');
  await domain.write('vda', 3);
  const newest = await system.backUp(name, 'auto');
  expect(newest.backup_type).toBe('incremental');
  return { domain, newest };
}

function changeIdOf(backup: BackupResponse, target = 'vda'): string {
  return backup.disk_results.find(({ disk_key }) => disk_key === target)?.change_id ?? '';
}

interface Loss {
  readonly name: string;
  readonly reason: string;
  /** Of the words that the user reads. */
  readonly detail: RegExp;
  readonly lose: (domain: BareDomain, newest: BackupResponse) => Promise<void>;
}

const LOSSES: readonly Loss[] = [
  {
    name: 'the checkpoint was deleted by somebody else',
    reason: 'change_id_lost',
    detail: /record of changes|no longer exists/,
    lose: async (domain, newest) => {
      await system.host.virsh('checkpoint-delete', domain.name, changeIdOf(newest));
    },
  },
  {
    name: 'libvirt was made to forget the checkpoint',
    reason: 'checkpoint_lost',
    detail: /libvirt has forgotten the checkpoint/,
    lose: async (domain, newest) => {
      await domain.powerOff();
      await system.host.virsh('checkpoint-delete', domain.name, changeIdOf(newest), '--metadata');
      await domain.start();
    },
  },
  {
    name: 'the bitmap of a disk is gone',
    reason: 'change_id_lost',
    detail: /disk "vdb" is gone/,
    lose: async (domain, newest) => {
      await domain.powerOff();
      await run('qemu-img', ['bitmap', '--remove', domain.path('vdb'), changeIdOf(newest, 'vdb')]);
      await domain.start();
    },
  },
  {
    name: 'qemu was killed, so that bitmaps it had stored before are inconsistent',
    reason: 'change_id_broken',
    detail: /inconsistent, because the VM did not end cleanly/,
    lose: async (domain) => {
      // Stored once, and in use again when the qemu is killed.
      await domain.powerOff();
      await domain.start();
      await domain.write('vda', 5);
      await system.host.crash(domain.name);
      await domain.rereadPlain();
      await domain.start();
    },
  },
  {
    name: 'qemu was killed before it had ever stored the bitmaps',
    reason: 'change_id_lost',
    detail: /the VM did not end cleanly/,
    lose: async (domain) => {
      await system.host.crash(domain.name);
      await domain.rereadPlain();
      await domain.start();
    },
  },
  {
    name: 'the domain was redefined',
    reason: 'checkpoint_lost',
    detail: /the VM was redefined/,
    lose: async (domain) => {
      await domain.powerOff();
      await system.host.virsh('undefine', domain.name, '--checkpoints-metadata');
      await domain.define();
      await domain.start();
    },
  },
  {
    name: 'a disk was replaced by another file',
    reason: 'change_id_lost',
    detail: /"vdb".*replaced by another file/,
    lose: async (domain) => {
      await domain.powerOff();
      await domain.makeFiles({ target: 'vdb', mib: 8 });
      await domain.start();
      await domain.write('vdb', 4);
    },
  },
  {
    name: 'a disk was resized',
    reason: 'disk_resized',
    detail: /"vdb" was resized from 8388608 to 12582912 bytes/,
    lose: async (domain) => {
      await system.host.virsh('blockresize', domain.name, 'vdb', '12M');
      await domain.resizePlain('vdb', 12);
    },
  },
  {
    name: 'a disk was removed',
    reason: 'disk_removed',
    detail: /"vdb" was removed/,
    lose: async (domain) => {
      await domain.powerOff();
      domain.forgetDisk('vdb');
      await system.host.virsh('detach-disk', domain.name, 'vdb', '--config');
      await domain.start();
    },
  },
  {
    name: 'the domain goes on in the overlay of a snapshot that was made while it was off',
    reason: 'snapshot_changed',
    detail: /because of a snapshot/,
    lose: async (domain) => {
      await domain.powerOff();
      // By hand, because libvirt makes no snapshot of a domain that is off and has checkpoints.
      const overlay = `${domain.path('vda')}.overlay`;
      await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', domain.path('vda'), '-F', 'qcow2', overlay]);
      await system.host.define((await system.host.virsh('dumpxml', '--inactive', domain.name)).replace(domain.path('vda'), overlay));
      await domain.start();
    },
  },
];

describe('when the record of what has changed is lost', () => {
  it.each(LOSSES)('because $name: incremental is refused, and auto is a full, with the reason', async ({ name, reason, detail, lose }) => {
    const { domain, newest } = await chained(`vm${domains}`);
    await lose(domain, newest);
    const copies = await domain.instant();

    const refusal = await system.client.refused(domain.name, system.repositoryId, 'incremental');
    expect(refusal).toMatchObject({ status: 409, code: 'incremental_impossible', reason, detail: expect.stringMatching(detail) });

    const full = await system.backUp(domain.name, 'auto');
    expect({ name, type: full.backup_type, reason: full.full_reason, detail: full.full_reason_detail }).toEqual({
      name,
      type: 'full',
      reason,
      detail: expect.stringMatching(detail),
    });
    await requireInstant(full.disk_results, copies);

    // The chain goes on from there.
    await domain.write('vda', 9);
    const after = await domain.instant();
    const incremental = await system.backUp(domain.name, 'incremental');
    await requireInstant(incremental.disk_results, after);
    await system.becomesQuietAt(domain);
    await system.host.virsh('destroy', domain.name);
  });

  it('because a snapshot was reverted: incremental is refused, and auto is a full, with the reason', async () => {
    const { domain } = await chained('reverted');
    const overlay = `${domain.path('vda')}.overlay`;
    await system.host.virsh(
      'snapshot-create-as',
      'reverted',
      '--disk-only',
      '--no-metadata',
      '--diskspec',
      `vda,file=${overlay}`,
      '--diskspec',
      'vdb,snapshot=no',
    );
    const before = await domain.instant();
    await domain.write('vda', 6);
    // The chain goes on over a snapshot.
    const during = await domain.instant();
    const incremental = await system.backUp('reverted', 'incremental');
    await requireInstant(incremental.disk_results, during);

    await domain.powerOff();
    await domain.define();
    await domain.start();
    expect(await system.client.refused('reverted', system.repositoryId, 'incremental')).toMatchObject({ reason: 'snapshot_changed' });
    const full = await system.backUp('reverted', 'auto');
    expect([full.backup_type, full.full_reason]).toEqual(['full', 'snapshot_changed']);
    await requireInstant(full.disk_results, before);
    await domain.revertPlain(before);
    await domain.write('vda', 7);
    const after = await domain.instant();
    await requireInstant((await system.backUp('reverted', 'incremental')).disk_results, after);
    await system.becomesQuietAt(domain);
  });

  it('because two disks have changed places: each has a sound record, of the other', async () => {
    const { domain } = await chained('swapped', [
      { target: 'vda', mib: 8 },
      { target: 'vdb', mib: 8 },
    ]);
    await domain.powerOff();
    const xml = await system.host.virsh('dumpxml', '--inactive', 'swapped');
    const places: Readonly<Record<string, string>> = { [domain.path('vda')]: domain.path('vdb'), [domain.path('vdb')]: domain.path('vda') };
    await system.host.define(xml.replace(/(?<=<source file=')[^']+/g, (path) => places[path] ?? path));
    const refusal = {
      status: 409,
      reason: 'disk_replaced',
      detail: expect.stringMatching(/Disk "vda" was .*vda.qcow2 at the last backup and is .*vdb.qcow2 now/),
    };
    expect(await system.client.refused('swapped', system.repositoryId, 'incremental')).toMatchObject(refusal);
    await domain.start();
    expect(await system.client.refused('swapped', system.repositoryId, 'incremental')).toMatchObject(refusal);
    const full = await system.backUp('swapped', 'auto');
    expect([full.backup_type, full.full_reason]).toEqual(['full', 'disk_replaced']);
    await domain.powerOff();
    for (const [target, place] of [
      ['vda', 'vdb'],
      ['vdb', 'vda'],
    ] as const) {
      await run('qemu-img', ['compare', '-f', 'qcow2', '-F', 'qcow2', domain.path(place), system.fileOf(full, target)]);
    }
    await system.becomesQuietAt(domain);
  });
});

describe('a disk that was hot-added', () => {
  it('is a full of itself inside the incremental; every restore point restores as it was, by hub and by repository alone', async () => {
    // Targets are numbered in their order, so the new one moves vdc on.
    const { domain, newest } = await chained('grown', [
      { target: 'vda', mib: 16 },
      { target: 'vdc', mib: 8 },
    ]);
    const points = [{ backup: newest, instant: await domain.instant() }];
    await domain.addDisk({ target: 'vdb', mib: 8 });
    await domain.attach('vdb');
    await domain.write('vdb', 1);
    await domain.write('vda', 7);
    const next = async (): Promise<void> => {
      const instant = await domain.instant();
      const backup = await system.backUp('grown', 'incremental');
      await requireInstant(backup.disk_results, instant);
      points.push({ backup, instant });
    };
    await next();
    await domain.write('vdb', 2);
    await domain.write('vdc', 5);
    await next();
    // Also while it is off.
    await domain.powerOff();
    await domain.write('vdb', 3);
    await next();

    expect(points.map(({ backup }) => [backup.backup_type, backup.disk_results.map(({ disk_key, full_reason }) => [disk_key, full_reason])])).toEqual([
      ['incremental', ['vda', 'vdc'].map((key) => [key, null])],
      [
        'incremental',
        [
          ['vda', null],
          ['vdb', 'disk_added'],
          ['vdc', null],
        ],
      ],
      ...[1, 2].map(() => ['incremental', ['vda', 'vdb', 'vdc'].map((key) => [key, null])]),
    ]);
    expect(new Set(points.map(({ backup }) => backup.chain_id)).size).toBe(1);
    await system.becomesQuietAt(domain);
    // A verification reads all that a restore point stands on.
    for (const { backup } of points.slice(-1)) await requireVerified(backup);
    for (const { backup, instant } of points) {
      await requireRestorable(backup, instant);
    }
    await requireImportable(points.map(({ backup }) => backup));
  });

  it('makes the whole run a full where its changes cannot be tracked', async () => {
    const { domain } = await chained('grown raw');
    await domain.addDisk({ target: 'vdc', mib: 8, format: 'raw' });
    await domain.attach('vdc');
    await domain.write('vdc', 1);
    const instant = await domain.instant();
    expect(await system.client.refused('grown raw', system.repositoryId, 'incremental')).toMatchObject({ status: 409, reason: 'disk_added' });
    const full = await system.backUp('grown raw', 'auto');
    expect([full.backup_type, full.full_reason, full.disk_results.map(({ full_reason }) => full_reason)]).toEqual([
      'full',
      'disk_added',
      ['disk_added', 'disk_added', 'disk_added'],
    ]);
    await requireInstant(full.disk_results, instant);
    await system.becomesQuietAt(domain);
  });
});

async function requireVerified({ backup_id }: BackupResponse): Promise<void> {
  await system.hub.api('POST', `/backups/${backup_id}/verify`);
  const verification = await until('the verdict', async () => {
    const { body } = await system.hub.api<{ verifications: { status: string; findings: object[] }[] }>('GET', `/backups/${backup_id}/verifications`);
    return body.verifications.find(({ status }) => status !== 'running');
  });
  expect(verification).toMatchObject({ status: 'passed', findings: [] });
}

/** Every disk, by the hub's own restore and by the program that needs no hub. */
async function requireRestorable(backup: BackupResponse, instant: ReadonlyMap<string, string>): Promise<void> {
  const byHub = await mkdtemp(join(system.hub.directory, 'by-hub-'));
  const alone = await mkdtemp(join(system.hub.directory, 'alone-'));
  const { body } = await system.hub.api<RestoreJobResponse>('POST', '/restore/disks', { backup_id: backup.backup_id, target_path: byHub, format: 'raw' });
  const cli = await run(process.execPath, [
    join(import.meta.dirname, '../../dist/src/cli/main.cli.js'),
    ...['restore', '--repository', system.hub.repositoryPath, 'disks', '--point', backup.backup_id, '--target', alone],
  ]);
  expect(cli.stderr).toBe('');
  await until('the restore', async () => (await system.hub.api<RestoreJobResponse>('GET', `/restore/jobs/${body.job_id}`)).body.cleaned_up);
  for (const { disk_id, disk_key } of backup.disk_results) {
    for (const folder of [byHub, alone]) {
      await run('cmp', [instant.get(disk_key) ?? '', join(folder, `${backup.vm_name}-disk${disk_id}.raw`)]);
    }
  }
}

/** By a hub that knows nothing of it. */
async function requireImportable(points: readonly BackupResponse[]): Promise<void> {
  const database = await createTestDatabase({ migrated: false });
  const hub = await HubSystem.create({ databaseUrl: database.databaseUrl });
  try {
    await hub.start();
    const copy = join(hub.directory, 'imported');
    await cp(system.hub.repositoryPath, copy, { recursive: true, preserveTimestamps: true });
    const { body } = await hub.api<{ imported: string[]; skipped: object[] }>('POST', '/repositories/import', { path: copy, name: 'imported' });
    expect(body).toMatchObject({ imported: expect.arrayContaining(points.map(({ backup_id }) => backup_id)), skipped: [] });
    const client = new BackupClient(hub);
    for (const { backup_id, disk_results } of points) {
      const known = await until('the restore point to be listed', async () => {
        const found = await client.get(backup_id);
        return found.status === 'completed' && found;
      });
      expect(known.disk_results.map(({ disk_key, full_reason }) => [disk_key, full_reason])).toEqual(
        disk_results.map(({ disk_key, full_reason }) => [disk_key, full_reason]),
      );
    }
  } finally {
    await hub.destroy();
    await database.drop();
  }
}
