import { readFileSync } from 'node:fs';
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { NodeResponse } from '../../src/hub/nodes/nodes/model/node.response.js';
import type { RegisteredNodeDto } from '../../src/hub/nodes/nodes/register-node/register-node.dto.js';
import type { RotatedKeysDto } from '../../src/hub/nodes/nodes/rotate-keys/rotate-keys.dto.js';
import { newNonce, signatureHeader } from '../../src/lib/signed-calls/call-signature.js';
import { parsePairingCode, pairingProof } from '../../src/tunnel/interface/pairing-code.js';
import { parseTunnelSettings, type TunnelSettings } from '../../src/tunnel/interface/tunnel-settings.js';
import { BackupClient, type Problem } from '../support/backup-client.js';
import { EnrolledNode, enrolmentSettings, type EnrolOutcome, type RunningProgram, runScript, startTunnelServer } from '../support/enrolled-node.js';
import { freePortRange } from '../support/free-ports.js';
import { HubSystem, until } from '../support/hub-system.js';
import { ImageVm, requireSameContent } from '../support/image-vm.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';
import { inLongProof } from '../support/long-proof.js';

jest.setTimeout(240_000);
const { describe, it } = requireTools('ssh', 'sshd', 'ssh-keygen', 'qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo');

let database: TestDatabase;
let system: HubSystem;
let client: BackupClient;
let server: RunningProgram;
let node: EnrolledNode;
let repository: string;
let vm: ImageVm;
/** Of the node that the story is about. */
let code: string;
let nodeId: string;
let reversePort: number;
const LOCAL_HOST = '127.0.0.2';

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl, env: await enrolmentSettings() });
  await system.start();
  client = new BackupClient(system);
  repository = await client.createRepository('here', system.repositoryPath);
  node = await EnrolledNode.create(system, 'far', LOCAL_HOST);
  vm = await ImageVm.create(join(system.imageRoot, 'web1'), [{ file: 'disk0.qcow2', mib: 16 }]);
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

const keysFile = (): string => join(system.dataDirectory, 'tunnel', 'authorized_keys');
const keys = (): Promise<string> => readFile(keysFile(), 'utf8');

async function nodeNow(id = nodeId): Promise<NodeResponse> {
  return (await system.api<NodeResponse>('GET', `/nodes/${id}`)).body;
}

async function untilState(state: string, id = nodeId): Promise<NodeResponse> {
  return until(`node ${id} to be ${state}`, async () => {
    const found = await nodeNow(id);
    return found.state === state ? found : null;
  });
}

/** A call to the hub as a node would make it. */
async function signedCall(token: string, id: string | null, path: string, body: object): Promise<{ status: number; code: unknown }> {
  const text = JSON.stringify(body);
  const full = `/api/v1${path}`;
  const authorization = signatureHeader(
    token,
    { direction: 'to_hub', method: 'POST', path: full, body: text },
    { nodeId: id, timeMs: Date.now(), nonce: newNonce() },
  );
  const response = await fetch(`${system.url()}${full}`, { method: 'POST', body: text, headers: { authorization, 'content-type': 'application/json' } });
  const answer: unknown = await response.json().catch(() => null);
  return { status: response.status, code: typeof answer === 'object' && answer !== null ? Reflect.get(answer, 'code') : null };
}

function reportOf(jobId: string): object {
  return {
    job_id: jobId,
    status: 'failed',
    current_phase: 'transfer',
    instant: null,
    snapshot_released: true,
    bytes_transferred: 0,
    total_bytes: 0,
    transfer_speed_bps: 0,
    eta_seconds: null,
    progress_percent: 0,
    disks: [{ disk_key: 'disk0.qcow2', status: 'failed', bytes_transferred: 0, total_bytes: 0, change_id: null, error: null }],
    error: { code: 'made_up', detail: 'By somebody else.' },
    sequence: 1_000_000,
    timestamp: '2026-11-21T10:00:00.000Z',
  };
}

