import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import { BackupClient, filesBelow, type Problem } from '../support/backup-client.js';
import { HubSystem, until } from '../support/hub-system.js';
import { ImageVm } from '../support/image-vm.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';

jest.setTimeout(120_000);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo');
const NOBODY = '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11';

let database: TestDatabase;
let system: HubSystem;
let client: BackupClient;
let repository: string;
let vmId: string;
let vm: ImageVm;
let bitmaps: string[];
let files: Record<string, string>;
let eventCount: number;
let full: string;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl });
  await system.start();
  client = new BackupClient(system);
  repository = await client.createRepository('main', system.repositoryPath);
  vm = await ImageVm.create(join(system.imageRoot, 'vm'), [{ file: 'disk0.qcow2', mib: 8 }]);
  vmId = await client.registerVm('vm', vm.folder);
  full = (await client.backUp('vm', repository, 'full')).backup_id;
  const other = await ImageVm.create(join(system.imageRoot, 'other'), [{ file: 'disk0.qcow2', mib: 8 }]);
  const otherId = await client.registerVm('never backed up', other.folder);
  bitmaps = await vm.bitmaps('disk0.qcow2');
  files = await filesBelow(system.directory);
  // The audit log is a read model: it may not show yet what the commands above recorded.
  await until('the audit log to show the last registration', async () => (await events()).includes(`VmRegistered of vm-${otherId}`));
  eventCount = (await events()).length;
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

/** Without the events of nodes, whose health is looked at whatever is asked. */
async function events(): Promise<string[]> {
  const { body } = await system.api<{ events: { type: string; stream: string }[] }>('GET', '/audit/events?limit=1000&order=oldest_first');
  return body.events.filter(({ stream }) => !stream.startsWith('node-')).map(({ type, stream }) => `${type} of ${stream}`);
}

function rulesOf(problem: Problem): unknown {
  return (problem['errors'] as { field: string; rule: string }[]).map(({ field }) => field);
}

