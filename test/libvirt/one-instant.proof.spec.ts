import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import { LibvirtSystem } from '../support/libvirt-system.js';
import { type GuestDisk, type LiveGuest, readSequence, sequenceWriter } from '../support/live-guest.js';
import { requireLibvirt } from '../support/require-tools.js';

jest.setTimeout(570_000);
const { describe, it } = requireLibvirt('qemu-nbd', 'nbdcopy', 'nbdkit', 'nbdinfo');

const BACKUPS = 20;
const A: GuestDisk = { target: 'vda', mib: 32, dataMib: 8 };
const B: GuestDisk = { target: 'vdb', mib: 32, dataMib: 8 };

/** What the two disks hold of the guest's sequence, at their first and at their last sector. */
interface Seen {
  readonly a: { readonly first: number; readonly last: number };
  readonly b: { readonly first: number; readonly last: number };
}

let system: LibvirtSystem;
let guest: LiveGuest | null;

beforeAll(async () => {
  system = await LibvirtSystem.create();
  guest = await system.addGuest({ name: 'writer', disks: [A, B], script: sequenceWriter(A, B) });
});

afterAll(async () => {
  await system.destroy();
});

/** Whether both disks show the same instant: B <= A <= B + 1 everywhere, and on each disk the last sector follows the first. */
function isOneInstant({ a, b }: Seen): boolean {
  const follows = (earlier: number, later: number): boolean => later <= earlier && earlier <= later + 1;
  return follows(a.first, a.last) && follows(a.last, b.first) && follows(b.first, b.last) && follows(a.first, b.last);
}

describe('a guest that writes its sequence to disk A, then to disk B', () => {
  it(`is backed up at one instant across both disks, ${BACKUPS} times`, async () => {
    if (guest === null) return;
    await guest.tells('sequence', 2);
    const backups: BackupResponse[] = [];
    const told: number[] = [];
    for (let count = 0; count < BACKUPS; count++) {
      told.push(await guest.told('sequence'));
      backups.push(await system.backUp('writer', count === 0 ? 'full' : 'incremental'));
      await guest.tells('sequence', 1);
    }
    expect(new Set(backups.map(({ backup_type }) => backup_type).slice(1))).toEqual(new Set(['incremental']));
    const seen: Seen[] = [];
    for (const backup of backups) seen.push({ a: await readSequence(system.fileOf(backup, 'vda'), A), b: await readSequence(system.fileOf(backup, 'vdb'), B) });
    expect(seen.filter((each) => !isOneInstant(each))).toEqual([]);
    // Each is an instant of its own, after all that the guest had told before it was asked for.
    expect(seen.filter(({ b }, index) => b.last < (told[index] ?? 0))).toEqual([]);
    await system.becomesQuiet(guest);
  });

  it('would not be at one instant with a snapshot per disk: the test can fail', async () => {
    if (guest === null) return;
    const together = await snapshot([A, B]);
    expect(isOneInstant({ a: await together.read(A), b: await together.read(B) })).toBe(true);
    await together.release();

    const [first, second] = [await snapshotAndRead(A), await snapshotAndRead(B)];
    expect(isOneInstant({ a: first, b: second })).toBe(false);
    // In the other order as well.
    const [third, fourth] = [await snapshotAndRead(B), await snapshotAndRead(A)];
    expect(isOneInstant({ a: fourth, b: third })).toBe(false);
    await system.becomesQuiet(guest);
  });
});

/** What libvirt shows of these disks from one instant on. */
async function snapshot(disks: readonly GuestDisk[]): Promise<{ read: (disk: GuestDisk) => ReturnType<typeof readSequence>; release: () => Promise<void> }> {
  const { host } = system;
  const socket = join(host.directory, 'control.sock');
  const entries = [A, B].map((disk) =>
    disks.includes(disk)
      ? `<disk name='${disk.target}' backup='yes' type='file'><scratch file='${host.directory}/control-${disk.target}'/></disk>`
      : `<disk name='${disk.target}' backup='no'/>`,
  );
  const xml = `<domainbackup mode='pull'><server transport='unix' socket='${socket}'/><disks>${entries.join('')}</disks></domainbackup>`;
  await host.virshWith(['backup-begin', 'writer'], xml);
  return {
    read: (disk) => readSequence(`nbd+unix:///${disk.target}?socket=${socket}`, disk),
    release: async () => {
      await host.virsh('domjobabort', 'writer');
    },
  };
}

/** A product that takes its disks in turn is busy with the first while the guest goes on. */
async function snapshotAndRead(disk: GuestDisk): ReturnType<typeof readSequence> {
  const taken = await snapshot([disk]);
  try {
    await guest?.tells('sequence', 3);
    return await taken.read(disk);
  } finally {
    await taken.release();
  }
}