describe('a pairing code', () => {
  it('is given out once a tunnel server has told where it is', async () => {
    expect(await client.problem('POST', '/nodes', { name: 'rack-1' })).toMatchObject({ status: 409, code: 'enrolment_not_configured' });
    server = await startTunnelServer(system);
    const { status, body } = await system.api<RegisteredNodeDto>('POST', '/nodes', { name: 'rack-1' }, { 'idempotency-key': 'enrol-rack-1' });
    expect(status).toBe(201);
    expect(body).toMatchObject({ name: 'rack-1', state: 'pairing' });
    nodeId = body.node_id;
    code = body.pairing_code ?? '';
    const found = await untilState('pairing');
    expect(found.enrolment).toMatchObject({ state: 'pairing', public_key_fingerprint: null });
    reversePort = found.enrolment?.reverse_port ?? 0;
    expect(await keys()).toContain(`pairing:${nodeId}`);
  });

  it('is shown once, also to who repeats the command, and is in no event', async () => {
    const again = await client.problem('POST', '/nodes', { name: 'rack-1' }, { 'idempotency-key': 'enrol-rack-1' });
    expect(again).toMatchObject({ status: 409, code: 'pairing_code_shown_once' });
    expect(await client.problem('POST', '/nodes', { name: 'rack-1' })).toMatchObject({ status: 409, code: 'node_name_taken' });
    const { secret } = parsePairingCode(code) ?? { secret: '' };
    expect(secret).not.toBe('');
    const told = JSON.stringify((await system.api('GET', '/audit/events?limit=200')).body) + system.log();
    expect(told).toContain(nodeId);
    for (const hidden of [secret, pairingProof(secret)]) expect(told).not.toContain(hidden);
  });

  it('is void after five wrong ones, and a node of that name gets a new one under its id', async () => {
    const made = (await system.api<RegisteredNodeDto>('POST', '/nodes', { name: 'rack-2' })).body;
    const wrong = {
      node_id: made.node_id,
      proof: 'A'.repeat(43),
      public_key: `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI${'B'.repeat(43)}`,
      token: 'C'.repeat(43),
      hostname: 'thief',
      version: '1',
    };
    const attempt = async (body: object): Promise<Problem> => {
      const response = await fetch(`${system.url()}/api/v1/nodes/pair`, {
        method: 'POST',
        body: JSON.stringify(body),
        headers: { 'content-type': 'application/json' },
      });
      return (await response.json()) as Problem;
    };
    expect(await attempt({ ...wrong, node_id: '00000000-0000-4000-8000-000000000000' })).toMatchObject({ status: 401, code: 'pairing_refused' });
    for (let time = 1; time < 5; time++) expect(await attempt(wrong)).toMatchObject({ status: 401, code: 'pairing_refused' });
    expect(await attempt(wrong)).toMatchObject({ status: 410, code: 'pairing_code_void' });
    const right = pairingProof(parsePairingCode(made.pairing_code ?? '')?.secret ?? '');
    expect(await attempt({ ...wrong, proof: right })).toMatchObject({ status: 410, code: 'pairing_code_void' });
    await untilState('pairing_failed', made.node_id);
    await until('its key to be gone', async () => !(await keys()).includes(made.node_id));
    const next = (await system.api<RegisteredNodeDto>('POST', '/nodes', { name: 'rack-2' })).body;
    expect(next.node_id).toBe(made.node_id);
    expect((await system.api('DELETE', `/nodes/${made.node_id}`)).status).toBe(204);
    expect(await attempt({ ...wrong, proof: pairingProof(parsePairingCode(next.pairing_code ?? '')?.secret ?? '') })).toMatchObject({
      code: 'pairing_refused',
    });
  });
});

