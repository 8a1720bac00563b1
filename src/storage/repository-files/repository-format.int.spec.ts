import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { chmod, cp, mkdir, mkdtemp, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, expect, jest } from '@jest/globals';
import { requireTools } from '../../../test/support/require-tools.js';
import { FORMAT_2, newSigner } from '../../../test/support/sealed-disks.js';
import { parseVerifier } from '../../lib/ledger/signed-note.js';
import { QemuImg } from '../../lib/qemu/qemu-img.js';
import { DIGEST_BLOCK_BYTES } from '../hashing/block-digests.js';
import { FileHasher } from '../hashing/file-hasher.js';
import { blocksFileOf, type Manifest } from './manifest.js';
import { ProvenFiles } from './proven-files.js';
import { RepositoryFiles } from './repository-files.js';
import { type PointVerdict, RestorePointVerifier, type VerifyOptions } from './restore-point-verifier.js';

jest.setTimeout(300_000);
const { describe, it } = requireTools('qemu-img', 'qemu-io', 'openssl', 'tar', 'jq');
const run = promisify(execFile);
const ROOT = resolve(import.meta.dirname, '../../..');
const GOLDEN = join(ROOT, 'test/golden-repository/format-1.tar.gz');
const MIB = 1024 * 1024;
const HUB = '33333333-3333-4333-8333-333333333333';
const AT = '2026-11-25T10:15:00.000Z';

const files = new RepositoryFiles();
const hasher = new FileHasher();
const verifier = new RestorePointVerifier(files, new QemuImg(), hasher, new ProvenFiles(null));
const signer = newSigner(HUB);

let pattern: string;
let root: string;
let repository: string;
/** Made by the version before, oldest first. */
let old: readonly [string, string];
let added: string;

beforeAll(async () => {
  pattern = await mkdtemp(join(tmpdir(), 'sendense-format-pattern-'));
  await run('tar', ['-C', pattern, '-xzf', GOLDEN]);
  const [full, incremental] = (await files.listRestorePoints(pattern)).map(({ folder }) => folder);
  old = [full ?? '', incremental ?? ''];
  added = await sealIncremental(pattern, incremental ?? '');
});
afterAll(async () => {
  hasher.onApplicationShutdown();
  await remove(pattern);
});
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'sendense-format-'));
  repository = join(root, 'repository');
  await cp(pattern, repository, { recursive: true, preserveTimestamps: true });
});
afterEach(() => remove(root));

async function remove(path: string): Promise<void> {
  await run('chmod', ['-R', 'u+rwX', path]);
  await rm(path, { recursive: true, force: true });
}

/** An incremental of this version on a restore point of the version before; its first disk has 9 MiB of changes. */
async function sealIncremental(path: string, parentFolder: string): Promise<string> {
  const parent = await files.readManifest(path, parentFolder);
  const backupId = randomUUID();
  const folder = `${dirname(parentFolder)}/${files.restorePointFolder(AT, 'incremental', backupId)}`;
  const partial = await files.createPartial(path, folder);
  const disks = [];
  for (const disk of parent.disks) {
    const file = join(partial, disk.file);
    const backing = `../${basename(parentFolder)}/${disk.file}`;
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-u', '-b', backing, '-F', 'qcow2', file, `${disk.virtual_size_bytes}`]);
    if (disk.disk_id === 0) await run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 67 2M 9M', file]);
    const blocks = { kind: 'write', path: join(partial, blocksFileOf(disk.file)) } as const;
    const { sha256, written } = await hasher.hashes({ path: file, content: null, blocks });
    if (written === null) throw new Error('no digests were written');
    const { size, mtimeNs } = await stat(file, { bigint: true });
    disks.push({
      ...disk,
      parent_change_id: disk.change_id ?? 'before',
      file_size_bytes: Number(size),
      sha256,
      mtime_ns: mtimeNs.toString(),
      backing_file: backing,
      blocks: { file: blocksFileOf(disk.file), block_bytes: DIGEST_BLOCK_BYTES, ...written },
    });
  }
  const manifest: Manifest = {
    ...parent,
    ...FORMAT_2,
    ...{ format_version: 2, hub_id: HUB, backup_id: backupId, backup_type: 'incremental', full_reason: null, started_at: AT, instant: AT, sealed_at: AT },
    parent: { backup_id: parent.backup_id, folder: parentFolder },
    disks,
  };
  await files.seal({ repositoryPath: path, folder, manifest, signer });
  return folder;
}

function verify(folder = added, options: VerifyOptions = {}): Promise<PointVerdict> {
  return verifier.verifyPoint(repository, folder, options);
}

const pathOf = (file: string): string => join(repository, added, file);

