import { chmod, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import { type BareDisk, BareDomain, requireInstant } from '../support/bare-domain.js';
import { until } from '../support/hub-system.js';
import { LibvirtSystem } from '../support/libvirt-system.js';
import { checksummedLoad, type GuestDisk, type LiveGuest } from '../support/live-guest.js';
import { requireLibvirt } from '../support/require-tools.js';
import { mountSmallFileSystem, type SmallFileSystem } from '../support/small-file-system.js';

jest.setTimeout(300_000);
const { describe, it } = requireLibvirt('qemu-nbd', 'nbdcopy', 'nbdkit', 'nbdinfo', 'mkfs.ext4', 'qemu-ga');

const MIB = 1024 * 1024;
const SLOW = 256 * 1024;
/** The reserve of the scratch directory is 64 MiB of it. */
const SCRATCH_MIB = 128;
const DISK: GuestDisk = { target: 'vda', mib: 32, ext4: true };

let system: LibvirtSystem;
let scratch: SmallFileSystem | null;
let domains = 0;

beforeAll(async () => {
  system = await LibvirtSystem.create();
  scratch = await mountSmallFileSystem(join(system.host.directory, 'scratch'), SCRATCH_MIB);
  // Only a libvirtd that is started afterwards sees the new mount.
  await system.host.restart();
  await restart({});
});

afterAll(async () => {
  await system.hub.destroy();
  await scratch?.remove();
  await system.destroy();
});

/** The scratch space on a file system of its own, and further settings of the node. */
async function restart(env: Readonly<Record<string, string>>): Promise<void> {
  process.kill(await system.hub.nodePid(), 'SIGTERM');
  await system.hub.kill('SIGTERM');
  await system.hub.start({
    PATH: system.copies.path,
    ...(scratch === null ? {} : { SENDENSE_LOCAL_NODE_LIBVIRT_SCRATCH_DIRECTORY: scratch.path }),
    ...env,
  });
}

async function newDomain(name: string, ...disks: readonly BareDisk[]): Promise<BareDomain> {
  domains += 1;
  const domain = await BareDomain.create(system.host, name, `00000000-0000-4000-8000-${String(domains).padStart(12, '0')}`, disks);
  await system.client.registerDomain(name, domain.uuid);
  await domain.start();
  return domain;
}

async function started(vm_name: string, backup_type: string, options: object = {}): Promise<string> {
  const { status, body } = await system.hub.api<BackupResponse>('POST', '/backups', { vm_name, repository_id: system.repositoryId, backup_type, ...options });
  expect([status, body]).toEqual([202, expect.objectContaining({ vm_name })]);
  return body.backup_id;
}

async function copying(): Promise<void> {
  await until('the copy to run', async () => (await system.hub.toolProcesses()).some((name) => name.startsWith('nbdcopy')));
}

describe('scratch space that runs out', () => {
  it('fails the backup, and the guest goes on', async () => {
    if (scratch === null) return;
    const domain = await newDomain('filling', { target: 'vda', mib: 256 });
    await domain.write('vda', 0, 250);
    await system.copies.limit(SLOW);
    const backupId = await started('filling', 'full');
    await copying();
    for (let step = 0; step < 8; step++) await domain.write('vda', step * 12, 12);
    const backup = await system.client.atRest(backupId);
    expect([backup.status, backup.error?.code]).toEqual(['failed', 'scratch_full']);
    expect((await system.host.virsh('domstate', 'filling')).trim()).toBe('running');
    await domain.write('vda', 100, 4);
    await system.copies.limit(null);
    const instant = await domain.instant();
    await requireInstant((await system.backUp('filling', 'auto')).disk_results, instant);
    await system.becomesQuietAt(domain);
    await domain.powerOff();
  });

  it('to the last byte, because nobody could look in time, holds the guest only until somebody can: no write fails', async () => {
    if (scratch === null) return;
    const disk: GuestDisk = { target: 'vda', mib: 256, dataMib: 250 };
    const guest = await system.addGuest({ name: 'fast', disks: [disk], script: rewriteAll(disk) });
    if (guest === null) return;
    await guest.tells('written', 1);
    await system.copies.limit(SLOW);
    const backupId = await started('fast', 'full');
    await copying();
    const node = await system.hub.nodePid();
    process.kill(node, 'SIGSTOP');
    try {
      await until('qemu to stop the guest', async () => (await system.host.virsh('domstate', '--reason', 'fast')).includes('paused (I/O error)'));
    } finally {
      process.kill(node, 'SIGCONT');
    }
    await system.copies.limit(null);
    const backup = await system.client.atRest(backupId);
    expect([backup.status, backup.error?.code]).toEqual(['failed', 'scratch_full']);
    await guest.tells('written', 2);
    expect(await guest.console()).not.toContain('error');
    // What writes so much has to be backed up while it is off.
    await guest.powerOff();
    const next = await system.backUp('fast', 'auto');
    await system.requireSameContent(next, guest);
    await system.becomesQuiet(guest);
  });
});

/** A guest that overwrites its disk, all over again and again, past its own cache. */
function rewriteAll(disk: GuestDisk): string {
  return `n=0
dd if=/dev/urandom of=/tmp/pattern bs=4M count=1 2>/dev/null
while :; do
  k=0
  while [ $k -lt ${Math.floor((disk.dataMib ?? 0) / 4)} ]; do
    dd if=/tmp/pattern of=/dev/${disk.target} bs=4M seek=$k oflag=direct conv=notrunc 2>/tmp/said || { cat /tmp/said; echo error; }
    k=$((k+1))
  done
  n=$((n+1))
  echo written $n
done
`;
}

describe('a backup', () => {
  it('does not kill the guest by what others ask about its disks at the moment when it begins', async () => {
    const domain = await newDomain('asked', { target: 'vda', mib: 8 }, { target: 'vdb', mib: 8 });
    await system.backUp('asked', 'full');
    await system.host.virshWith(['checkpoint-create', 'asked'], '<domaincheckpoint><name>watched</name></domaincheckpoint>');
    const pid = await system.host.qemuPid('asked');
    let over = false;
    const ask = async (): Promise<void> => {
      while (!over) {
        const questions = Array.from({ length: 50 }, () => 'checkpoint-dumpxml asked watched --size --no-domain; domstats --raw --block asked');
        await system.host.virsh(questions.join('; '));
      }
    };
    const asking = [ask(), ask()];
    try {
      for (let count = 0; count < 20; count++) await system.backUp('asked', 'incremental');
    } finally {
      over = true;
      await Promise.all(asking);
    }
    expect(await system.host.qemuPid('asked')).toBe(pid);
    await system.host.virsh('checkpoint-delete', 'asked', 'watched');
    await system.becomesQuietAt(domain);
    await domain.powerOff();
  });

  it('reads no faster than its bandwidth limit allows', async () => {
    const domain = await newDomain('limited', { target: 'vda', mib: 16 }, { target: 'vdb', mib: 16 });
    await domain.write('vda', 0, 6);
    await domain.write('vdb', 0, 6);
    const instant = await domain.instant();
    const begun = performance.now();
    const backup = await system.client.atRest(await started('limited', 'full', { bandwidth_limit_bps: 3 * MIB }));
    expect([backup.status, backup.error]).toEqual(['completed', null]);
    // 12 MiB of both disks together; the first second's worth may come at once.
    expect(performance.now() - begun).toBeGreaterThan(2_500);
    await requireInstant(backup.disk_results, instant);
    await domain.powerOff();
  });

  it('goes on with the chain of a VM that was renamed while it was off', async () => {
    const domain = await newDomain('before', { target: 'vda', mib: 16 });
    await domain.write('vda', 1);
    await system.backUp('before', 'full');
    await domain.powerOff();
    await system.host.virsh('domrename', 'before', 'after');
    await domain.write('vda', 2);
    const instant = await domain.instant();
    await requireInstant((await system.backUp('before', 'incremental')).disk_results, instant);
    await domain.start();
    await domain.write('vda', 3);
    const later = await domain.instant();
    await requireInstant((await system.backUp('before', 'incremental')).disk_results, later);
    await domain.powerOff();
  });
});

describe('quiescing', () => {
  let guest: LiveGuest | null;

  beforeAll(async () => {
    guest = await system.addGuest({ name: 'agent', disks: [DISK], script: checksummedLoad(DISK), agent: true });
    if (guest === null) return;
    await until('the agent to answer', () => system.host.virsh('qemu-agent-command', 'agent', '{"execute":"guest-ping"}'));
    // Its file system is mounted.
    await guest.tells('written', 1);
    const agentless = await newDomain('agentless', { target: 'vda', mib: 8 });
    await agentless.powerOff();
    await agentless.define({ devices: '<disk type="file" device="cdrom"><target dev="sda" bus="sata"/><readonly/></disk>' });
    await agentless.start();
  });

  async function isFrozen(): Promise<boolean> {
    return (await system.host.virsh('qemu-agent-command', 'agent', '{"execute":"guest-fsfreeze-status"}')).includes('frozen');
  }

  it('freezes the file systems at the instant where it is required, and thaws them', async () => {
    if (guest === null) return;
    const backupId = await started('agent', 'full', { quiesce: 'require' });
    const quiesce = { outcome: 'quiesced', detail: expect.stringMatching(/^1 file system/) };
    expect(await system.client.atRest(backupId)).toMatchObject({ status: 'completed', quiesce, left_out_disks: [] });
    expect(await isFrozen()).toBe(false);
    await guest.tells('written', 2);
  });

  it('is not had where there is no agent: said where it was tried, refused where it was required', async () => {
    const tried = await started('agentless', 'auto', { quiesce: 'try' });
    expect(await system.client.atRest(tried)).toMatchObject({
      status: 'completed',
      quiesce: { outcome: 'not_quiesced' },
      left_out_disks: [{ disk_key: 'sda', reason: 'cdrom', detail: 'It is a CD-ROM drive.' }],
    });
    const required = await system.client.atRest(await started('agentless', 'auto', { quiesce: 'require' }));
    expect([required.status, required.error?.code]).toEqual(['failed', 'quiesce_failed']);
    const none = await started('agentless', 'auto', { quiesce: 'none' });
    expect(await system.client.atRest(none)).toMatchObject({ status: 'completed', quiesce: null });
  });

  it('is undone when the node is killed while the file systems are frozen', async () => {
    if (guest === null) return;
    const door = join(system.hub.directory, 'door');
    await writeFile(door, '');
    const tool = join(system.hub.directory, 'tools/virsh');
    await writeFile(
      tool,
      `#!/bin/sh\ncase "$*" in *backup-begin*) : >'${door}-reached'; while [ -e '${door}' ]; do sleep 0.05; done ;; esac\nexec /usr/bin/virsh "$@"\n`,
    );
    await chmod(tool, 0o755);
    try {
      const backupId = await started('agent', 'incremental', { quiesce: 'require' });
      await until('the backup to be about to begin', () => rm(`${door}-reached`).then(() => true));
      expect(await isFrozen()).toBe(true);
      process.kill(await system.hub.nodePid(), 'SIGKILL');
      // A restarted node thaws, whatever it then does with the backup, and resumes nothing that the killed one was about to do.
      await until('the file systems to be thawed', async () => !(await isFrozen()));
      await rm(door);
      const backup = await system.client.atRest(backupId);
      expect(['completed', 'failed']).toContain(backup.status);
    } finally {
      await rm(door, { force: true });
      await rm(tool);
    }
    await guest.tells('written', 2);
    await system.becomesQuiet(guest);
    expect((await system.backUp('agent', 'auto')).status).toBe('completed');
    await system.becomesQuiet(guest);
    expect(await isFrozen()).toBe(false);
  });
});
