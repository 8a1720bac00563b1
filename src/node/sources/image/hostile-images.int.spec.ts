import { mkdir, mkdtemp, open, readFile, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, jest } from '@jest/globals';
import { hostileFiles, qcow2Image, vmdkDescriptor } from '../../../../test/support/hostile-images.js';
import { times } from '../../../../test/support/long-proof.js';
import { OpenCanary } from '../../../../test/support/open-canary.js';
import { requireTools } from '../../../../test/support/require-tools.js';
import { Clock } from '../../../lib/clock/clock.js';
import { NodeConfig } from '../../node.config.js';
import { NbdInfo } from '../../../lib/nbd/nbd-info.js';
import type { NodeVm } from '../../../contract/vm-list.js';
import type { StartOptions } from '../../../lib/process/process-supervisor.port.js';
import { runTool } from '../../../lib/process/run-tool.js';
import { ShellProcessSupervisor } from '../../../lib/process/shell-process-supervisor.js';
import { QemuImg } from '../../../lib/qemu/qemu-img.js';
import { fullCopy } from '../../transfers/transfer.plan.js';
import { ImageServers } from '../image-servers.js';
import { ImageSource } from './image.source.js';

jest.setTimeout(1_800_000);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'nbdcopy', 'perl');
const MIB = 1024 * 1024;
const SECRET = 'root:$6$this-line-belongs-to-the-host:1:0:99999:7:::\n';
const TUNING = { connections: 1, requests: 8, requestSize: 65_536 };

/** Runs a hook right before a server starts, when all checks have passed. */
class LateSupervisor extends ShellProcessSupervisor {
  before: () => Promise<void> = () => Promise.resolve();

  override async start(runDirectory: string, argv: readonly [string, ...string[]], options?: StartOptions): Promise<void> {
    await this.before();
    await super.start(runDirectory, argv, options);
  }
}

let home: string;
let canary: OpenCanary;
/** Another VM's disk that must not be opened either, set by the test that uses one. */
let neighbour: OpenCanary | null = null;
let vm: string;
let victim: string;
let supervisor: LateSupervisor;
let source: ImageSource;
let config: NodeConfig;
let snapshots = 0;

beforeAll(async () => {
  home = await realpath(await mkdtemp(join(tmpdir(), 'sendense-hostile-')));
  canary = await OpenCanary.create(join(home, 'host-secret.raw'), SECRET.repeat(2 * 1024));
});
afterAll(async () => {
  canary.stop();
  await rm(home, { recursive: true, force: true });
});

beforeEach(async () => {
  const root = join(home, 'images');
  [vm, victim] = [join(root, 'vm'), join(root, 'victim')];
  for (const folder of [vm, victim]) await mkdir(folder, { recursive: true });
  await writeFile(join(victim, 'disk0.raw'), Buffer.alloc(MIB, SECRET));
  config = Object.assign(new NodeConfig(), { imageRoots: [root], imageTemplates: [] });
  supervisor = new LateSupervisor();
  const qemuImg = new QemuImg();
  source = new ImageSource(config, new Clock(), qemuImg, new ImageServers(qemuImg, new NbdInfo(), supervisor));
});
afterEach(async () => {
  neighbour?.stop();
  await rm(join(home, 'images'), { recursive: true, force: true });
});

const put = (name: string, content: Buffer | string): Promise<void> => writeFile(join(vm, name), content);

async function problems(): Promise<Readonly<Record<string, string | null>>> {
  const { disks } = await source.describe(vm);
  return Object.fromEntries(disks.map(({ disk_key, problem }) => [disk_key, problem?.code ?? null]));
}

/** The disks' content as a hub receives it: through their servers, and from the program that reads the images directly. */
async function contents(disks: NodeVm['disks'], work: () => Promise<void> = () => Promise.resolve()): Promise<readonly Buffer[]> {
  const directory = join(home, 'run', `snapshot-${++snapshots}`);
  const request = {
    sourceRef: vm,
    disks: disks.map(({ disk_key, size_bytes }) => ({ diskKey: disk_key, sizeBytes: size_bytes, parentChangeId: null })),
    changeId: `sendense-6f0d2b0e-${snapshots}`,
    directory,
    quiesce: 'none' as const,
  };
  try {
    const { standing } = await source.takeSnapshot(request);
    const copies: Buffer[] = [];
    for (const disk of standing.disks) {
      await runTool(['nbdcopy', disk.uri, join(home, 'copy.raw')]);
      copies.push(await readFile(join(home, 'copy.raw')));
      const { argv } = fullCopy(disk, join(home, 'copy.raw'), TUNING);
      // In place of the hub's export, this test writes to a file of its own.
      await runTool(argv.filter((word) => word !== '-n' && word !== '--target-is-zero') as [string, ...string[]]);
      copies.push(await readFile(join(home, 'copy.raw')));
    }
    await work();
    await source.verifySnapshot(vm, standing);
    return copies;
  } finally {
    await source.releaseSnapshot(directory);
  }
}