/** Changes one byte of a sealed file. */
async function flip(file: string, offset: number): Promise<void> {
  await chmod(pathOf(file), 0o644);
  const handle = await open(pathOf(file), 'r+');
  const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, offset);
  await handle.write(Buffer.of((buffer[0] ?? 0) ^ 0xff), 0, 1, offset);
  await handle.close();
}

async function replace(file: string, change: (text: string) => string): Promise<void> {
  const text = await readFile(pathOf(file), 'utf8');
  await chmod(dirname(pathOf(file)), 0o755);
  await rm(pathOf(file));
  await writeFile(pathOf(file), change(text));
}

describe('a restore point of the version before', () => {
  it('is verified, and says that nobody has signed it', async () => {
    for (const folder of old) {
      expect(await verify(folder, { keys: [parseVerifier(signer.key)] })).toMatchObject({
        findings: [],
        signature: { kind: 'unsigned' },
        manifest: { format_version: 1, signing_key: null, disks: [{ blocks: null }, { blocks: null }] },
      });
    }
  });

  it('is the base of an incremental of this version, and both are read as one disk', async () => {
    const verdicts = await verifier.verifyChain(repository, added);
    expect(verdicts.map(({ folder, findings, manifest }) => [folder, findings, manifest?.format_version])).toEqual([
      [added, [], 2],
      [old[1], [], 1],
      [old[0], [], 1],
    ]);
    const raw = join(root, 'disk0.raw');
    await run('qemu-img', ['convert', '-O', 'raw', pathOf('disk-0.qcow2'), raw]);
    const content = await readFile(raw);
    const bytes = [MIB, 2 * MIB, 4 * MIB, 11 * MIB - 1, 11 * MIB].map((at) => content[at]);
    expect(bytes).toEqual([65, 67, 67, 67, 0]);
  });

  it('is kept from programs of the version before, by the marker, once there is one of this version', async () => {
    const before = join(root, 'before');
    await mkdir(before);
    await run('tar', ['-C', before, '-xzf', GOLDEN, './.sendense-repository.json']);
    const marker = await files.readMarker(before);
    expect(marker).toMatchObject({ format_version: 1, role: 'primary' });
    expect(await files.readMarker(repository)).toEqual({ ...marker, format_version: 2 });
  });
});

describe('digests of blocks', () => {
  it('name the damaged range, wherever it is', async () => {
    const { size } = await stat(pathOf('disk-0.qcow2'));
    const last = Math.floor((size - 1) / DIGEST_BLOCK_BYTES);
    expect(last).toBeGreaterThanOrEqual(2);
    await flip('disk-0.qcow2', DIGEST_BLOCK_BYTES + 5);
    const second = { offset_bytes: DIGEST_BLOCK_BYTES, length_bytes: DIGEST_BLOCK_BYTES };
    const { findings } = await verify();
    expect(findings).toMatchObject([{ code: 'file_altered', ranges: [second] }]);
    expect(findings[0]?.detail).toContain(`was altered in the ${DIGEST_BLOCK_BYTES} bytes from byte ${DIGEST_BLOCK_BYTES}:`);
    await flip('disk-0.qcow2', size - 1);
    const end = last * DIGEST_BLOCK_BYTES;
    const ranges =
      last === 2 ? [{ offset_bytes: DIGEST_BLOCK_BYTES, length_bytes: size - DIGEST_BLOCK_BYTES }] : [second, { offset_bytes: end, length_bytes: size - end }];
    expect((await verify()).findings).toMatchObject([{ code: 'file_altered', ranges }]);
  });

  it.each([
    ['altered', (file: string) => flip(file, 40), 'its root is not the one in the manifest'],
    ['longer', (file: string) => chmod(pathOf(file), 0o644).then(() => writeFile(pathOf(file), 'more', { flag: 'a' })), 'bytes instead of'],
    ['missing', (file: string) => chmod(dirname(pathOf(file)), 0o755).then(() => rm(pathOf(file))), 'it cannot be opened: ENOENT'],
  ])('are damaged when they are %s, and name no range then', async (_what, damage, why) => {
    await damage('disk-0.qcow2.sha256-4m');
    expect((await verify()).findings).toMatchObject([{ code: 'digests_damaged', detail: expect.stringContaining(why), ranges: [] }]);
    await flip('disk-0.qcow2', 5 * MIB);
    expect((await verify()).findings).toMatchObject([{ code: 'file_altered', ranges: [] }]);
  });
});

