import { mkdir, mkdtemp, open, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import { BareDomain } from '../../../../test/support/bare-domain.js';
import { hostileFiles, qcow2Image, vmdkDescriptor } from '../../../../test/support/hostile-images.js';
import { LibvirtHost } from '../../../../test/support/libvirt-host.js';
import { times } from '../../../../test/support/long-proof.js';
import { OpenCanary } from '../../../../test/support/open-canary.js';
import { requireLibvirt } from '../../../../test/support/require-tools.js';
import { Clock } from '../../../lib/clock/clock.js';
import { NodeConfig } from '../../node.config.js';
import { NbdInfo } from '../../../lib/nbd/nbd-info.js';
import { runTool } from '../../../lib/process/run-tool.js';
import { ShellProcessSupervisor } from '../../../lib/process/shell-process-supervisor.js';
import { QemuImg } from '../../../lib/qemu/qemu-img.js';
import { ImageServers } from '../image-servers.js';
import { LibvirtSource } from './libvirt.source.js';

jest.setTimeout(3_600_000);
const { describe, it, skipped } = requireLibvirt('qemu-img', 'qemu-nbd', 'nbdcopy', 'perl');
const MIB = 1024 * 1024;
const SECRET = 'this-belongs-to-the-host ';

let host: LibvirtHost;
let home: string;
let canary: OpenCanary;
let config: NodeConfig;
let source: LibvirtSource;
let domains = 0;

beforeAll(async () => {
  if (skipped !== null) return;
  host = await LibvirtHost.create();
  home = await realpath(await mkdtemp(join(tmpdir(), 'sendense-hostile-')));
  canary = await OpenCanary.create(join(home, 'secret.raw'), SECRET.repeat(4096));
  config = Object.assign(new NodeConfig(), { libvirtUri: host.uri, libvirtScratchDirectory: join(home, 'scratch'), imageTemplates: [join(home, 'templates')] });
  const [qemuImg, nbdInfo] = [new QemuImg(), new NbdInfo()];
  source = new LibvirtSource(config, qemuImg, new ImageServers(qemuImg, nbdInfo, new ShellProcessSupervisor()), nbdInfo, new Clock());
});
afterAll(async () => {
  if (skipped !== null) return;
  canary.stop();
  await host.destroy();
  await rm(home, { recursive: true, force: true });
});

async function domainWith(image: Buffer | null): Promise<BareDomain> {
  domains += 1;
  const domain = await BareDomain.create(host, `hostile${domains}`, `00000000-0000-4000-8000-${String(domains).padStart(12, '0')}`, [
    { target: 'vda', mib: 1 },
  ]);
  if (image !== null) await writeFile(domain.path('vda'), image);
  return domain;
}

async function problemOf(domain: BareDomain): Promise<string | null> {
  return (await source.describe(domain.uuid)).disks[0]?.problem?.code ?? null;
}

async function contentOf(domain: { readonly uuid: string }, sizeBytes = MIB, snapshot = domains): Promise<Buffer> {
  const directory = join(home, 'run', `snapshot-${snapshot}`);
  const changeId = `sendense-6f0d2b0e-${snapshot}`;
  try {
    const disks = [{ diskKey: 'vda', sizeBytes, parentChangeId: null }];
    const { standing } = await source.takeSnapshot({ sourceRef: domain.uuid, disks, changeId, directory, quiesce: 'none' });
    await runTool(['nbdcopy', standing.disks[0]?.uri ?? '', join(home, 'copy.raw')]);
    await source.verifySnapshot(domain.uuid, standing);
    return await readFile(join(home, 'copy.raw'));
  } finally {
    await source.releaseSnapshot(directory);
  }
}

describe('a powered-off domain whose image names a file of the host', () => {
  it.each([
    ['as its backing file', 'backing_file_refused', () => qcow2Image({ backingName: canary.path, backingFormat: 'raw' })],
    ['as its backing file, in JSON', 'format_unsupported', () => qcow2Image({ backingName: `json:{"driver":"raw","file":"${canary.path}"}` })],
    ['as its data file', 'format_unsupported', () => qcow2Image({ dataFile: canary.path })],
  ])('%s is refused, and the file is not opened', async (_how, code, image) => {
    const before = canary.openings;
    const domain = await domainWith(image());
    expect(await problemOf(domain)).toBe(code);
    await expect(contentOf(domain)).rejects.toMatchObject({ code });
    expect(canary.openings).toBe(before);
  });

  it('through a VMDK is refused, and the file is not opened', async () => {
    const before = canary.openings;
    const domain = await domainWith(null);
    const below = join(host.disks, 'descriptor.raw');
    await writeFile(below, vmdkDescriptor(canary.path).padEnd(65_536, '\n'));
    await writeFile(domain.path('vda'), qcow2Image({ backingName: below, backingFormat: 'vmdk' }));
    expect(await problemOf(domain)).toBe('backing_file_refused');
    expect(canary.openings).toBe(before);
  });

  it("is refused even if it is another domain's disk", async () => {
    const victim = await domainWith(null);
    const domain = await domainWith(qcow2Image({ backingName: victim.path('vda'), backingFormat: 'qcow2' }));
    expect(await problemOf(domain)).toBe('backing_file_refused');
  });
});

describe('headers made at random, of powered-off domains', () => {
  it('open no file outside the domain', async () => {
    const variants = times(5, 1_000);
    const folder = join(host.disks, 'random');
    await mkdir(folder);
    const neighbour = await OpenCanary.create(join(home, 'neighbour.raw'), SECRET.repeat(4096));
    const forbidden = [canary, neighbour].map(({ path }) => ({ outside: path, relative: relative(folder, path) }));
    const before = canary.openings;
    const outcomes = new Map<string, number>();
    // A disk alone, one whose definition names its backing file, and a raw one.
    const kinds = [
      await domainAt(folder, 'qcow2', ''),
      await domainAt(folder, 'qcow2', `<backingStore type='file'><format type='qcow2'/><source file='${folder}/parent.qcow2'/><backingStore/></backingStore>`),
      await domainAt(folder, 'raw', ''),
    ];
    try {
      for (let seed = 1; seed <= variants; seed++) {
        const { uuid } = kinds[seed % 8 === 0 ? 2 : seed % 2] ?? { uuid: '' };
        await rm(folder, { recursive: true });
        await mkdir(folder);
        for (const file of hostileFiles(seed, forbidden)) {
          const name = /^disk0\./.test(file.name) ? 'disk0' : file.name;
          await ('link' in file ? symlink(file.link, join(folder, name)) : writeFile(join(folder, name), file.content));
        }
        const [disk] = (await source.describe(uuid)).disks;
        const refused = disk === undefined || disk.problem !== null || disk.size_bytes === 0 || disk.size_bytes > 16 * MIB;
        const outcome = refused ? 'refused' : await contentOf({ uuid }, disk.size_bytes, seed).then(isolated, codeOf);
        expect({ seed, opened: [canary.openings - before, neighbour.openings] }).toEqual({ seed, opened: [0, 0] });
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      }
    } finally {
      neighbour.stop();
    }
    expect([...outcomes.keys()]).not.toContain('the secret is in the copy');
    // Otherwise the test proves nothing.
    expect(outcomes.get('copied') ?? 0).toBeGreaterThan(variants / 20);
    expect(outcomes.get('refused') ?? 0).toBeGreaterThan(variants / 10);
  });
});

async function domainAt(folder: string, format: 'qcow2' | 'raw', backing: string): Promise<{ readonly uuid: string }> {
  domains += 1;
  const uuid = `00000000-0000-4000-8000-${String(domains).padStart(12, '0')}`;
  const disk = `<disk type="file" device="disk"><driver name="qemu" type="${format}"/><source file="${folder}/disk0"/>${backing}<target dev="vda" bus="virtio"/></disk>`;
  await host.define(
    `<domain type="qemu"><name>random${domains}</name><uuid>${uuid}</uuid><memory unit="MiB">32</memory><vcpu>1</vcpu>` +
      `<os><type arch="x86_64" machine="q35">hvm</type></os><devices>${disk}</devices></domain>`,
  );
  return { uuid };
}

function isolated(copy: Buffer): string {
  return copy.includes(SECRET) ? 'the secret is in the copy' : 'copied';
}

function codeOf(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string') return error.code;
  throw error;
}

describe('a running domain', () => {
  it('has no file opened that its header names in the meantime', async () => {
    const domain = await domainWith(null);
    await domain.start();
    const before = canary.openings;
    const file = await open(domain.path('vda'), 'r+');
    await file.write(qcow2Image({ backingName: canary.path, backingFormat: 'raw' }), 0, 4096, 0);
    await file.close();
    expect(await problemOf(domain)).toBeNull();
    expect(canary.openings).toBe(before);
    await domain.powerOff();
  });
});

describe('a powered-off domain', () => {
  it('may be based on a template that the node is configured for', async () => {
    await runTool(['mkdir', '-p', join(home, 'templates')]);
    const template = join(home, 'templates', 'debian.img');
    await writeFile(template, Buffer.alloc(MIB, 'template '));
    const domain = await domainWith(qcow2Image({ backingName: template, backingFormat: 'raw' }));
    expect((await contentOf(domain)).equals(Buffer.alloc(MIB, 'template '))).toBe(true);
    Object.assign(config, { imageTemplates: [] });
    expect(await problemOf(domain)).toBe('backing_file_refused');
    Object.assign(config, { imageTemplates: [join(home, 'templates')] });
  });

  it('may be based on the files of its snapshots, which libvirt names', async () => {
    const domain = await domainWith(null);
    await domain.write('vda', 0);
    const plain = await readFile((await domain.instant()).get('vda') ?? '');
    for (const name of ['one', 'two'])
      await host.virsh('snapshot-create-as', domain.uuid, name, '--disk-only', '--diskspec', `vda,file=${domain.path('vda')}.${name}`);
    expect((await source.describe(domain.uuid)).disks[0]).toMatchObject({ problem: null, path: `${domain.path('vda')}.two` });
    expect((await contentOf(domain)).equals(plain)).toBe(true);
  });

  it('may be based on the file that its definition names, in the format named there', async () => {
    const domain = await domainWith(null);
    const base = join(host.disks, `base${domains}`);
    await writeFile(base, Buffer.alloc(MIB, 'named '));
    await writeFile(domain.path('vda'), qcow2Image({ backingName: base, backingFormat: 'raw' }));
    expect(await problemOf(domain)).toBe('backing_file_refused');
    const xml = await host.virsh('dumpxml', '--inactive', domain.uuid);
    const naming = (format: string): string => `$1<backingStore type='file'><format type='${format}'/><source file='${base}'/><backingStore/></backingStore>`;
    await host.define(xml.replace(/(<source file='[^']*vda[^']*'\/>)/, naming('raw')));
    expect(await problemOf(domain)).toBeNull();
    expect((await contentOf(domain)).equals(Buffer.alloc(MIB, 'named '))).toBe(true);
    await host.define(xml.replace(/(<source file='[^']*vda[^']*'\/>)/, naming('qcow2')));
    expect(await problemOf(domain)).toBe('backing_file_refused');
  });
});