describe('a node', () => {
  it('pairs with the code, and is not let in by that', async () => {
    const { code: exit, stdout, stderr } = await node.enrol(code);
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
    const paired = JSON.parse(stdout) as EnrolOutcome;
    expect(paired).toMatchObject({ node_id: nodeId, name: 'rack-1' });
    expect(await untilState('awaiting_approval')).toMatchObject({
      enrolment: { state: 'awaiting_approval', public_key_fingerprint: paired.public_key_fingerprint },
    });
    for (const file of ['node.token', 'tunnel/id_ed25519']) expect((await stat(join(node.dataDirectory, file))).mode & 0o077).toBe(0);
    node.start();
    expect(await signedCall(await node.token(), nodeId, `/telemetry/backup/${nodeId}`, reportOf(nodeId))).toEqual({ status: 401, code: 'node_not_enrolled' });
    expect(await keys()).not.toContain(`node:${nodeId}`);
  });

  it('leaves a used code that is worth nothing to another', async () => {
    const thief = await EnrolledNode.create(system, 'thief', '127.0.0.3');
    const { code: exit, stderr } = await thief.enrol(code);
    expect(exit).toBe(1);
    expect(stderr).toMatch(/was used/);
    expect(await readdir(join(thief.dataDirectory, 'tunnel'))).not.toContain('tunnel.json');
  });

  it('is enrolled by an operator who names the key that it has', async () => {
    const fingerprint = (await nodeNow()).enrolment?.public_key_fingerprint ?? '';
    const other = `SHA256:${'A'.repeat(43)}`;
    expect(await client.problem('POST', `/nodes/${nodeId}/approve`, { public_key_fingerprint: other })).toMatchObject({
      status: 409,
      code: 'fingerprint_mismatch',
    });
    for (let time = 0; time < 2; time++) {
      expect((await system.api('POST', `/nodes/${nodeId}/approve`, { public_key_fingerprint: fingerprint })).status).toBe(200);
    }
    expect(await keys()).toContain(`node:${nodeId}`);
    await untilState('reachable');
  });

  it('backs its VMs up through the tunnel, in full and then what has changed', async () => {
    await client.registerVm('web1', vm.folder, nodeId);
    const full = await client.backUp('web1', repository, 'full');
    await vm.write('disk0.qcow2', 1024 * 1024, 65_536);
    const copy = (await vm.copyTo(join(system.directory, 'copies'))).get('disk0.qcow2') ?? '';
    const incremental = await client.backUp('web1', repository, 'incremental');
    expect(incremental.parent_backup_id).toBe(full.backup_id);
    // The node's own word came through the tunnel, and is known to be its own.
    const { events } = (await system.api<{ events: unknown[] }>('GET', `/audit/events?actor=node:${nodeId}&limit=1`)).body;
    expect(events).toHaveLength(1);
    await requireSameContent(copy, incremental.disk_results[0]?.qcow2_path ?? '');
  });

  it('speaks of its own jobs only, and others do not speak of them', async () => {
    const [backup] = (await system.api<{ backups: { backup_id: string }[] }>('GET', '/backups?limit=1')).body.backups;
    const path = `/telemetry/backup/${backup?.backup_id ?? ''}`;
    const own = reportOf(backup?.backup_id ?? '');
    expect(await signedCall(await node.token(), nodeId, path, { ...own, from_a_newer_node: true })).toMatchObject({ status: 204 });
    expect(await signedCall(await node.token(), nodeId, path, { ...own, disks: [] })).toEqual({ status: 400, code: 'validation_failed' });
    const shared = readFileSync(join(system.dataDirectory, 'node.token'), 'utf8').trim();
    expect(await signedCall(shared, null, path, reportOf(backup?.backup_id ?? ''))).toEqual({ status: 403, code: 'not_your_job' });
    expect(await signedCall(shared, nodeId, path, reportOf(backup?.backup_id ?? ''))).toEqual({ status: 401, code: 'signature_invalid' });
    const local = await ImageVm.create(join(system.imageRoot, 'beside'), [{ file: 'disk0.qcow2', mib: 4 }]);
    const nodes = (await system.api<{ nodes: NodeResponse[] }>('GET', '/nodes')).body.nodes;
    await client.registerVm('beside', local.folder, nodes.find(({ name }) => name === 'local')?.node_id);
    const ofLocal = await client.backUp('beside', repository, 'full');
    expect(await signedCall(await node.token(), nodeId, `/telemetry/backup/${ofLocal.backup_id}`, reportOf(ofLocal.backup_id))).toEqual({
      status: 403,
      code: 'not_your_job',
    });
  });

  inLongProof(() => {
    it('gets a new key and a new token in mid-transfer, and the old ones count no more', async () => {
      const old = { token: await node.token(), fingerprint: (await nodeNow()).enrolment?.public_key_fingerprint };
      const slowly = { vm_name: 'web1', repository_id: repository, backup_type: 'full', bandwidth_limit_bps: 300_000 };
      const { backup_id } = (await system.api<{ backup_id: string }>('POST', '/backups', slowly)).body;
      await until('the transfer to be under way', async () => (await client.eventTypes(backup_id)).includes('SnapshotTaken'));
      const { status, body } = await system.api<RotatedKeysDto>('POST', `/nodes/${nodeId}/rotate-keys`, {});
      expect({ status, completed: body.completed }).toEqual({ status: 200, completed: true });
      expect(body.public_key_fingerprint).not.toBe(old.fingerprint);
      expect(await node.token()).not.toBe(old.token);
      expect((await keys()).match(new RegExp(`node:${nodeId}`, 'g'))).toHaveLength(1);
      expect(await signedCall(old.token, nodeId, `/telemetry/backup/${nodeId}`, reportOf(nodeId))).toEqual({ status: 401, code: 'signature_invalid' });
      await until('one token to be left at the hub', async () => (await readdir(join(system.dataDirectory, 'node-tokens'))).length === 1);
      const after = await client.atRest(backup_id);
      expect(after).toMatchObject({ status: 'completed', error: null });
      await requireSameContent((await vm.copyTo(join(system.directory, 'copies'))).get('disk0.qcow2') ?? '', after.disk_results[0]?.qcow2_path ?? '');
    });
  });

  inLongProof(() => {
    it('is known to a hub that was killed, has lost its file of keys and has other ports, and follows it there', async () => {
      const settings = async (): Promise<TunnelSettings> => parseTunnelSettings(await readFile(join(node.dataDirectory, 'tunnel/tunnel.json'), 'utf8'));
      const before = await settings();
      const first = await freePortRange(4);
      await system.kill('SIGKILL');
      await rm(keysFile());
      await system.start({ SENDENSE_LISTEN_PORT: String(first), SENDENSE_NBD_PORT_FIRST: String(first + 1), SENDENSE_NBD_PORT_COUNT: '3' });
      await until('the node to know the new ports', async () => (await settings()).hub_api_port === first, 120_000);
      // For the node's own programs the hub is where it was.
      expect(await settings()).toEqual({
        ...before,
        hub_api_port: first,
        nbd_port_first: first + 1,
        nbd_port_count: 3,
        hub_api_local_port: before.hub_api_port,
      });
      // Not before: until the node knew them its connections led nowhere.
      const told = (await stat(join(node.dataDirectory, 'tunnel/tunnel.json'))).mtimeMs;
      await until(
        'the tunnel to be up',
        async () => {
          const { state, tunnel } = await nodeNow();
          return state === 'reachable' && tunnel?.state === 'up' && Date.parse(tunnel.since ?? '') > told;
        },
        120_000,
      );
      const followed = await client.backUp('web1', repository, 'incremental');
      expect(followed).toMatchObject({ status: 'completed', error: null });
      expect(followed.disk_results[0]?.nbd_port).toBeGreaterThan(first);
      await until('its key to be let in', async () => (await keys()).includes(`node:${nodeId}`));
      await until('the node to be called', async () => (await system.api('POST', `/nodes/${nodeId}/discover`, {})).status === 200);
    });
  });

  inLongProof(() => {
    it('is not replaced by a program that takes its port while its tunnel is down', async () => {
      await node.stop();
      const heard: string[] = [];
      const squatter = createServer((request, response) => {
        heard.push(JSON.stringify(request.headers));
        const health = { status: 'ok', node_id: nodeId, version: '0.1.0', time: new Date().toISOString(), active_jobs: 0 };
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(health));
      });
      await until(
        'the port to be free',
        () => new Promise<boolean>((done) => squatter.once('error', () => done(false)).listen(reversePort, '127.0.0.1', () => done(true))),
      );
      try {
        await until('the squatter to be found out', async () => (await nodeNow()).error?.code === 'node_not_proven');
        expect(heard.length).toBeGreaterThan(0);
        expect(heard.join()).not.toContain(await node.token());
      } finally {
        squatter.closeAllConnections();
        await new Promise((done) => squatter.close(done));
      }
      node.start();
      await untilState('reachable');
    });
  });

  it('is cut off at once when it is removed, and its VMs stay', async () => {
    const token = await node.token();
    expect((await system.api('DELETE', `/nodes/${nodeId}`)).status).toBe(204);
    expect(await keys()).not.toContain(nodeId);
    await until('its port to be free', async () => !(await accepts(reversePort)));
    expect(await signedCall(token, nodeId, `/telemetry/backup/${nodeId}`, reportOf(nodeId))).toEqual({ status: 401, code: 'node_revoked' });
    expect(await until('the node to be revoked', async () => ((await nodeNow()).state === 'revoked' ? nodeNow() : null))).toMatchObject({
      enrolment: { state: 'revoked' },
    });
    expect(await client.refused('web1', repository, 'auto')).toMatchObject({ code: 'node_revoked' });
    expect(await client.problem('DELETE', `/nodes/${nodeId}`)).toMatchObject({ status: 409, code: 'node_in_use' });
    expect(await client.problem('POST', `/nodes/${nodeId}/rotate-keys`, {})).toMatchObject({ status: 409, code: 'node_revoked' });
    await until('its token to be removed', async () => (await readdir(join(system.dataDirectory, 'node-tokens'))).length === 0);
  });

  it('may be enrolled anew under its name, and has its VMs again', async () => {
    await node.stop();
    const { body } = await system.api<RegisteredNodeDto>('POST', '/nodes', { name: 'rack-1' });
    expect(body.node_id).toBe(nodeId);
    const refused = await node.enrol(body.pairing_code ?? '');
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('--again') });
    const { stdout } = await node.enrol(body.pairing_code ?? '', '--again');
    const { public_key_fingerprint } = JSON.parse(stdout) as EnrolOutcome;
    expect((await system.api('POST', `/nodes/${nodeId}/approve`, { public_key_fingerprint })).status).toBe(200);
    node.start();
    await untilState('reachable');
    await client.backUp('web1', repository, 'incremental');
    await node.stop();
  });
});

