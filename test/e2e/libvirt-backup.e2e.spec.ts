import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/backups/model/backup.response.js';
import { parseDomain } from '../../src/platform/libvirt/domain-xml.js';
import { parseManifest } from '../../src/platform/repository-files/manifest.js';
import { BackupClient } from '../support/backup-client.js';
import { BareDomain, requireInstant } from '../support/bare-domain.js';
import { HubSystem } from '../support/hub-system.js';
import { LibvirtHost } from '../support/libvirt-host.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireLibvirt } from '../support/require-tools.js';
import { ToolGates } from '../support/tool-gates.js';

jest.setTimeout(180_000);
const { describe, it, skipped } = requireLibvirt('qemu-nbd', 'nbdcopy', 'nbdinfo', 'nbdkit');

let host: LibvirtHost;
let database: TestDatabase;
let system: HubSystem;
let gates: ToolGates;
let client: BackupClient;
let repository: string;

beforeAll(async () => {
  if (skipped !== null) return;
  host = await LibvirtHost.create();
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl, env: { SENDENSE_LOCAL_NODE_LIBVIRT_URI: host.uri } });
  gates = await ToolGates.create(join(system.directory, 'gates'));
  await system.start({ PATH: gates.path });
  client = new BackupClient(system);
  repository = await client.createRepository('main', system.repositoryPath);
});

afterAll(async () => {
  if (skipped !== null) return;
  await system.destroy();
  await database.drop();
  await host.destroy();
});

afterEach(async () => {
  if (skipped !== null) return;
  await gates.openAll();
  await client.requireNothingHeld();
});

async function newDomain(name: string, number: number, ...disks: Parameters<typeof BareDomain.create>[3]): Promise<BareDomain> {
  const domain = await BareDomain.create(host, name, `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`, disks);
  await client.registerVm(name, domain.uuid, undefined, 'libvirt');
  return domain;
}

/** No job, no scratch file, and of checkpoints and bitmaps only the newest restore point's. */
async function requireTidy(domain: BareDomain, newest: BackupResponse | null): Promise<void> {
  if ((await host.virsh('domstate', domain.uuid)).trim() === 'running') expect(await host.hasJob(domain.uuid)).toBe(false);
  expect(await readdir(join(system.dataDirectory, 'local-node/libvirt-scratch'))).toEqual([]);
  const checkpoints = await host.checkpoints(domain.uuid);
  expect(checkpoints.map((name) => name.slice(name.indexOf('-', 9) + 1))).toEqual(newest === null ? [] : [newest.backup_id]);
}

describe('a running domain', () => {
  it('is backed up in full and then incrementally, all disks at one instant, while its guest writes', async () => {
    const domain = await newDomain('live', 1, { target: 'vda', mib: 32 }, { target: 'vdb', mib: 16 });
    await domain.start();
    await domain.write('vda', 1, 3);
    await domain.write('vdb', 2);
    const first = await domain.instant();
    const gate = await gates.hold('nbdcopy', '');
    const started = await client.started('live', repository, 'auto');
    await gate.reached();
    await domain.write('vda', 1);
    await domain.write('vdb', 8);
    await gate.open();
    const full = await client.atRest(started.backup_id);
    expect(full).toMatchObject({ status: 'completed', backup_type: 'full', full_reason: 'first_backup' });
    await requireInstant(full.disk_results, first);
    await requireTidy(domain, full);

    const second = await domain.instant();
    const incremental = await client.backUp('live', repository, 'auto');
    expect(incremental).toMatchObject({ backup_type: 'incremental', bytes_transferred: 2 * 1024 * 1024 });
    await requireInstant(incremental.disk_results, second);
    await requireTidy(domain, incremental);

    await domain.powerOff();
    await domain.write('vdb', 12);
    const third = await domain.instant();
    const off = await client.backUp('live', repository, 'incremental');
    await requireInstant(off.disk_results, third);
    await requireTidy(domain, off);

    await domain.start();
    await domain.write('vda', 20);
    const fourth = await domain.instant();
    const on = await client.backUp('live', repository, 'incremental');
    await requireInstant(on.disk_results, fourth);
    await requireTidy(domain, on);
    const manifest = parseManifest(await readFile(join(system.repositoryPath, on.folder ?? '', 'manifest.json'), 'utf8'));
    expect(parseDomain(manifest.definition?.text ?? '')).toMatchObject({ uuid: domain.uuid, disks: [{ target: 'vda' }, { target: 'vdb' }] });
    expect((await client.events(on.backup_id)).find(({ type }) => type === 'QuiesceReported')?.data).toMatchObject({ outcome: 'not_quiesced' });
  });
});