async function backup(): Promise<readonly Buffer[]> {
  return contents((await source.describe(vm)).disks);
}

describe('an image that names a file of the host', () => {
  it.each([
    ['by its absolute path', () => qcow2Image({ backingName: canary.path, backingFormat: 'raw' })],
    ['by a relative path', () => qcow2Image({ backingName: '../../host-secret.raw', backingFormat: 'raw' })],
    ['without a format', () => qcow2Image({ backingName: canary.path })],
    ['as JSON', () => qcow2Image({ backingName: `json:{"driver":"raw","file":{"driver":"file","filename":"${canary.path}"}}`, backingFormat: 'raw' })],
  ])('%s is refused, and the file is not opened', async (_how, image) => {
    const before = canary.openings;
    await put('disk0.qcow2', image());
    expect(['backing_file_refused', 'format_unsupported']).toContain((await problems())['disk0.qcow2']);
    await expect(backup()).rejects.toMatchObject({ code: expect.stringMatching(/^(backing_file_refused|format_unsupported)$/) });
    expect(canary.openings).toBe(before);
  });

  it('through a VMDK in a raw disk is refused, and the file is not opened', async () => {
    const before = canary.openings;
    await put('disk1.raw', vmdkDescriptor(canary.path).padEnd(65_536, '\n'));
    await put('disk0.img', qcow2Image({ backingName: 'disk1.raw', backingFormat: 'vmdk', sizeBytes: 65_536 }));
    expect(await problems()).toMatchObject({ 'disk0.img': 'format_unsupported' });
    await put('disk0.qcow2', qcow2Image({ backingName: 'disk1.raw', backingFormat: 'vmdk', sizeBytes: 65_536 }));
    await rm(join(vm, 'disk0.img'));
    expect(await problems()).toMatchObject({ 'disk0.qcow2': 'backing_file_refused' });
    expect(canary.openings).toBe(before);
  });

  it('as its data file is refused, and the file is not opened', async () => {
    const before = canary.openings;
    await put('disk0.qcow2', qcow2Image({ dataFile: canary.path }));
    await put('disk1.qcow2', qcow2Image({ backingName: 'base.qcow2', backingFormat: 'qcow2' }));
    await put('base.qcow2', qcow2Image({ dataFile: canary.path }));
    expect(await problems()).toEqual({ 'disk0.qcow2': 'format_unsupported', 'disk1.qcow2': 'backing_file_refused' });
    expect(canary.openings).toBe(before);
  });
});

describe('an image that names a disk of another VM', () => {
  it('is refused, even as a symbolic link', async () => {
    await put('disk0.qcow2', qcow2Image({ backingName: '../victim/disk0.raw', backingFormat: 'raw' }));
    await symlink('../victim/disk0.raw', join(vm, 'disk1.raw'));
    expect(await problems()).toEqual({ 'disk0.qcow2': 'backing_file_refused', 'disk1.raw': 'disk_outside_root' });
  });

  it('in the header that a guest has written to its raw disk is refused, with the remedy', async () => {
    await put('disk0.img', qcow2Image({ backingName: '../victim/disk0.raw', backingFormat: 'raw' }));
    const [disk] = (await source.describe(vm)).disks;
    expect(disk).toMatchObject({ format: 'raw', problem: { code: 'format_unsupported', detail: expect.stringContaining('name it "disk0.raw"') } });
    await rename(join(vm, 'disk0.img'), join(vm, 'disk0.raw'));
    expect((await backup())[0]).toEqual(await readFile(join(vm, 'disk0.raw')));
  });
});

describe('a backing file', () => {
  it('is read if it is in the same folder, or a template', async () => {
    await mkdir(join(home, 'templates'), { recursive: true });
    await writeFile(join(home, 'templates', 'debian.img'), Buffer.alloc(MIB, 'template '));
    await put('disk0.qcow2', qcow2Image({ backingName: 'base.qcow2', backingFormat: 'qcow2' }));
    await put('base.qcow2', qcow2Image({ backingName: '../../templates/debian.img', backingFormat: 'raw' }));
    expect(await problems()).toEqual({ 'disk0.qcow2': 'backing_file_refused' });
    for (const templates of [[join(home, 'templates')], [join(home, 'templates/debian.img'), '/nowhere']]) {
      Object.assign(config, { imageTemplates: templates });
      expect(await problems()).toEqual({ 'disk0.qcow2': null });
      for (const copy of await backup()) expect(copy.equals(Buffer.alloc(MIB, 'template '))).toBe(true);
    }
  });

  it('has the format that its name indicates, whatever the header above it says', async () => {
    await put('disk0.qcow2', qcow2Image({ backingName: 'base.raw', backingFormat: 'qcow2' }));
    await put('base.raw', qcow2Image({ backingName: '../victim/disk0.raw', backingFormat: 'raw' }));
    await put('disk1.qcow2', qcow2Image({ backingName: 'base', backingFormat: 'raw' }));
    await put('base', 'x'.repeat(65_536));
    expect(await problems()).toMatchObject({ 'disk0.qcow2': 'backing_file_refused', 'disk1.qcow2': 'backing_file_refused' });
  });
});

