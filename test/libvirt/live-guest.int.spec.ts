import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import { NodeConfig } from '../../src/node/node.config.js';
import { hypervisorCheck } from '../../src/cli/validate/check-node/hypervisor.check.js';
import { type CheckResult, runCheck } from '../../src/cli/validate/model/check.plan.js';
import { ServiceView } from '../../src/cli/validate/model/service-view.access.js';
import { until } from '../support/hub-system.js';
import { LibvirtHost } from '../support/libvirt-host.js';
import { checksummedLoad, contentOf, type GuestDisk, LiveGuest, readSequence, sequenceWriter } from '../support/live-guest.js';
import { requireLibvirt } from '../support/require-tools.js';
import { inLongProof } from '../support/long-proof.js';

jest.setTimeout(300_000);
const run = promisify(execFile);
const { describe, it } = requireLibvirt('mkfs.ext4', 'debugfs', 'e2fsck', 'qemu-ga');

let host: LibvirtHost;

beforeAll(async () => {
  host = await LibvirtHost.create();
});

afterAll(async () => {
  await host.destroy();
  expect({ processes: await host.processes(), directory: existsSync(host.directory) }).toEqual({ processes: [], directory: false });
});

describe('guests that the proofs stand on', () => {
  inLongProof(() => {
    it('write sequences to two disks, and go on while libvirtd is killed', async () => {
      const disks: readonly [GuestDisk, GuestDisk] = [
        { target: 'vda', mib: 8, dataMib: 1 },
        { target: 'sda', mib: 8 },
      ];
      const guest = await LiveGuest.create(host, { name: 'sequence', disks, script: sequenceWriter(disks[0], disks[1]) });
      if (guest === null) return;
      await guest.boot();
      await guest.tells('sequence', 3);
      await host.restart('SIGKILL');
      expect(await host.domains()).toEqual(['sequence']);
      const seen = await guest.tells('sequence', 3);
      await guest.powerOff();
      const a = await readSequence(guest.path('vda'), disks[0]);
      const b = await readSequence(guest.path('sda'), disks[1]);
      expect(a.first).toBeGreaterThanOrEqual(seen);
      expect([0, 1]).toContain(a.first - a.last);
      expect([0, 1]).toContain(a.first - b.first);
    });
  });

  inLongProof(() => {
    it('fill a file system that tells itself what it must hold, also after a crash; and a fault is seen', async () => {
      const disk: GuestDisk = { target: 'vda', mib: 64, ext4: true };
      const guest = await LiveGuest.create(host, { name: 'load', disks: [disk], script: checksummedLoad(disk) });
      if (guest === null) return;
      await guest.boot();
      const seen = await guest.tells('written', 12);
      await host.crash('load');
      const raw = `${guest.path('vda')}.copy`;
      await run('qemu-img', ['convert', '-O', 'raw', guest.path('vda'), raw]);
      const content = await contentOf(raw);
      expect(content.faults).toEqual([]);
      expect(content.written).toBeGreaterThanOrEqual(seen);

      const { stdout } = await run('debugfs', ['-R', 'ls -p /files', raw]);
      // The last by name: the guest deletes the first, and may just have been about to.
      const name =
        [...stdout.matchAll(/\/([0-9a-f]{64})\//g)]
          .map(([, found]) => found ?? '')
          .sort()
          .at(-1) ?? '';
      await run('debugfs', ['-w', '-R', `rm /files/${name}`, raw]);
      expect((await contentOf(raw)).faults).toContain(`file ${name} is missing`);
    });
  });

  inLongProof(() => {
    it('have an agent that freezes and thaws their file systems', async () => {
      const disk: GuestDisk = { target: 'vda', mib: 32, ext4: true };
      const guest = await LiveGuest.create(host, { name: 'agent', disks: [disk], script: checksummedLoad(disk), agent: true });
      if (guest === null) return;
      await guest.boot();
      await until('the agent to answer', () => host.virsh('qemu-agent-command', 'agent', '{"execute":"guest-ping"}'));
      await guest.tells('written', 1);
      const status = (): Promise<string> => host.virsh('qemu-agent-command', 'agent', '{"execute":"guest-fsfreeze-status"}');
      await host.virsh('domfsfreeze', 'agent');
      expect(await status()).toContain('frozen');
      await host.virsh('domfsthaw', 'agent');
      expect(await status()).toContain('thawed');
      await guest.tells('written', 2);
      await host.virsh('shutdown', 'agent', '--mode', 'agent');
      await until('the guest to power off', async () => (await host.virsh('domstate', 'agent')).includes('shut off'));
    });
  });
});

describe('the check of rights at the hypervisor', () => {
  it('tells a connection that may only look from one that may change things', async () => {
    const view = await ServiceView.of(host.directory, 'node');
    const at = (libvirtUri: string): Promise<CheckResult> => runCheck(hypervisorCheck(Object.assign(new NodeConfig(), { libvirtUri }), view));
    expect(await at(host.uri)).toMatchObject({ status: 'pass', detail: expect.stringContaining('with permission to change them (libvirt') });
    // As who is not in the group of libvirt has it: this socket takes any connection, and refuses every change.
    expect(await at(`${host.uri}-ro`)).toMatchObject({
      status: 'fail',
      detail: `the node may read but not change ${host.uri}-ro`,
      remedy: expect.stringContaining('usermod -aG libvirt'),
    });
  });
});
