import { randomUUID } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import type { VmResponse } from '../../src/hub/backup/vms/model/vm.response.js';
import { BareDomain } from '../support/bare-domain.js';
import { until } from '../support/hub-system.js';
import { ImageVm, requireSameContent } from '../support/image-vm.js';
import { LibvirtSystem } from '../support/libvirt-system.js';
import { requireLibvirt } from '../support/require-tools.js';
import { seeded } from '../support/seeded.js';

/** Every run has one round, so that the storm itself does not break; the long proof has them all. */
const ROUNDS = Number(process.env['SENDENSE_STORM_ROUNDS'] ?? 30);
const SEED = Number(process.env['SENDENSE_STORM_SEED'] ?? 1);
const ROUND_PATIENCE_MS = 240_000;
const MIB = 1024 * 1024;

jest.setTimeout(600_000 + ROUNDS * ROUND_PATIENCE_MS);
const { describe, it } = requireLibvirt('qemu-nbd', 'nbdcopy', 'nbdkit', 'nbdinfo');

const IMAGE = 'storm-image';
const DOMAIN = 'storm-domain';
const SLOW = 512 * 1024;
const random = seeded(SEED);

let system: LibvirtSystem;
let image: ImageVm;
let domain: BareDomain;

beforeAll(async () => {
  system = await LibvirtSystem.create({}, { ownPostgres: true });
  image = await ImageVm.create(join(system.hub.imageRoot, IMAGE), [
    { file: 'disk0.qcow2', mib: 16 },
    { file: 'disk1.qcow2', mib: 16 },
  ]);
  await system.client.registerVm(IMAGE, image.folder);
  domain = await BareDomain.create(system.host, DOMAIN, '00000000-0000-4000-8000-000000000001', [
    { target: 'vda', mib: 16 },
    { target: 'vdb', mib: 16 },
  ]);
  await system.client.registerDomain(DOMAIN, domain.uuid);
  await domain.start();
});

afterAll(async () => {
  await system.destroy();
});

function below(limit: number): number {
  return Math.floor(random() * limit);
}

/** One that has ended meanwhile is no victim. */
function kill(pid: number | undefined, signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT' | 'SIGTERM' = 'SIGKILL'): boolean {
  if (pid === undefined || !(pid > 0)) return false;
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}

