import { text } from 'node:stream/consumers';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { HubApi } from './hub-api.client.js';

let server: Server;
let hub: HubApi;
let answers: ((request: IncomingMessage, response: ServerResponse) => void)[];
let seen: IncomingMessage[];

beforeEach(async () => {
  answers = [];
  seen = [];
  server = createServer((request, response) => {
    seen.push(request);
    answers.shift()?.(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // Of a server that listens on TCP.
  hub = new HubApi(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, 'a-token');
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const json = (status: number, body: object) => (_: IncomingMessage, response: ServerResponse) => {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
};
const lost = (request: IncomingMessage): void => void request.socket.destroy();
const silent = (): void => undefined;

describe("the client of the hub's API", () => {
  it('shows its token and returns the body, or null without one', async () => {
    answers.push(json(200, { vms: [] }), (_, response) => response.writeHead(204).end());
    expect(await hub.call('GET', '/vms')).toEqual({ vms: [] });
    expect(await hub.call('DELETE', '/vms/1')).toBeNull();
    expect(seen.map(({ url, headers }) => [url, headers.authorization])).toEqual([
      ['/api/v1/vms', 'Bearer a-token'],
      ['/api/v1/vms/1', 'Bearer a-token'],
    ]);
  });

  it('reports a refusal with status, code and detail, also of something that is not a hub', async () => {
    answers.push(json(409, { code: 'vm_busy', detail: 'The VM is being backed up.' }), (_, response) => response.writeHead(502).end('<html>'));
    await expect(hub.call('GET', '/vms')).rejects.toMatchObject({ status: 409, code: 'vm_busy', message: 'The VM is being backed up.' });
    await expect(hub.call('GET', '/vms')).rejects.toMatchObject({ status: 502, code: 'unknown', message: 'status 502: <html>' });
  });

  it('passes on what it downloads, and ends with an error if that breaks off or is refused', async () => {
    const broken = (_: IncomingMessage, response: ServerResponse): void => {
      response.writeHead(200, { 'content-length': '10' });
      response.write('half.', () => response.destroy());
    };
    answers.push(
      (_, response) => response.writeHead(200, { 'content-length': '5' }).end('whole'),
      broken,
      json(410, { code: 'mount_expired', detail: 'It is gone.' }),
    );
    expect(await text(await hub.download('/restore/1/download'))).toBe('whole');
    expect(seen[0]?.headers.authorization).toBe('Bearer a-token');
    await expect(hub.download('/restore/1/download').then(text)).rejects.toThrow();
    await expect(hub.download('/restore/1/download')).rejects.toMatchObject({ status: 410, code: 'mount_expired', message: 'It is gone.' });
  });

  it('asks about the past, and reports once which instant the first answer stands for', async () => {
    const instants: object[] = [];
    const past = new HubApi(hub.url, 'a-token', { asOf: '2026-11-21T10:30:00Z', onAnswer: (instant) => instants.push(instant) });
    const answer = (_: IncomingMessage, response: ServerResponse): void =>
      void response.writeHead(200, { 'as-of-time': '2026-11-21T10:30:00.000Z', 'as-of-position': '0000000000000000042' }).end('{}');
    answers.push(answer, answer);
    await past.call('GET', '/vms');
    await past.call('GET', '/vms?limit=5');
    expect(seen.map(({ url }) => url)).toEqual(['/api/v1/vms?as_of=2026-11-21T10%3A30%3A00Z', '/api/v1/vms?limit=5&as_of=2026-11-21T10%3A30%3A00Z']);
    expect(instants).toEqual([{ time: '2026-11-21T10:30:00.000Z', position: '0000000000000000042' }]);
  });

  it('sends a POST whose answer was lost once more, under the same key, and another POST under another key', async () => {
    answers.push(lost, json(201, { backup_id: 'b' }), json(201, {}));
    expect(await hub.call('POST', '/backups', { vm_name: 'a' })).toEqual({ backup_id: 'b' });
    await hub.call('POST', '/backups', { vm_name: 'a' });
    const [first, again, other] = seen.map(({ headers }) => headers['idempotency-key']);
    expect(first).toMatch(/^[0-9a-f-]{36}$/);
    expect([again === first, other === first]).toEqual([true, false]);
  });

  it('gives up when the answer is lost twice, when nobody answers in time, and when nothing listens', async () => {
    answers.push(lost, lost, silent);
    await expect(hub.call('POST', '/backups', {})).rejects.toThrow(/^nothing answers at http.*: /);
    await expect(hub.call('POST', '/backups', {}, 200)).rejects.toThrow('no answer within 0.2 s');
    expect(seen).toHaveLength(3);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await expect(hub.call('GET', '/vms')).rejects.toThrow(/^nothing answers at http.*: connect ECONNREFUSED/);
  });

  it('reads until it sees the end, or loses its patience', async () => {
    answers.push(json(200, { n: 1 }), json(200, { n: 2 }), json(200, { n: 3 }), json(200, { n: 3 }));
    expect(await hub.until('/jobs/1', ({ n }: { n: number }) => n === 2, { patienceMs: 5_000 })).toEqual({ n: 2 });
    await expect(hub.until('/jobs/1', () => false, { patienceMs: 0 })).rejects.toThrow('GET /jobs/1 does not show an end after 0 s');
  });
});