describe('docs/enrolment.md', () => {
  it('has commands that work, in their order', async () => {
    const ninth = await EnrolledNode.create(system, 'ninth', '127.0.0.9');
    const page = await readFile(resolve(import.meta.dirname, '../../docs/enrolment.md'), 'utf8');
    const blocks = [...page.matchAll(/^```sh (hub|node)\n([\s\S]*?)^```$/gm)].map(([, where, commands]) => ({ where, commands: commands ?? '' }));
    expect(blocks.map(({ where }) => where)).toEqual(['hub', 'node', 'hub', 'hub', 'hub']);
    const [offer, enrol, approve, rotate, remove] = blocks.map(({ commands }) => commands);
    const env = { HUB: system.url(), TOKEN: readFileSync(join(system.dataDirectory, 'api.token'), 'utf8').trim() };
    const inFolder = (...commands: readonly (string | undefined)[]): Promise<string> =>
      runScript(commands.join('\n'), ninth.directory, { ...ninth.env, ...env });

    await inFolder(offer, 'echo "$NODE_ID" > id.txt');
    const id = (await readFile(join(ninth.directory, 'id.txt'), 'utf8')).trim();
    expect(await inFolder(enrol)).toContain((await untilState('awaiting_approval', id)).enrolment?.public_key_fingerprint ?? 'none');
    const definitions = (offer ?? '').split('\n').slice(0, 4).join('\n');
    const fingerprint = (await nodeNow(id)).enrolment?.public_key_fingerprint ?? '';
    const known = `${definitions}\nNODE_ID=${id}\nFINGERPRINT=${fingerprint}`;
    expect(await inFolder(known, approve)).toContain(fingerprint);
    // On this one machine the node cannot have its end of the ports where the hub has its own.
    const settings = join(ninth.dataDirectory, 'tunnel', 'tunnel.json');
    await writeFile(settings, (await readFile(settings, 'utf8')).replace('"local_host": "127.0.0.1"', '"local_host": "127.0.0.9"'));
    ninth.start();
    await untilState('reachable', id);
    expect(await inFolder(known, rotate)).toContain('"completed":true');
    await inFolder(known, remove);
    // The read model follows the command, for which a caller of its own does not wait.
    await until('the node to be gone', async () => (await system.api('GET', `/nodes/${id}`)).status === 404);
    await ninth.stop();
    await server.stop();
  });
});

async function accepts(port: number): Promise<boolean> {
  try {
    await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(1_000) });
    return true;
  } catch {
    return false;
  }
}
