import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { NodeResponse } from '../../src/hub/nodes/nodes/model/node.response.js';
import type { RegisteredNodeDto } from '../../src/hub/nodes/nodes/register-node/register-node.dto.js';
import type { CheckResult } from '../../src/cli/validate/model/check.plan.js';
import { runCommand } from '../../src/cli/terminal/command.js';
import { validateCommand } from '../../src/cli/validate/validate.program.js';
import { BackupClient } from '../support/backup-client.js';
import { EnrolledNode, enrolmentSettings, type EnrolOutcome, startTunnelServer } from '../support/enrolled-node.js';
import { freePortRange } from '../support/free-ports.js';
import { HubSystem, signalPid, until } from '../support/hub-system.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';

jest.setTimeout(240_000);
const { describe, it } = requireTools('ssh', 'sshd', 'ssh-keygen', 'qemu-img', 'qemu-nbd', 'nbdcopy', 'nbdinfo');
const PORTS = 8;
const LOCAL_HOST = '127.0.0.4';

let database: TestDatabase;
let system: HubSystem;
let client: BackupClient;
let node: EnrolledNode;
let firstPort: number;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  firstPort = await freePortRange(PORTS + 1);
  const env = { ...(await enrolmentSettings()), SENDENSE_START_LOCAL_NODE: 'false', SENDENSE_NBD_PORT_FIRST: String(firstPort), SENDENSE_NBD_PORT_COUNT: '' };
  system = await HubSystem.create({ databaseUrl: database.databaseUrl, env });
  await writeFile(hubFile(), `nbd_port_count: ${PORTS}\n`);
  await system.launch({ SENDENSE_CONFIG: hubFile() });
  client = new BackupClient(system);
  await client.createRepository('main', system.repositoryPath);
  await startTunnelServer(system);
  node = await EnrolledNode.create(system, 'far', LOCAL_HOST);
  const { node_id: nodeId, pairing_code: code } = (await system.api<RegisteredNodeDto>('POST', '/nodes', { name: 'far' })).body;
  const { stdout } = await node.enrol(code ?? '');
  const { public_key_fingerprint } = JSON.parse(stdout) as EnrolOutcome;
  expect((await system.api('POST', `/nodes/${nodeId}/approve`, { public_key_fingerprint })).status).toBe(200);
  node.start();
  await until('the node to be reachable', async () => (await system.api<NodeResponse>('GET', `/nodes/${nodeId}`)).body.state === 'reachable');
  await until('the tunnel to be up', async () => (await atNode()).get('tunnel_state')?.status === 'pass');
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

function hubFile(): string {
  return join(system.directory, 'hub.yaml');
}

async function checks(argv: readonly string[], environment: Readonly<Record<string, string>>): Promise<ReadonlyMap<string, CheckResult>> {
  let text = '';
  const print = (more: string): void => void (text += more);
  await runCommand(validateCommand({ environment, print, signal: new AbortController().signal }), [...argv, '--json']);
  return new Map((JSON.parse(text) as { checks: CheckResult[] }).checks.map((check) => [check.id, check]));
}

function atNode(...argv: readonly string[]): Promise<ReadonlyMap<string, CheckResult>> {
  return checks(['--role', 'node', ...argv], node.env);
}

function atHub(): Promise<ReadonlyMap<string, CheckResult>> {
  return checks(['--role', 'hub', '--config', hubFile()], system.settings);
}

function wrong(found: ReadonlyMap<string, CheckResult>): readonly string[] {
  return [...found.values()].filter(({ status }) => status === 'fail').map(({ id, detail }) => `${id}: ${detail}`);
}

const withToken = (): readonly string[] => ['--token-file', join(system.dataDirectory, 'api.token')];

describe('sendense validate, with a tunnel between hub and node', () => {
  it('tries it from both ends, down to a backup and its restore through it', async () => {
    const found = await atNode(...withToken(), '--repository', 'main');
    expect(wrong(found)).toEqual([]);
    for (const id of ['hub_link', 'node_access', 'tunnel_keys', 'tunnel_state', 'tunnel_ports', 'trial_backup', 'trial_restore', 'trial_removal']) {
      expect({ id, ...found.get(id) }).toMatchObject({ id, status: 'pass' });
    }
    expect(found.get('throughput')).toMatchObject({ title: 'throughput of NBD through the tunnel', detail: expect.stringMatching(/ a second$/) });
    const hub = await atHub();
    expect(wrong(hub)).toEqual([]);
    for (const id of ['nodes', 'tunnels', 'tunnel_server', 'node_clocks']) expect({ id, ...hub.get(id) }).toMatchObject({ id, status: 'pass' });
    await client.requireNothingHeld();
  });

  it('sees that the tunnel follows a pool that has grown, and that it does not when somebody has altered its settings', async () => {
    const file = join(node.dataDirectory, 'tunnel', 'tunnel.json');
    const [before, after] = [`"nbd_port_count": ${PORTS}`, `"nbd_port_count": ${PORTS + 1}`];
    const grown = async (): Promise<boolean> => (await readFile(file, 'utf8')).includes(`${after},`);
    const check = async (): Promise<CheckResult | undefined> => (await atNode(...withToken(), '--no-trial')).get('tunnel_ports');
    const keys = (): Promise<string> => readFile(join(system.dataDirectory, 'tunnel', 'authorized_keys'), 'utf8');
    expect([await grown(), (await keys()).includes(`:${firstPort + PORTS}"`)]).toEqual([false, false]);
    await writeFile(hubFile(), `nbd_port_count: ${PORTS + 1}\n`);
    signalPid(system.hubPid, 'SIGHUP');
    await until('the key to be let use the new port', async () => (await keys()).includes(`:${firstPort + PORTS}"`));
    await until('the node to follow', grown);
    await until('the tunnel to bring the new port', async () => (await check())?.status === 'pass');

    await writeFile(file, (await readFile(file, 'utf8')).replace(after, before));
    const range = `${firstPort} to ${firstPort + PORTS}`;
    // The tunnel replaces its connections for the altered settings; until then a check may find ports between the old and the new ones.
    await until('the check to name the range', async () => (await check())?.detail.includes(range) === true);
    expect(await check()).toMatchObject({ status: 'fail', detail: expect.stringContaining(range), remedy: expect.stringContaining('nbd_port_count') });
    await writeFile(file, (await readFile(file, 'utf8')).replace(before, after));
    await until('the tunnel to bring the port again', async () => (await check())?.status === 'pass');
  });

  it('sees from both ends that the tunnel is gone', async () => {
    await node.stop();
    const found = await atNode();
    for (const id of ['hub_link', 'tunnel_state', 'tunnel_ports', 'node_service']) expect({ id, ...found.get(id) }).toMatchObject({ id, status: 'fail' });
    expect((await atHub()).get('tunnels')).toMatchObject({ status: 'fail', detail: expect.stringContaining('"far" does not answer through its tunnel') });
  });
});