async function toolNamed(name: string): Promise<number | undefined> {
  for (const pid of await system.hub.leftoverPids()) {
    if ((await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim() === name) return pid;
  }
  return undefined;
}

async function restartHub(): Promise<void> {
  await system.hub.kill('SIGKILL');
  await system.hub.start({ PATH: system.copies.path });
}

/** Each kills its victim, and puts back what nothing else would. @returns whether there was one */
const VICTIMS: Readonly<Record<string, () => Promise<boolean>>> = {
  libvirtd: async () => {
    await system.host.stop('SIGKILL');
    await pause(below(3_000));
    await system.host.start();
    return true;
  },
  node: async () => kill(await system.hub.nodePid()),
  hub: async () => {
    await restartHub();
    return true;
  },
  'hub twice': async () => {
    await restartHub();
    await pause(below(500));
    await restartHub();
    return true;
  },
  PostgreSQL: async () => kill(Number((await readFile(join(system.hub.dataDirectory, 'postgres/cluster/postmaster.pid'), 'utf8')).split('\n')[0])),
  'qemu-nbd': async () => kill(await toolNamed('qemu-nbd')),
  nbdcopy: async () => kill(await toolNamed('nbdcopy')),
  qemu: async () => kill(await system.host.qemuPid(DOMAIN)),
  'stopped node': async () => {
    const pid = await system.hub.nodePid();
    if (!kill(pid, 'SIGSTOP')) return false;
    await pause(5_000 + below(10_000));
    return kill(pid, 'SIGCONT');
  },
};

/** qemus of the host that libvirt does not know of any more. */
async function lostQemus(): Promise<readonly number[]> {
  const named = await Promise.all(
    (await system.host.processes()).map(async (pid) => ((await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).startsWith('qemu-system') ? [pid] : [])),
  );
  return named.flat();
}

/** What docs/libvirt.md asks of an operator. @returns what had to be done */
async function mendDomain(): Promise<string | null> {
  const lost = await system.host.virsh('domjobinfo', DOMAIN).then(
    () => false,
    (error: unknown) => /backup job data missing/.test(String(error)),
  );
  if (lost) {
    await domain.powerOff();
    await system.host.restart();
    await domain.start();
    return 'job lost by libvirt';
  }
  if (await system.host.isActive(DOMAIN)) return null;
  const qemus = await lostQemus();
  for (const pid of qemus) kill(pid, 'SIGTERM');
  await until('qemu to end', async () => (await lostQemus()).length === 0);
  if (qemus.length === 0) await domain.rereadPlain();
  await domain.start();
  return qemus.length > 0 ? 'VM lost by libvirt' : 'restarted';
}

/** The same request until the hub takes it on or refuses it. */
async function request(vm: string): Promise<string | { readonly refused: string }> {
  const key = randomUUID();
  let last = '';
  return until(
    `the backup of ${vm} to be answered`,
    async () => {
      const { status, body } = await system.client.start(vm, system.repositoryId, 'auto', { 'idempotency-key': key });
      // One that was taken on and failed while it was prepared is answered with its failure.
      if (status === 202 || typeof body.backup_id === 'string') return body.backup_id;
      last = `${status} ${JSON.stringify(body)}`;
      return status >= 500 ? null : { refused: last };
    },
    ROUND_PATIENCE_MS,
  ).catch((error: unknown) => ({ refused: `${last} ${String(error)}` }));
}

async function rests(backupId: string): Promise<BackupResponse> {
  return until(`backup ${backupId} to come to rest`, () => system.client.atRest(backupId), ROUND_PATIENCE_MS);
}

interface Tally {
  kills: number;
  completed: number;
  failed: number;
  compared: number;
  readonly codes: Record<string, number>;
  readonly fulls: Record<string, number>;
  readonly victims: Record<string, number>;
  readonly mended: Record<string, number>;
  readonly complaints: string[];
}

function count(counts: Record<string, number>, what: string): void {
  counts[what] = (counts[what] ?? 0) + 1;
}

async function round(number: number, tally: Tally): Promise<void> {
  await image.write(`disk${below(2)}.qcow2`, below(15) * MIB, 64 * 1024 + below(MIB / 2));
  await domain.write(below(2) === 0 ? 'vda' : 'vdb', below(15));
  await domain.flush();
  const truths = new Map([
    [IMAGE, await image.copyTo(join(system.hub.directory, `truth-${number}`))],
    [DOMAIN, await domain.instant()],
  ]);
  if (below(2) === 0) await system.copies.limit(SLOW);
  const requests = [IMAGE, DOMAIN].map(async (vm) => ({ vm, asked: await request(vm) }));
  await pause(below(3_000));
  const [name = '', act] = Object.entries(VICTIMS)[below(Object.keys(VICTIMS).length)] ?? [];
  if ((await act?.()) === true) {
    tally.kills += 1;
    count(tally.victims, name);
  }
  await system.copies.limit(null);
  for (const { vm, asked } of await Promise.all(requests)) {
    if (typeof asked !== 'string') {
      tally.complaints.push(`round ${number} (${name}): ${vm} was refused: ${asked.refused}`);
      continue;
    }
    const backup = await rests(asked);
    if (backup.status !== 'completed') {
      tally.failed += 1;
      count(tally.codes, backup.error?.code ?? backup.status);
      if (backup.error?.code === 'vm_busy_elsewhere') tally.complaints.push(`round ${number} (${name}): ${backup.error.detail}`);
      continue;
    }
    tally.completed += 1;
    if (backup.full_reason !== null) count(tally.fulls, `${vm} ${name}: ${backup.full_reason}`);
    for (const { disk_key, qcow2_path } of backup.disk_results) {
      await requireSameContent(truths.get(vm)?.get(disk_key) ?? '', qcow2_path ?? '').catch((error: unknown) => {
        tally.complaints.push(`round ${number} (${name}): ${vm} ${disk_key} of ${backup.backup_id} is wrong: ${String(error)}`);
      });
    }
    tally.compared += 1;
  }
  const mended = await mendDomain();
  if (mended !== null) count(tally.mended, mended);
  for (const copies of truths.values()) for (const copy of copies.values()) await rm(copy, { force: true });
}

async function answers(): Promise<string> {
  const paths = ['/backups?limit=200', '/vms?limit=100', '/repositories?limit=100', '/nbd/ports?state=allocated'];
  const bodies = await Promise.all(paths.map(async (path) => (await system.hub.api('GET', path)).body));
  return JSON.stringify(bodies);
}

async function verify(backup: BackupResponse): Promise<string> {
  const { status, body } = await system.hub.api<{ verification_id: string }>('POST', `/backups/${backup.backup_id}/verify`, {});
  if (status !== 202) return `${status}`;
  return until('the verification to end', async () => {
    const { verifications } = (
      await system.hub.api<{ verifications: { verification_id: string; status: string }[] }>('GET', `/backups/${backup.backup_id}/verifications`)
    ).body;
    const found = verifications.find(({ verification_id }) => verification_id === body.verification_id);
    return found !== undefined && found.status !== 'running' && found.status !== 'pending' && found.status;
  });
}

describe('a storm of kills', () => {
  it(`of ${ROUNDS} rounds (seed ${SEED}) leaves right restore points and nothing else`, async () => {
    const tally: Tally = { kills: 0, completed: 0, failed: 0, compared: 0, codes: {}, fulls: {}, victims: {}, mended: {}, complaints: [] };
    for (let number = 1; number <= ROUNDS; number += 1) {
      await round(number, tally).catch((error: unknown) => {
        const log = system.hub.log().split('\n').slice(-40).join('\n');
        throw new Error(`round ${number} did not come to its end; the last the hub has logged: ${log}`, { cause: error });
      });
      process.stderr.write(`storm: round ${number} of ${ROUNDS}: ${JSON.stringify(tally)}\n`);
    }
    // What is left undone after the last kill is done now; and both VMs are protected.
    await until('the VM to be without a problem', async () => {
      const { vms } = (await system.hub.api<{ vms: VmResponse[] }>('GET', '/vms?limit=100')).body;
      return vms.every(({ problem }) => problem === null);
    });
    for (const vm of [IMAGE, DOMAIN]) await system.backUp(vm, 'auto');
    await system.becomesQuietAt(domain);

    const { backups } = (await system.hub.api<{ backups: BackupResponse[] }>('GET', '/backups?status=completed&limit=200')).body;
    for (const backup of backups) {
      const verdict = await verify(backup);
      if (verdict !== 'passed') tally.complaints.push(`verification of ${backup.backup_id}: ${verdict}`);
    }
    const before = await answers();
    const { projections } = (await system.hub.api<{ projections: { name: string; generation: number }[] }>('GET', '/projections')).body;
    for (const { name, generation } of projections) {
      await system.hub.api('POST', `/projections/${name}/rebuild`);
      await until(`${name} to be rebuilt`, async () => {
        const { body } = await system.hub.api<{ projections: { name: string; generation: number; rebuild: unknown }[] }>('GET', '/projections');
        return body.projections.some((one) => one.name === name && one.generation > generation && one.rebuild === null);
      });
    }
    if ((await answers()) !== before) tally.complaints.push('read models differ after their rebuild');
    process.stderr.write(`storm: ${JSON.stringify({ ...tally, verified: backups.length })}\n`);
    expect(tally.complaints).toEqual([]);
    expect(tally.compared).toBe(tally.completed);
  });
});
