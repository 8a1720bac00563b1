import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Server as TcpServer, type Socket } from 'node:net';
import { proofOf } from '../../../../test/support/proven-answers.js';
import { Clock } from '../../../lib/clock/clock.js';
import { HubConfig } from '../../hub.config.js';
import type { NodeJobDisk, NodeJobReport, NodeStartBackup } from '../../../contract/backup-job.js';
import type { NodeDisk, NodeVm, NodeVmList } from '../../../contract/vm-list.js';
import { NodeCredentials } from '../../../lib/signed-calls/node-credentials.js';
import { isSignedWith, parseSignature } from '../../../lib/signed-calls/call-signature.js';
import { MAX_ANSWER_BYTES, NodeClient } from './node-client.js';

const TOKEN = 'node-token-of-the-test';
const TIMEOUT_MS = 300;
const credentials = new NodeCredentials();
const client = clientWaiting(30_000);
const impatient = clientWaiting(TIMEOUT_MS);

function clientWaiting(nodeRequestTimeoutMs: number): NodeClient {
  return new NodeClient(Object.assign(new HubConfig(), { nodeRequestTimeoutMs }), { apiToken: 'api', nodeToken: TOKEN }, credentials, new Clock());
}

const HEALTH = { status: 'ok', node_id: 'node-1', version: '0.1.0', time: '2026-11-21T10:15:00.000Z', active_jobs: 0 };
const DISK: NodeDisk = {
  disk_id: 0,
  disk_key: 'disk0.qcow2',
  size_bytes: 1024,
  format: 'qcow2',
  path: '/images/pg/disk0.qcow2',
  change_tracking: true,
  change_ids: ['sendense-1'],
  broken_change_ids: [],
  problem: null,
};
const VM: NodeVm = { name: 'pg', source: 'image', source_ref: '/images/pg test ü', disks: [DISK] };
const VMS: NodeVmList = { vms: [VM] };
const JOB_DISK: NodeJobDisk = { disk_key: 'disk0.qcow2', status: 'running', bytes_transferred: 1, total_bytes: 2, change_id: null, error: null };
const REPORT: NodeJobReport = {
  job_id: 'job-1',
  status: 'running',
  current_phase: 'transfer',
  instant: '2026-11-21T10:15:00.000Z',
  snapshot_released: false,
  bytes_transferred: 1,
  total_bytes: 2,
  transfer_speed_bps: 1.5,
  eta_seconds: null,
  progress_percent: 50,
  disks: [JOB_DISK],
  error: null,
  sequence: 3,
  timestamp: '2026-11-21T10:15:01.000Z',
};
const START: NodeStartBackup = {
  job_id: 'job-1',
  hub_id: 'hub-1',
  vm: { vm_id: 'vm-1', name: 'pg', source: 'image', source_ref: '/images/pg' },
  nbd_targets_string: 'disk0.qcow2:nbd://127.0.0.1:10100/x',
  disks: [{ disk_key: 'disk0.qcow2', size_bytes: 1024, parent_change_id: null }],
};

let server: Server;
let answer: RequestListener;
let url: string;
let seen: { method: string; url: string; authorization: string; body: string }[];
beforeEach(async () => {
  seen = [];
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method = '', url: path = '' } = request;
      seen.push({ method, url: path, authorization: request.headers.authorization ?? '', body: Buffer.concat(chunks).toString() });
      answer(request, response);
    });
  });
  url = await listen(server);
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

