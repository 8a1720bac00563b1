import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import { HubPair } from '../support/hub-pair.js';
import { signalPid, until } from '../support/hub-system.js';
import { ImageVm } from '../support/image-vm.js';
import { requireTools } from '../support/require-tools.js';
import { inLongProof } from '../support/long-proof.js';

const { describe, it } = requireTools('qemu-img', 'qemu-io', 'qemu-nbd');

const VM = 'pair';
/** Slow enough for a backup of 2 MiB to be found in its middle. */
const SLOW_BPS = 256 * 1024;

jest.setTimeout(10 * 60_000);

let pair: HubPair;
let repositoryId: string;

beforeAll(async () => {
  pair = await HubPair.create();
  const [first, second] = pair.hubs;
  await first.launch();
  const nodeId = await pair.startNode();
  const client = pair.client(first);
  repositoryId = await client.createRepository('shared', first.repositoryPath);
  const vm = await ImageVm.create(join(pair.images, VM), [{ file: 'disk.qcow2', mib: 16 }]);
  await client.registerVm(VM, vm.folder, nodeId);
  await client.backUp(VM, repositoryId, 'full');
  await second.launch();
  await pair.untilCovered(first);
});

afterAll(async () => {
  await pair.destroy();
});

describe('a pair of hubs', () => {
  it('has one that serves and one that refuses, and both say so', async () => {
    const [first, second] = pair.hubs;
    expect(await pair.role(first)).toMatchObject({ role: 'active', term: 1, standby: { url: second.url() } });
    expect(await pair.role(second)).toMatchObject({ role: 'standby', term: 1, active: { url: first.url() }, standby: { problems: [] } });
    const refused = await second.api<{ code: string; active: object }>('GET', '/vms');
    expect(refused.status).toBe(503);
    expect(refused.body).toMatchObject({ code: 'hub_standby', active: { url: first.url() } });
  });

  it('shows both roles as metrics, and to those without a token only the role', async () => {
    for (const [hub, isActive] of [
      [pair.hubs[0], 1],
      [pair.hubs[1], 0],
    ] as const) {
      const metrics = await fetch(`${hub.url()}/api/v1/metrics`, { headers: { authorization: `Bearer ${hub.apiToken()}` } });
      const text = await metrics.text();
      expect(text).toMatch(new RegExp(`^sendense_hub_active ${isActive}$`, 'm'));
      expect(text).toMatch(/^sendense_hub_term 1$/m);
      expect(text).toMatch(/^sendense_hub_standby_ready 1$/m);
      const stranger = async (path: string): Promise<unknown> => (await fetch(`${hub.url()}/api/v1${path}`)).json();
      expect(await stranger('/health')).toEqual({ role: isActive === 1 ? 'active' : 'standby' });
      expect(JSON.stringify(await stranger('/hub'))).not.toContain('127.0.0.2');
    }
  });

  it('loses only the running backup when the active hub is killed in its middle', async () => {
    const [first, second] = pair.hubs;
    const request = { vm_name: VM, repository_id: repositoryId, backup_type: 'full', bandwidth_limit_bps: SLOW_BPS };
    const { backup_id } = (await first.api<{ backup_id: string }>('POST', '/backups', request)).body;
    await until('data to flow', async () => (await pair.client(first).get(backup_id)).bytes_transferred > 0);
    await first.kill('SIGKILL');
    const client = pair.client(second);
    expect(await pair.untilRole(second, 'active')).toMatchObject({ term: 2, standby: null });
    expect(await client.atRest(backup_id)).toMatchObject({ status: 'failed' });
    const next = await client.backUp(VM, repositoryId, 'auto');
    expect(next.backup_type).toBe('incremental');
    expect(await client.ports('allocated')).toEqual([]);
    // An export that the killed hub left on its machine serves a file that is gone; a hub of that machine ends it.
    await first.launch();
    await pair.untilRole(first, 'standby');
    await until('the export to end', async () => !(await first.toolProcesses()).some((tool) => tool.startsWith('qemu-nbd')));
    await pair.untilCovered(second);
  });

  inLongProof(() => {
    it('refuses what a hub does that was frozen and wakes up, and ends it', async () => {
      const [first, second] = pair.hubs;
      signalPid(second.hubPid, 'SIGSTOP');
      // Reaches the frozen hub, which reads it when it wakes up.
      const late = second.api<{ code: string }>('POST', '/repositories', { name: 'late', type: 'local', path: join(second.directory, 'repository') }).then(
        ({ status, body }) => `${status} ${body.code}`,
        () => 'cut',
      );
      await pair.untilRole(first, 'active');
      await pair.client(first).backUp(VM, repositoryId, 'incremental');
      signalPid(second.hubPid, 'SIGCONT');
      expect(['503 hub_superseded', '503 storage_unavailable', 'cut']).toContain(await late);
      expect(await second.ended()).toBe(1);
      expect(second.log()).toContain('no longer the active one');
      const { body } = await first.api<{ repositories: { name: string }[] }>('GET', '/repositories');
      expect(body.repositories.map(({ name }) => name)).toEqual(['shared']);
      expect((await readdir(first.repositoryPath)).length).toBeGreaterThan(0);
    });
  });
});
