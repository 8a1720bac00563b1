import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { until } from '../../../test/support/hub-system.js';
import { NodeConfig } from '../node.config.js';
import { LibvirtDomains } from '../libvirt/libvirt-domains.js';
import { NbdInfo } from '../../lib/nbd/nbd-info.js';
import type { NodeStartVmRestore } from '../../contract/vm-restore.js';
import { ShellProcessSupervisor } from '../../lib/process/shell-process-supervisor.js';
import { GuestDisks } from '../guest-disks/guest-disks.service.js';
import { ActiveJobs } from '../model/active-jobs.registry.js';
import { VmRestoreJournal } from './vm-restore-journal.js';
import { VmRestores } from './vm-restores.service.js';

const REQUEST: NodeStartVmRestore = {
  job_id: '0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5c',
  definition: {
    format: 'libvirt-domain-xml',
    text: "<domain type='kvm'><name>a</name><devices><disk device='disk'><target dev='vda'/></disk></devices></domain>",
  },
  name: 'restored',
  uuid: 'ad05c83f-50e3-4a52-a4f4-f1a4b76a9e10',
  keep_identity: false,
  start: false,
  network: 'keep',
  libvirt_network: null,
  storage_path: '/nonexistent',
  disks: [{ disk_key: 'vda', size_bytes: 1024, uri: 'nbd://127.0.0.1:1/x', file_name: 'restored-disk0.qcow2' }],
};

let directory: string;
let active: ActiveJobs;

function restores(settings: Partial<NodeConfig> = {}): VmRestores {
  const config = Object.assign(new NodeConfig(), { dataDirectory: directory, runDirectory: join(directory, 'run'), ...settings });
  active = new ActiveJobs();
  const domains = new LibvirtDomains(config);
  const supervisor = new ShellProcessSupervisor();
  return new VmRestores(config, domains, new VmRestoreJournal(config), supervisor, new NbdInfo(), new GuestDisks(config, domains, supervisor), active);
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sendense-vm-restores-'));
});

afterEach(async () => {
  await rm(directory, { recursive: true });
});

describe('VM restores on a node that starts no guests for its hub', () => {
  it('are refused and leave nothing behind', async () => {
    const refusing = restores({ allowHubGuests: false });
    await refusing.onModuleInit();
    await expect(refusing.start(REQUEST)).rejects.toMatchObject({ code: 'hub_guests_refused' });
    await expect(refusing.report(REQUEST.job_id)).rejects.toMatchObject({ code: 'job_not_found' });
  });
});

describe('VM restores on a node without libvirt', () => {
  it('fail and end, are known after a restart of the node, and are forgotten once settled', async () => {
    const before = restores();
    await before.start(REQUEST);
    const failed = await until('the restore to end', async () => {
      const report = await before.report(REQUEST.job_id);
      return report.status !== 'running' && report;
    });
    expect(failed).toMatchObject({ status: 'failed', phase: 'done', domain: null, error: { code: 'libvirt_unavailable' } });

    const after = restores();
    await after.onModuleInit();
    expect(await after.report(REQUEST.job_id)).toEqual(failed);
    expect(await after.start(REQUEST)).toEqual(failed);
    expect(active.count).toBe(0);
    await expect(after.start({ ...REQUEST, name: 'other' })).rejects.toMatchObject({ code: 'job_exists' });
    await after.settle(REQUEST.job_id, { outcome: 'discard' });
    await after.settle(REQUEST.job_id, { outcome: 'discard' });
    await expect(after.report(REQUEST.job_id)).rejects.toMatchObject({ code: 'job_not_found' });
    await expect(after.start(REQUEST)).rejects.toMatchObject({ code: 'job_settled' });
    expect(await readdir(join(directory, 'vm-restores'))).toEqual([]);
  });

  it('are refused for an invalid storage path', async () => {
    await expect(restores().start({ ...REQUEST, storage_path: '/a/../b' })).rejects.toMatchObject({ code: 'storage_path_malformed' });
  });
});