async function listen(target: Server | TcpServer): Promise<string> {
  await new Promise<void>((resolve) => target.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(target.address() as AddressInfo).port}`; // a TCP server's address is never a pipe's name
}

function answering(status: number, body: unknown, type = 'application/json'): void {
  answer = (request, response) => {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    response.writeHead(status, { 'content-type': type, ...proofOf(request, TOKEN, status, text) });
    response.end(text);
  };
}

describe('a node that answers correctly', () => {
  it('is called at the right routes, with requests signed by a token that is never sent', async () => {
    answering(200, HEALTH);
    expect(await client.health(url)).toEqual(HEALTH);
    answering(200, VMS);
    expect(await client.listVms(url, { source: 'image', source_ref: '/images/pg test ü' })).toEqual(VMS);
    answering(202, REPORT);
    expect(await client.startBackup(url, START)).toEqual(REPORT);
    expect(await client.getJob(url, 'job-1')).toEqual(REPORT);
    answering(200, { settled: true });
    await client.settle(url, 'job-1', { hub_id: 'hub-1', outcome: 'committed', vm: { source: 'image', source_ref: '/images/pg' }, keep_change_ids: [] });

    expect(seen.map((call) => `${call.method} ${call.url}`)).toEqual([
      'GET /api/v1/health',
      'GET /api/v1/vms?source_ref=%2Fimages%2Fpg%20test%20%C3%BC&source=image',
      'POST /api/v1/backup/start',
      'GET /api/v1/backup/job-1',
      'POST /api/v1/backup/job-1/settle',
    ]);
    for (const call of seen) {
      const signature = parseSignature(call.authorization);
      if (signature === null || signature === 'malformed') throw new Error(`not signed: ${call.authorization}`);
      expect(isSignedWith(TOKEN, { direction: 'to_node', method: call.method, path: call.url, body: call.body }, signature)).toBe(true);
      expect(isSignedWith(TOKEN, { direction: 'to_node', method: call.method, path: call.url, body: `${call.body} ` }, signature)).toBe(false);
    }
    expect(JSON.stringify(seen)).not.toContain(TOKEN);
    expect(JSON.parse(seen[2]?.body ?? '')).toEqual(START);
  });

  it('may send members that this hub does not know', async () => {
    answering(200, { ...HEALTH, mood: 'good' });
    expect(await client.health(url)).toEqual(HEALTH);
    answering(200, { ...REPORT, mood: 'good' });
    expect(await client.getJob(url, 'job-1')).toEqual(REPORT);
  });

  it('yields null for a job that it does not know', async () => {
    answering(404, { code: 'job_not_found', detail: 'There is no job job-1.' }, 'application/problem+json');
    expect(await client.getJob(url, 'job-1')).toBeNull();
  });

  it.each([
    [400, 'invalid'],
    [404, 'not_found'],
    [409, 'conflict'],
    [422, 'unprocessable'],
    [503, 'unavailable'],
    [507, 'storage_full'],
  ])('has its refusal with status %i passed on with its own code', async (status, kind) => {
    answering(status, { code: 'disk_in_use', detail: 'disk0.qcow2 is open.' }, 'application/problem+json');
    await expect(client.startBackup(url, START)).rejects.toMatchObject({ kind, code: 'disk_in_use', message: 'disk0.qcow2 is open.' });
  });

  it('that refuses the token is reported without revealing the token', async () => {
    answering(401, { code: 'token_invalid', detail: 'no' });
    const error: unknown = await client.health(url).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ kind: 'upstream_broken', code: 'node_refused_token' });
    expect(JSON.stringify([error, String(error)])).not.toContain(TOKEN);
  });
});

describe("a program that listens at a node's address without the node's token", () => {
  it.each([
    ['with an answer as a node would give it', HEALTH, 200],
    ['with a refusal', { code: 'job_not_found', detail: 'There is none.' }, 404],
  ])('is not believed %s', async (_, body, status) => {
    const text = JSON.stringify(body);
    for (const token of [null, 'another-token']) {
      answer = (request, response) => {
        response.writeHead(status, { 'content-type': 'application/json', ...(token === null ? {} : proofOf(request, token, status, text)) }).end(text);
      };
      await expect(client.health(url)).rejects.toMatchObject({ kind: 'upstream_broken', code: 'node_not_proven' });
    }
  });

  it('is not believed when it replays an answer to another call', async () => {
    let given: Record<string, string> = {};
    answer = (request, response) => {
      given = proofOf(request, TOKEN, 200, JSON.stringify(HEALTH));
      response.writeHead(200, { 'content-type': 'application/json', ...given }).end(JSON.stringify(HEALTH));
    };
    await client.health(url);
    answer = (_, response) => response.writeHead(200, { 'content-type': 'application/json', ...given }).end(JSON.stringify(HEALTH));
    await expect(client.health(url)).rejects.toMatchObject({ code: 'node_not_proven' });
  });

  it('is not called while the node is not enrolled or is revoked', async () => {
    answering(200, HEALTH);
    for (const [status, code] of [
      ['revoked', 'node_revoked'],
      ['not_enrolled_yet', 'node_not_enrolled'],
    ] as const) {
      credentials.replace([{ nodeId: 'node-1', url, status, send: null, accept: [] }]);
      await expect(client.health(url)).rejects.toMatchObject({ kind: 'conflict', code });
    }
    credentials.replace([]);
    expect(seen).toEqual([]);
  });
});

describe('an invalid answer is reported as node_broken_answer', () => {
  const nonsense = async (call: () => Promise<unknown>, message: string): Promise<void> => {
    await expect(call()).rejects.toMatchObject({ kind: 'upstream_broken', code: 'node_broken_answer', message: expect.stringContaining(message) });
  };

  it('HTML', async () => {
    answering(200, '<html>Welcome to nginx</html>', 'text/html');
    await nonsense(() => client.health(url), 'not JSON (text/html)');
    answering(404, '<html>404</html>', 'text/html');
    await nonsense(() => client.getJob(url, 'job-1'), 'its 404 answer is not JSON');
  });

  it('another service without this route', async () => {
    answering(404, { code: 'route_not_found', detail: 'There is no route.' });
    await expect(client.getJob(url, 'job-1')).rejects.toMatchObject({ code: 'route_not_found' });
  });

  it.each([
    ['an empty object', {}, 'status is missing'],
    ['null', null, 'the message must be an object'],
    ['a list', [], 'the message must be an object'],
    ['a hostile node id', { ...HEALTH, node_id: '../x' }, 'node_id must be a node id'],
    ['a negative count', { ...HEALTH, active_jobs: -1 }, 'active_jobs must not be less than 0'],
  ])('health as %s', async (_, body, message) => {
    answering(200, body);
    await nonsense(() => client.health(url), message);
  });

  it.each([
    ['no list', { vms: {} }, 'vms must be an array'],
    ['a disk without size', { vms: [{ ...VM, disks: [{ disk_id: 0, disk_key: 'x' }] }] }, 'vms.0.disks.0.size_bytes is missing'],
    ['one disk twice', { vms: [{ ...VM, disks: [DISK, DISK] }] }, 'vms.0.disks must not contain the same disk_key twice'],
  ])('VMs with %s', async (_, body, message) => {
    answering(200, body);
    await nonsense(() => client.listVms(url), message);
  });

  it.each([
    ['an unknown status', { ...REPORT, status: 'exploded' }, 'status must be one of the following values: starting, running'],
    ['no sequence', { ...REPORT, sequence: undefined }, 'sequence is missing'],
    ['more than everything', { ...REPORT, progress_percent: 101 }, 'progress_percent'],
    ['a broken disk', { ...REPORT, disks: [{ ...JOB_DISK, bytes_transferred: '1' }] }, 'disks.0.bytes_transferred'],
    ['an error without code', { ...REPORT, error: { detail: 'x' } }, 'error.code'],
    ['an error that is text', { ...REPORT, error: 'boom' }, 'error'],
    ['an error left out', { ...REPORT, error: undefined }, 'error'],
    ['an instant left out', { ...REPORT, instant: undefined }, 'instant'],
    ['another job', { ...REPORT, job_id: 'job-2' }, 'it reports job job-2 instead of job-1'],
  ])('a job report with %s', async (_, body, message) => {
    answering(200, body);
    await nonsense(() => client.getJob(url, 'job-1'), message);
  });

  it('an internal error, and a redirect, which is not followed', async () => {
    answering(500, { code: 'internal_error', detail: 'See the log.' });
    await nonsense(() => client.getJob(url, 'job-1'), 'it answered 500 internal_error');
    answer = (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end();
    await nonsense(() => client.health(url), 'its 302 answer is not JSON');
    expect(seen).toHaveLength(2);
  });

  it('settled is not true', async () => {
    answering(200, { settled: 'yes' });
    const body = { hub_id: 'h', outcome: 'discarded', vm: { source: 'image', source_ref: '/x' }, keep_change_ids: [] } as const;
    await nonsense(() => client.settle(url, 'job-1', body), 'settled must be one of the following values: true');
  });

  it('an endless answer', async () => {
    answer = (_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end('['.repeat(MAX_ANSWER_BYTES + 1));
    };
    await nonsense(() => client.health(url), `exceeds ${MAX_ANSWER_BYTES} bytes`);
  });

  it('a truncated answer', async () => {
    answer = (_, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
      response.write('{"status":');
      setImmediate(() => response.destroy());
    };
    await nonsense(() => client.health(url), 'cut short');
  });
});

describe('a peer that is not an HTTP server', () => {
  const sockets = new Set<Socket>();
  let tcp: TcpServer;
  let greet: (socket: Socket) => void;
  let tcpUrl: string;
  beforeEach(async () => {
    tcp = createTcpServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
      greet(socket);
    });
    tcpUrl = await listen(tcp);
  });
  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => tcp.close(resolve));
  });

  it('is broken when it speaks another protocol', async () => {
    greet = (socket) => socket.once('data', () => socket.end('SSH-2.0-OpenSSH_9.2\r\n\r\n'));
    await expect(client.health(tcpUrl)).rejects.toMatchObject({ code: 'node_broken_answer', message: expect.stringContaining('does not speak HTTP') });
  });

  it('is silent when it sends nothing, or nothing after the headers', async () => {
    greet = () => undefined;
    await expect(impatient.health(tcpUrl)).rejects.toMatchObject({ kind: 'upstream_silent', code: 'node_silent', facts: { timeout_ms: TIMEOUT_MS } });
    answer = (_, response) => response.writeHead(200, { 'content-length': '10' }).flushHeaders();
    await expect(impatient.health(url)).rejects.toMatchObject({ kind: 'upstream_silent', code: 'node_silent' });
  });

  it('is unreachable when it closes the connection, and when nothing listens', async () => {
    greet = (socket) => socket.once('data', () => socket.destroy());
    await expect(client.health(tcpUrl)).rejects.toMatchObject({ kind: 'upstream_unreachable', code: 'node_unreachable' });
    const gone = createTcpServer();
    const goneUrl = await listen(gone);
    await new Promise((resolve) => gone.close(resolve));
    await expect(client.health(goneUrl)).rejects.toMatchObject({ code: 'node_unreachable', facts: { errno: 'ECONNREFUSED' } });
  });
});

it('a restarted node is reached at the first call even though the old connection was kept alive', async () => {
  answering(200, HEALTH);
  await client.health(url);
  const { port } = server.address() as AddressInfo; // as in listen
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  expect(await client.health(url)).toEqual(HEALTH);
});
