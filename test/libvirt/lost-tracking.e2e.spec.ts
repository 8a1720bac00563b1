import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/backups/model/backup.response.js';
import { BareDomain, type BareDisk, requireInstant } from '../support/bare-domain.js';
import { LibvirtSystem } from '../support/libvirt-system.js';
import { casesOf } from '../support/long-proof.js';
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
async function chained(name: string): Promise<{ readonly domain: BareDomain; readonly newest: BackupResponse }> {
  domains += 1;
  const domain = await BareDomain.create(system.host, name, `00000000-0000-4000-8000-${String(domains).padStart(12, '0')}`, DISKS);
  await system.client.registerVm(name, domain.uuid, undefined, 'libvirt');
  await domain.start();
  await domain.write('vda', 1);
  await domain.write('vdb', 2);
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
  readonly onlyInLongProof?: boolean;
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
    onlyInLongProof: true,
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
    onlyInLongProof: true,
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
    onlyInLongProof: true,
    reason: 'change_id_lost',
    detail: /the VM did not end cleanly/,
    lose: async (domain) => {
      await system.host.crash(domain.name);
      await domain.rereadPlain();
      await domain.start();
    },
  },
  {
    name: 'the domain was defined anew',
    reason: 'checkpoint_lost',
    detail: /the VM was defined anew/,
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
    onlyInLongProof: true,
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
  it.each(casesOf(LOSSES))('because $name: incremental is refused, and auto is a full, with the reason', async ({ name, reason, detail, lose }) => {
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

  it('of nothing: a disk that was hot-added gets a full of itself, and the chain of the others goes on or starts anew with the reason', async () => {
    const { domain } = await chained('grown');
    await domain.addDisk({ target: 'vdc', mib: 8 });
    await domain.attach('vdc');
    await domain.write('vdc', 1);
    await domain.write('vda', 7);
    const copies = await domain.instant();
    const backup = await system.backUp('grown', 'auto');
    expect([backup.backup_type, backup.full_reason]).toEqual(['full', 'disk_added']);
    await requireInstant(backup.disk_results, copies);
    await domain.write('vdc', 2);
    const after = await domain.instant();
    await requireInstant((await system.backUp('grown', 'incremental')).disk_results, after);
  });
});