describe('a request to back up', () => {
  it('names a VM and a repository that exist', async () => {
    expect(await client.refused('nobody', repository, 'full')).toMatchObject({
      status: 404,
      code: 'vm_not_found',
      detail: expect.stringContaining('"nobody"'),
    });
    expect(await client.problem('POST', '/backups', { vm_id: NOBODY, repository_id: repository, backup_type: 'full' })).toMatchObject({
      status: 404,
      code: 'vm_not_found',
    });
    expect(await client.refused('vm', NOBODY, 'full')).toMatchObject({ status: 404, code: 'repository_not_found', detail: expect.stringContaining(NOBODY) });
    const withPolicy = { vm_name: 'vm', repository_id: repository, backup_type: 'full', policy_id: NOBODY };
    expect(await client.problem('POST', '/backups', withPolicy)).toMatchObject({
      status: 404,
      code: 'policy_not_found',
      detail: expect.stringContaining(NOBODY),
    });
  });

  it('is told every field that is missing, of the wrong type or unknown, all at once', async () => {
    const missing = await client.problem('POST', '/backups', {});
    expect({ ...missing, fields: rulesOf(missing) }).toMatchObject({ status: 400, code: 'validation_failed', fields: ['repository_id', 'backup_type'] });
    const wrong = await client.problem('POST', '/backups', { vm_name: 7, repository_id: ['a'], backup_type: 'differential', disk_id: 0 });
    expect(wrong).toMatchObject({ status: 400, code: 'validation_failed' });
    expect(new Set(rulesOf(wrong) as string[])).toEqual(new Set(['vm_name', 'repository_id', 'backup_type', 'disk_id']));
    expect(wrong.detail).toMatch(/disk_id.*should not exist/);
    for (const body of [{}, { vm_name: 'vm', vm_id: vmId }]) {
      expect(await client.problem('POST', '/backups', { ...body, repository_id: repository, backup_type: 'full' })).toMatchObject({
        status: 400,
        code: 'vm_ambiguous',
      });
    }
  });

  it.each([[[]], ['text'], [null]])('has a JSON object as its body, not %j', async (body) => {
    const answer = await raw(JSON.stringify(body), 'application/json');
    expect(answer).toMatchObject({ status: 400 });
  });

  it('has a body that is JSON and says so', async () => {
    expect(await raw('{"vm_name": ', 'application/json')).toMatchObject({ status: 400, code: expect.stringMatching(/json|body/) });
    expect(await raw('vm_name=vm', 'application/x-www-form-urlencoded')).toMatchObject({ status: 415, code: 'unsupported_media_type' });
    expect(await raw(JSON.stringify({ vm_name: 'x'.repeat(3_000_000) }), 'application/json')).toMatchObject({ status: 413, code: 'body_too_large' });
  });

  async function raw(body: string, type: string): Promise<Problem> {
    const token = (await readFile(join(system.dataDirectory, 'api.token'), 'utf8')).trim();
    const answer = await fetch(`${system.url()}/api/v1/backups`, { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': type }, body });
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
    return (await answer.json()) as Problem;
  }
});

describe('a name', () => {
  const illegal = [
    ['a slash', 'a/b'],
    ['a backslash', 'a\\b'],
    ['two dots', '..'],
    ['a way out', '../../etc/passwd'],
    ['NUL', 'a\0b'],
    ['a line break', 'a\nb'],
    ['a shell command', '$(reboot)'],
    ['a pipe', 'a | b; c'],
    ['300 characters', 'x'.repeat(300)],
    ['nothing', ''],
    ['a space at its end', 'a '],
    ['half a surrogate pair', 'a\ud800'],
  ] as const;

  it.each(illegal)('with %s is refused for a VM', async (_what, name) => {
    const problem = await client.problem('POST', '/vms', { name, source: 'image', source_ref: vm.folder });
    expect(problem.status).toBe(400);
    expect(['vm_name_invalid', 'validation_failed']).toContain(problem.code);
    expect(problem.detail).toMatch(/name/i);
  });

  it.each(illegal)('with %s finds no VM to back up', async (_what, name) => {
    const problem = await client.refused(name, repository, 'full');
    expect([400, 404]).toContain(problem.status);
  });

  it.each([
    ['NUL', 'a\0b'],
    ['a line break', 'a\nb'],
    ['300 characters', 'x'.repeat(300)],
    ['nothing', ''],
  ])('with %s is refused for a repository and a node', async (_what, name) => {
    expect(await client.problem('POST', '/repositories', { name, type: 'local', path: join(system.directory, 'images') })).toMatchObject({
      status: 400,
      code: 'validation_failed',
    });
    expect(await client.problem('POST', '/nodes', { name, url: 'http://127.0.0.1:1' })).toMatchObject({ status: 400, code: 'validation_failed' });
  });

  it.each(['../../etc', 'relative', '/etc', '/nowhere/at all', '/a\0b', '/a\nb'])(
    'of a VM folder that leads out of the image roots is refused: %j',
    async (sourceRef) => {
      const problem = await client.problem('POST', '/vms', { name: 'astray', source: 'image', source_ref: sourceRef });
      expect([400, 404]).toContain(problem.status);
      expect(['validation_failed', 'vm_not_found_at_node']).toContain(problem.code);
    },
  );
});

describe('an id in a path', () => {
  it.each(['/backups/x', '/backups/..%2F..%2Fetc%2Fpasswd', '/backups/%00', '/vms/a%0Ab', '/repositories/$(id)', '/nodes/%F0'])(
    'that is none is refused: %s',
    async (path) => {
      expect([400, 404]).toContain((await client.problem('GET', path)).status);
    },
  );

  it.each(['/backups', '/vms', '/repositories', '/nodes'])('that nobody has is not found below %s', async (path) => {
    expect(await client.problem('GET', `${path}/${NOBODY}`)).toMatchObject({ status: 404, detail: expect.stringContaining(NOBODY) });
    expect(await client.problem('DELETE', `${path}/${NOBODY}`)).toMatchObject({ status: 404 });
  });

  it.each([
    '/backups?limit=0',
    '/backups?limit=x',
    '/backups?status=odd',
    '/backups?cursor=x',
    '/backups?since=yesterday',
    '/backups?unknown=1',
    `/backups/${NOBODY}?as_of=now`,
    '/backups/chain',
    '/backups/changeid?vm_name=vm&disk_id=-1',
  ])('or a query that breaks a rule is refused: %s', async (path) => {
    expect((await client.problem('GET', path)).status).toBe(400);
  });
});

describe('a repository', () => {
  it.each([
    ['missing', '/nowhere/at/all', 400, 'repository_path_missing'],
    ['a file', '/etc/passwd', 400, 'repository_path_not_a_directory'],
    ['inside of another one', 'repository', 409, 'repository_overlaps'],
    ['where nobody can write', '/proc', 400, 'repository_not_writable'],
  ])('cannot be made where its path is %s, as a test without saving says too', async (_what, path, status, code) => {
    const where = path.startsWith('/') ? path : system.repositoryPath;
    const problem = await client.problem('POST', '/repositories', { name: 'other', type: 'local', path: where });
    expect(problem).toMatchObject({ status, code, detail: expect.stringContaining(where) });
    expect((await system.api('POST', '/repositories/test', { type: 'local', path: where })).body).toMatchObject({ ok: false });
  });
});

describe('an incremental', () => {
  it('without a base is refused with the reason, and what to ask for instead', async () => {
    expect(await client.refused('never backed up', repository, 'incremental')).toMatchObject({
      status: 409,
      code: 'incremental_impossible',
      reason: 'first_backup',
      detail: expect.stringMatching(/"never backed up".*no restore point.*Ask for "auto" or "full"/),
    });
    expect(await client.problem('GET', '/backups/chain?vm_name=never%20backed%20up')).toMatchObject({ status: 404, code: 'chain_not_found' });
  });
});

describe('all that was refused', () => {
  it('has left no trace: no event, no file, no bitmap; and the next backup is what it would have been', async () => {
    expect((await events()).slice(eventCount)).toEqual([]);
    const now = await filesBelow(system.directory);
    const ours = (path: string): boolean => path.startsWith('images') || path.startsWith('repository');
    expect(Object.entries(now).filter(([path]) => ours(path))).toEqual(Object.entries(files).filter(([path]) => ours(path)));
    expect(await vm.bitmaps('disk0.qcow2')).toEqual(bitmaps);
    await client.requireNothingHeld();
    expect(await client.backUp('vm', repository, 'incremental')).toMatchObject({ parent_backup_id: full });
  });
});