describe('the signature of a manifest', () => {
  it('is by a given key, by a key that nobody has given, or by another one than those', async () => {
    const [own, other] = [signer, newSigner(HUB)].map(({ key }) => parseVerifier(key));
    if (own === undefined || other === undefined) throw new Error('no keys');
    expect(await verify(added, { keys: [other, own] })).toMatchObject({ findings: [], signature: { kind: 'trusted', key: signer.key } });
    expect(await verify()).toMatchObject({ findings: [], signature: { kind: 'unknown_key', key: signer.key } });
    expect((await verify(added, { keys: [other] })).findings).toMatchObject([
      { code: 'manifest_signature_invalid', detail: expect.stringContaining('is not one of the given keys') },
    ]);
  });

  it.each([
    ['another manifest', () => replace('manifest.json', (json) => json.replace('"source_ref": "', '"source_ref": "/else'))],
    ['a manifest with the key of another signer', () => replace('manifest.json', (json) => json.replace(signer.key, newSigner(HUB).key))],
    ['a manifest with the key of another hub', () => replace('manifest.json', (json) => json.replace(signer.key, newSigner('other').key))],
    ['no signature', () => chmod(dirname(pathOf('x')), 0o755).then(() => rm(pathOf('manifest.json.sig')))],
    ['another text', () => replace('manifest.json.sig', () => 'signed')],
  ])('is invalid for %s', async (_what, change) => {
    await change();
    expect(await verify()).toMatchObject({ findings: [{ code: 'manifest_signature_invalid' }], signature: { kind: 'invalid' } });
  });

  it('may be the next one, while a rewrite has replaced the manifest and not its signature yet', async () => {
    await replace('manifest.json', (json) => json.replace('"tiers": []', '"tiers": ["daily"]'));
    await writeFile(pathOf('manifest.json.sig.next'), signer.sign(await readFile(pathOf('manifest.json'), 'utf8')));
    expect(await verify()).toMatchObject({ findings: [], signature: { kind: 'unknown_key' }, manifest: { tiers: ['daily'] } });
    await rename(pathOf('manifest.json.sig.next'), pathOf('manifest.json.sig'));
    expect((await verify()).findings).toEqual([]);
  });
});

/** Commands of docs/repository-format.md, in the restore point's folder. */
describe('by hand', () => {
  let commands: readonly string[];
  beforeAll(async () => {
    const page = await readFile(join(ROOT, 'docs/repository-format.md'), 'utf8');
    const byHand = page.slice(page.indexOf('## By hand'), page.indexOf('## Version 1'));
    commands = [...byHand.matchAll(/```\n([^`]+)```/g)].map(([, block]) => block ?? '');
  });

  async function shell(containing: string): Promise<string> {
    const block = commands.find((text) => text.includes(containing)) ?? '';
    const lines = block
      .split('\n')
      .filter((line) => !line.startsWith('cd ') && !line.startsWith('KEY='))
      .join('\n')
      .replaceAll('/tmp/', `${root}/`);
    // cmp ends with 1 when files differ, and that is an answer.
    const script = join(root, 'by-hand.sh');
    await writeFile(script, `${lines.trim()} || true\n`);
    const { stdout } = await run('bash', [script], { cwd: join(repository, added), env: { ...process.env, KEY: signer.key } });
    return stdout;
  }

  it('sha256sum checks the files, and openssl the signature', async () => {
    expect(await shell('sha256sum --check')).toMatch(/^disk-0.qcow2: OK\ndisk-1.qcow2: OK\n/);
    expect(await shell('openssl pkeyutl')).toContain('Signature Verified Successfully');
    await replace('manifest.json', (json) => `${json} `);
    expect(await shell('openssl pkeyutl')).toContain('Signature Verification Failure');
  });

  it('cmp names the first damaged block', async () => {
    expect(await shell('cmp')).toBe('');
    await flip('disk-0.qcow2', DIGEST_BLOCK_BYTES + 5);
    const byte = Number(/byte (\d+)/.exec(await shell('cmp'))?.[1]);
    expect(Math.floor((byte - 1) / 32)).toBe(1);
  });

  it('the root is that of RFC 6962 over the digests', async () => {
    const blocks = (await verify()).manifest?.disks[0]?.blocks;
    const list = await readFile(pathOf(blocks?.file ?? ''));
    const sha256 = (...parts: readonly Buffer[]): Buffer => createHash('sha256').update(Buffer.concat(parts)).digest();
    const rootOf = (entries: readonly Buffer[]): Buffer => {
      const [only] = entries;
      if (entries.length === 1 && only !== undefined) return sha256(Buffer.of(0), only);
      let split = 1;
      while (split * 2 < entries.length) split *= 2;
      return sha256(Buffer.of(1), rootOf(entries.slice(0, split)), rootOf(entries.slice(split)));
    };
    const entries = Array.from({ length: list.length / 32 }, (_, index) => list.subarray(index * 32, (index + 1) * 32));
    expect(entries.length).toBeGreaterThan(2);
    expect(blocks?.root).toBe(rootOf(entries).toString('hex'));
  });
});
