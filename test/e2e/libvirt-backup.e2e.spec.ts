import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import type { StreamEventResponse } from '../../src/hub/operations/http/event-history.js';
import { parseDomain } from '../../src/lib/libvirt/domain-xml.js';
import { parseManifest } from '../../src/storage/repository-files/manifest.js';
import { BackupClient } from '../support/backup-client.js';
import { BareDomain, requireInstant } from '../support/bare-domain.js';
import { qcow2Image } from '../support/hostile-images.js';
import { HubSystem, until } from '../support/hub-system.js';
import { LibvirtHost } from '../support/libvirt-host.js';
import { LiveGuest } from '../support/live-guest.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireLibvirt } from '../support/require-tools.js';
import { ToolGates } from '../support/tool-gates.js';
import { inLongProof, IS_LONG } from '../support/long-proof.js';

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
  system = await HubSystem.create({
    databaseUrl: database.databaseUrl,
    env: { SENDENSE_LOCAL_NODE_LIBVIRT_URI: host.uri, SENDENSE_LOCAL_NODE_LIBVIRT_SCRATCH_MAX_BYTES: String(16 * 1024 * 1024) },
  });
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

  inLongProof(() => {
    it('has a chain in each of two repositories: what one holds already is a change for the other all the same', async () => {
      const second = join(system.directory, 'second');
      await mkdir(second);
      const repositories = { first: repository, second: await client.createRepository('second', second) };
      const domain = await newDomain('twice', 9, { target: 'vda', mib: 16 }, { target: 'vdb', mib: 8 });
      await domain.start();
      const newest = new Map<string, BackupResponse>();
      for (const [place, type, target, running] of [
        ['first', 'full', 'vda', true],
        ['second', 'full', 'vdb', true],
        ['first', 'incremental', 'vda', true],
        ['first', 'incremental', 'vdb', true],
        ['second', 'incremental', 'vda', false],
        ['first', 'incremental', 'vda', true],
      ] as const) {
        if ((await host.isActive(domain.uuid)) !== running) await (running ? domain.start() : domain.powerOff());
        await domain.write(target, newest.size + 2);
        const instant = await domain.instant();
        const backup = await client.backUp('twice', repositories[place], 'auto');
        expect([place, backup.backup_type, backup.parent_backup_id]).toEqual([place, type, newest.get(place)?.backup_id ?? null]);
        await requireInstant(backup.disk_results, instant);
        newest.set(place, backup);
        // One checkpoint for each chain, and nothing else.
        const wanted = [...newest.values()].map(({ disk_results }) => disk_results[0]?.change_id ?? '');
        expect([...(await host.checkpoints(domain.uuid))].sort()).toEqual(wanted.sort());
        expect(await readdir(join(system.dataDirectory, 'local-node/libvirt-scratch'))).toEqual([]);
      }
      await domain.powerOff();
      for (const { target } of domain.allDisks) {
        expect([...(await domain.storedBitmaps(target))].sort()).toEqual(
          [...newest.values()].map(({ disk_results }) => disk_results[0]?.change_id ?? '').sort(),
        );
      }
    });
  });
});

describe('a disk whose format was changed in the definition', () => {
  it.each([['raw', 'qcow2', 21], ...(IS_LONG ? ([['qcow2', 'raw', 22]] as const) : [])] as const)(
    'from %s to %s is refused, running or off, and is backed up again when it is as it was',
    async (before, now, number) => {
      const name = `reformatted-${before}`;
      const domain = await newDomain(name, number, { target: 'vda', mib: 8, format: before });
      const definition = await host.virsh('dumpxml', '--inactive', domain.uuid);
      const changed = definition.replace(/<driver name='qemu' type='[^']*'/, `<driver name='qemu' type='${now}'`);
      expect(changed).not.toBe(definition);
      if (now === 'qcow2') await writeFile(domain.path('vda'), qcow2Image({ sizeBytes: 8 * 1024 * 1024 }));
      await host.define(changed);
      const refusal = { status: 409, code: 'disk_format_changed', disk_key: 'vda', registered_format: before, format: now };
      expect(await client.refused(name, repository, 'auto')).toMatchObject(refusal);
      await domain.start();
      expect(await client.refused(name, repository, 'full')).toMatchObject(refusal);
      await domain.powerOff();
      await host.define(definition);
      expect(await client.backUp(name, repository, 'full')).toMatchObject({ status: 'completed' });
    },
  );
});

