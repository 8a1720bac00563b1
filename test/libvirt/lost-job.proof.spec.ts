import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import { backupXml } from '../../src/node/sources/libvirt/backup-documents.js';
import { writeEmptyQcow2 } from '../../src/lib/qemu/empty-qcow2.js';
import type { VmResponse } from '../../src/hub/backup/vms/model/vm.response.js';
import { BareDomain, requireInstant } from '../support/bare-domain.js';
import { until } from '../support/hub-system.js';
import { LibvirtSystem } from '../support/libvirt-system.js';
import { requireLibvirt } from '../support/require-tools.js';

jest.setTimeout(180_000);
const { describe, it } = requireLibvirt('qemu-nbd', 'nbdcopy', 'nbdkit', 'nbdinfo');

const NAME = 'lost-job';
const TARGETS = ['vda', 'vdb'];

let system: LibvirtSystem;
let domain: BareDomain;
let scratch: string;

beforeAll(async () => {
  system = await LibvirtSystem.create();
  scratch = join(system.hub.dataDirectory, 'local-node', 'libvirt-scratch');
  domain = await BareDomain.create(
    system.host,
    NAME,
    '00000000-0000-4000-8000-000000000001',
    TARGETS.map((target) => ({ target, mib: 16 })),
  );
  await system.client.registerDomain(NAME, domain.uuid);
  await domain.start();
  await domain.write('vda', 2, 2);
  await system.backUp(NAME, 'full');
});

afterAll(async () => {
  await system.destroy();
});

/** A job as this node begins them, of a backup that is over: what a libvirtd shows that was killed before it had written down that the job had ended. */
async function leaveJobBehind(place: string): Promise<void> {
  const directory = join(scratch, place);
  await mkdir(directory);
  for (const target of TARGETS) await writeEmptyQcow2(join(directory, `${target}.scratch`), 16 * 1024 * 1024);
  const xml = backupXml({
    socket: join(directory, 'nbd.sock'),
    scratchDirectory: directory,
    targets: TARGETS,
    disks: TARGETS.map((target) => ({ target, incrementalFrom: null })),
  });
  const file = join(system.host.directory, `${place}.xml`);
  await writeFile(file, xml);
  await system.host.virsh('backup-begin', domain.uuid, file, '--reuse-external');
  expect(await system.host.hasJob(NAME)).toBe(true);
}

async function requireRecorded(place: string): Promise<void> {
  await until(`the hub to record the end of the job in ${place}`, async () => {
    const { body } = await system.hub.api<{ events: { data: { swept?: readonly string[] } }[] }>('GET', '/audit/events?type=NodeLeftoversRemoved&limit=100');
    return body.events.some(({ data }) => data.swept?.some((what) => what.includes(`backup job of domain ${domain.uuid}`) && what.includes(place)));
  });
}

async function vm(): Promise<VmResponse> {
  const { body } = await system.hub.api<{ vms: VmResponse[] }>('GET', `/vms?limit=100`);
  const { vm_id } = body.vms.find(({ name }) => name === NAME) ?? { vm_id: '' };
  return (await system.hub.api<VmResponse>('GET', `/vms/${vm_id}`)).body;
}

describe('a backup job of the node that no backup owns', () => {
  it('is ended when the VM is backed up next, and the hub records it', async () => {
    await leaveJobBehind('0123456789abcdef');
    await domain.write('vdb', 5);
    const instant = await domain.instant();
    const backup = await system.backUp(NAME, 'incremental');
    await requireInstant(backup.disk_results, instant);
    await requireRecorded('0123456789abcdef');
    await system.becomesQuietAt(domain);
  });

  it('is ended by the next life of the node though nobody asks for a backup, and the hub records it', async () => {
    await leaveJobBehind('fedcba9876543210');
    process.kill(await system.hub.nodePid(), 'SIGKILL');
    await requireRecorded('fedcba9876543210');
    await system.becomesQuietAt(domain);
  });

  it('keeps the VM from being backed up where libvirt has forgotten it; the VM says so until it was started again', async () => {
    await leaveJobBehind('00112233aabbccdd');
    // As a libvirtd leaves it that is killed while the job begins.
    const status = join(system.host.directory, 'run/qemu', `${NAME}.xml`);
    await system.host.stop('SIGKILL');
    const forgotten = (await readFile(status, 'utf8')).replace(/<domainbackup [\s\S]*<\/domainbackup>/, '');
    await writeFile(status, forgotten);
    await system.host.start();

    const asked = await system.client.start(NAME, system.repositoryId, 'incremental');
    expect(asked.status).toBe(202);
    const failed = await system.client.atRest(asked.body.backup_id);
    expect(failed.error).toMatchObject({ stage: 'snapshot', code: 'backup_job_lost', detail: expect.stringContaining('Shut the VM down, restart libvirtd') });
    await until('the VM to say so', async () => (await vm()).problem?.code === 'backup_job_lost');

    // What the message asks for.
    await domain.powerOff();
    await system.host.restart();
    await domain.start();
    await until('the VM to be well again', async () => (await vm()).problem === null, 90_000);
    await domain.write('vda', 3);
    const instant = await domain.instant();
    await requireInstant((await system.backUp(NAME, 'incremental')).disk_results, instant);
    await system.becomesQuietAt(domain);
  });
});
