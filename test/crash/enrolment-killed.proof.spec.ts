import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { NodeResponse } from '../../src/hub/nodes/nodes/model/node.response.js';
import type { RegisteredNodeDto } from '../../src/hub/nodes/nodes/register-node/register-node.dto.js';
import { EnrolledNode, enrolmentSettings, startTunnelServer } from '../support/enrolled-node.js';
import { HubSystem, until } from '../support/hub-system.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';

jest.setTimeout(240_000);
const { describe, it } = requireTools('ssh', 'sshd', 'ssh-keygen');

let database: TestDatabase;
let system: HubSystem;
let node: EnrolledNode;
/** Names the append at which the hub kills itself; absent in between. */
let failpointFile: string;
let nodeId = '';
let code = '';

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  const env = { ...(await enrolmentSettings()), SENDENSE_START_LOCAL_NODE: 'false', SENDENSE_LISTEN_PORT: '0' };
  system = await HubSystem.create({ databaseUrl: database.databaseUrl, env });
  failpointFile = join(system.directory, 'failpoint');
  await startTunnelServer(system);
  await launch();
  node = await EnrolledNode.create(system, 'far', '127.0.0.4');
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

const keys = (): Promise<string> => readFile(join(system.dataDirectory, 'tunnel', 'authorized_keys'), 'utf8');
const tokens = (): Promise<string[]> => readdir(join(system.dataDirectory, 'node-tokens'));

function launch(): Promise<void> {
  return system.launch({ SENDENSE_FAILPOINT: `file:${failpointFile}` });
}

/** Has the hub kill itself at that event, does what leads there, and starts the hub again. */
async function killed(failpoint: string, deed: () => Promise<unknown>): Promise<void> {
  await writeFile(failpointFile, failpoint);
  await deed().catch(() => undefined);
  await system.ended();
  await rm(failpointFile);
  await launch();
}

async function nodeNow(): Promise<NodeResponse> {
  return (await system.api<NodeResponse>('GET', `/nodes/${nodeId}`)).body;
}

async function untilNode(what: string, holds: (found: NodeResponse) => boolean): Promise<NodeResponse> {
  return until(`the node to be ${what}`, async () => {
    const found = await nodeNow();
    return holds(found) ? found : null;
  });
}

describe('a hub that is killed', () => {
  it('right after a pairing code was recorded can have its node removed and a new code made', async () => {
    await killed('after:NodeEnrolmentStarted:1', () => system.api('POST', '/nodes', { name: 'rack-0' }));
    const [lost] = (await system.api<{ nodes: NodeResponse[] }>('GET', '/nodes')).body.nodes;
    expect(lost).toMatchObject({ name: 'rack-0', state: 'pairing' });
    await until('the code to open the door', async () => (await keys()).includes(`pairing:${lost?.node_id ?? ''}`));
    expect((await system.api('DELETE', `/nodes/${lost?.node_id ?? ''}`)).status).toBe(204);
    expect(await keys()).toBe('');
  });

  it('before it has recorded a pairing lets the node pair with the same code', async () => {
    const { body } = await system.api<RegisteredNodeDto>('POST', '/nodes', { name: 'rack-1' });
    nodeId = body.node_id;
    code = body.pairing_code ?? '';
    await killed('before:NodePaired:1', () => node.enrol(code));
    expect((await nodeNow()).state).toBe('pairing');
    await until('the code to open the door', async () => (await keys()).includes(`pairing:${nodeId}`));
    const { code: exit, stderr } = await node.enrol(code);
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
    expect(await tokens()).toHaveLength(1);
  });

  it('after it has recorded a pairing gives the node its answer when it asks again', async () => {
    expect((await system.api('DELETE', `/nodes/${nodeId}`)).status).toBe(204);
    const { body } = await system.api<RegisteredNodeDto>('POST', '/nodes', { name: 'rack-1' });
    nodeId = body.node_id;
    await killed('after:NodePaired:1', () => node.enrol(body.pairing_code ?? '', '--again'));
    expect((await nodeNow()).state).toBe('awaiting_approval');
    const { code: exit, stderr } = await node.enrol(body.pairing_code ?? '', '--again');
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
  });

  it('between the approval and the file of keys lets the node in at its next start', async () => {
    node.start();
    const public_key_fingerprint = (await nodeNow()).enrolment?.public_key_fingerprint ?? '';
    expect(await keys()).not.toContain(`node:${nodeId}`);
    await killed('after:NodeEnrolled:1', () => system.api('POST', `/nodes/${nodeId}/approve`, { public_key_fingerprint }));
    await until('its key to be let in', async () => (await keys()).includes(`node:${nodeId}`));
    await untilNode('reachable', ({ state }) => state === 'reachable');
  });

  const rotation = async (failpoint: string): Promise<void> => {
    const before = (await nodeNow()).enrolment?.public_key_fingerprint;
    await killed(failpoint, () => system.api('POST', `/nodes/${nodeId}/rotate-keys`, {}));
    const after = await untilNode('known by its new key', ({ enrolment }) => enrolment?.rotating === false && enrolment.public_key_fingerprint !== before);
    expect(after.enrolment?.public_key_fingerprint).not.toBe(before);
    await until('one key and one token to be left', async () => (await tokens()).length === 1 && (await keys()).split('\n').length === 2);
    await until('the node to be called', async () => (await system.api('POST', `/nodes/${nodeId}/discover`, {})).status === 200);
  };

  it('before it has recorded that new keys are in use goes on with the rotation', async () => {
    await rotation('before:NodeKeyRotated:1');
  });

  it.each(['after:NodeKeyRotationStarted:1', 'after:NodeKeyRotated:1'])('%s goes on with the rotation', async (failpoint) => {
    await rotation(failpoint);
  });

  it('between the revocation and the file of keys cuts the node off at its next start', async () => {
    expect((await nodeNow()).enrolment?.state).toBe('enrolled');
    await killed('after:NodeRevoked:1', () => system.api('DELETE', `/nodes/${nodeId}`));
    await until('its key to be gone', async () => !(await keys()).includes(nodeId));
    expect((await system.api('GET', `/nodes/${nodeId}`)).status).toBe(404);
    await until('the tunnel to be cut', async () => /permission denied|key_refused|not accept/i.test(await node.log()));
    await node.stop();
  });
});