describe('quiesce', () => {
  async function quiesced(vmName: string, quiesce: string, limit?: number): Promise<BackupResponse> {
    const body = { vm_name: vmName, repository_id: repository, backup_type: 'auto', quiesce, ...(limit === undefined ? {} : { bandwidth_limit_bps: limit }) };
    return client.atRest((await system.api<BackupResponse>('POST', '/backups', body)).body.backup_id);
  }

  inLongProof(() => {
    it('freezes the file systems of a guest with an agent for the instant, and thaws them', async () => {
      const guest = await LiveGuest.create(host, {
        name: 'agent',
        agent: true,
        disks: [{ target: 'vda', mib: 32, ext4: true }],
        script: 'mount -t ext4 /dev/vda /mnt && echo mounted',
      });
      if (guest === null) return;
      await guest.boot();
      await until('the agent to answer', async () => (await host.virsh('domfsinfo', 'agent')).includes('vda'), 120_000);
      await client.registerVm('agent', (await host.virsh('domuuid', 'agent')).trim(), undefined, 'libvirt');
      const backup = await quiesced('agent', 'require', 100_000_000);
      expect(backup).toMatchObject({ status: 'completed' });
      const events = await client.events(backup.backup_id);
      expect(events.find(({ type }) => type === 'QuiesceReported')?.data).toMatchObject({
        outcome: 'quiesced',
        detail: expect.stringContaining('1 file system of the guest was frozen'),
      });
      expect(events.find(({ type }) => type === 'BackupOptionsChosen')?.data).toEqual({ quiesce: 'require', bandwidth_limit_bps: 100_000_000 });
      expect(await host.virsh('qemu-agent-command', 'agent', '{"execute":"guest-fsfreeze-status"}')).toContain('thawed');
      await host.virsh('destroy', 'agent');
    });
  });

  inLongProof(() => {
    it('fails a backup that requires it where the guest has no agent, and leaves nothing', async () => {
      const domain = await newDomain('no-agent', 50, { target: 'vda', mib: 8 });
      await domain.start();
      expect(await quiesced('no-agent', 'require')).toMatchObject({ status: 'failed', error: { code: 'quiesce_failed' } });
      await requireTidy(domain, null);
      await domain.remove();
    });
  });
});

describe('a hypervisor', () => {
  let domain: BareDomain;
  let newest: BackupResponse | null = null;

  beforeAll(async () => {
    if (skipped !== null) return;
    domain = await newDomain('unlucky', 200, { target: 'vda', mib: 64 });
    await domain.start();
    await domain.write('vda', 0, 24);
    await client.backUp('unlucky', repository, 'auto');
    await domain.write('vda', 1);
    newest = await client.backUp('unlucky', repository, 'auto');
  });

  async function held(): Promise<{ readonly backup: BackupResponse; readonly open: () => Promise<void> }> {
    const gate = await gates.hold('nbdcopy', '');
    const backup = await client.started('unlucky', repository, 'auto');
    await gate.reached();
    return { backup, open: () => gate.open() };
  }

  inLongProof(() => {
    it('whose guest overwrites more than the scratch space holds: the backup is given up, the guest is not held up', async () => {
      await domain.write('vda', 4);
      const { backup, open } = await held();
      await domain.write('vda', 0, 24);
      await until('the backup to be given up', async () => !(await host.hasJob(domain.uuid)));
      await open();
      expect(await client.atRest(backup.backup_id)).toMatchObject({ status: 'failed', error: { code: 'scratch_full' } });
      await requireTidy(domain, newest);
      const now = await domain.instant();
      newest = await client.backUp('unlucky', repository, 'incremental');
      await requireInstant(newest.disk_results, now);
    });
  });

  it('on which something was left that nobody needs: it is found when the hub starts, and its removal is on record', async () => {
    const backups = (await system.api<{ backups: BackupResponse[] }>('GET', '/backups?vm_name=unlucky&status=completed&limit=10')).body.backups;
    const old = backups.find(({ backup_id }) => backup_id !== newest?.backup_id)?.disk_results[0]?.change_id ?? '';
    await host.virshWith(['checkpoint-create', domain.uuid], `<domaincheckpoint><name>${old}</name></domaincheckpoint>`);
    const nodeId = (await system.api<{ nodes: { node_id: string }[] }>('GET', '/nodes')).body.nodes[0]?.node_id ?? '';
    await system.kill('SIGKILL');
    await system.start({ PATH: gates.path });
    const event = await until('the removal', async () => {
      const { body } = await system.api<{ events: StreamEventResponse[] }>('GET', `/audit/streams/node-${nodeId}`);
      return body.events.find(({ type }) => type === 'NodeLeftoversRemoved');
    });
    expect(event.data).toMatchObject({ change_ids: [{ source: 'libvirt', source_ref: domain.uuid, change_id: old }] });
    await requireTidy(domain, newest);
  });
});