describe('a disk that is replaced after it was checked', () => {
  it('by a symbolic link: the checked file is served, and the backup fails', async () => {
    await put('disk0.raw', Buffer.alloc(MIB, 'own '));
    supervisor.before = async () => {
      await rename(join(vm, 'disk0.raw'), join(vm, 'aside'));
      await symlink(join(victim, 'disk0.raw'), join(vm, 'disk0.raw'));
      supervisor.before = () => Promise.resolve();
    };
    const seen: (readonly Buffer[])[] = [];
    const { disks } = await source.describe(vm);
    await expect(contents(disks).then((copies) => seen.push(copies))).rejects.toMatchObject({ code: 'source_changed' });
    // Even if it is put back before the end, the copy contains nothing of the other VM.
    await rm(join(vm, 'disk0.raw'));
    await rename(join(vm, 'aside'), join(vm, 'disk0.raw'));
    supervisor.before = async () => {
      await rename(vm, join(home, 'images', 'aside'));
      await symlink(victim, vm);
      supervisor.before = () => Promise.resolve();
    };
    const putBack = async (): Promise<void> => {
      await rm(vm);
      await rename(join(home, 'images', 'aside'), vm);
    };
    for (const copy of await contents(disks, putBack)) expect(copy.equals(Buffer.alloc(MIB, 'own '))).toBe(true);
  });

  it('in place, by an image with external data: is refused before anything is read', async () => {
    await put('disk0.qcow2', qcow2Image());
    supervisor.before = async () => {
      const file = await open(join(vm, 'disk0.qcow2'), 'r+');
      await file.write(qcow2Image({ dataFile: join(victim, 'disk0.raw') }), 0, 4096, 0);
      await file.close();
    };
    const { disks } = await source.describe(vm);
    await expect(contents(disks)).rejects.toMatchObject({ code: 'source_changed', message: expect.stringContaining('victim/disk0.raw') });
  });

  it('and whose change time is set back: the backup fails', async () => {
    await put('disk0.raw', Buffer.alloc(MIB, 'own '));
    const { disks } = await source.describe(vm);
    const changed = async (): Promise<void> => {
      const file = await open(join(vm, 'disk0.raw'), 'r+');
      const { atime, mtime } = await file.stat();
      await file.write('other');
      await file.utimes(atime, mtime);
      await file.close();
    };
    await expect(contents(disks, changed)).rejects.toMatchObject({ code: 'source_changed' });
  });
});

describe('headers made at random', () => {
  it('open no file outside the VM', async () => {
    const variants = times(6, 1_000);
    neighbour = await OpenCanary.create(join(victim, 'disk0.raw'), SECRET.repeat(2 * 1024));
    const forbidden = [
      { outside: canary.path, relative: '../../host-secret.raw' },
      { outside: neighbour.path, relative: '../victim/disk0.raw' },
    ];
    const before = canary.openings;
    const outcomes = new Map<string, number>();
    for (let seed = 1; seed <= variants; seed++) {
      await rm(vm, { recursive: true, force: true });
      await mkdir(vm);
      for (const file of hostileFiles(seed, forbidden)) {
        await ('link' in file ? symlink(file.link, join(vm, file.name)) : put(file.name, file.content));
      }
      const disks = await withoutRefused();
      // Raw disks have no headers.
      const outcome = disks.some(({ format }) => format === 'qcow2') ? await contents(disks).then(isolated, codeOf) : 'refused';
      expect({ seed, opened: [canary.openings - before, neighbour.openings] }).toEqual({ seed, opened: [0, 0] });
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    expect([...outcomes.keys()]).not.toContain('the secret is in the copy');
    // Otherwise the test proves nothing.
    expect(outcomes.get('copied') ?? 0).toBeGreaterThan(variants / 20);
    expect(outcomes.get('refused') ?? 0).toBeGreaterThan(variants / 10);
  });
});

/** The disks without refused ones, so that the others are tested although such a VM is not backed up. */
async function withoutRefused(): Promise<NodeVm['disks']> {
  for (;;) {
    const { disks } = await source.describe(vm);
    const refused = disks.filter(({ problem, size_bytes }) => problem !== null || size_bytes > 16 * MIB);
    if (refused.length === 0) return disks;
    for (const { disk_key } of refused) await rm(join(vm, disk_key));
  }
}

function isolated(copies: readonly Buffer[]): string {
  return copies.some((copy) => copy.includes('belongs-to-the-host')) ? 'the secret is in the copy' : 'copied';
}

function codeOf(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string') return error.code;
  throw error;
}
