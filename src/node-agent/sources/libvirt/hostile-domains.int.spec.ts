import { mkdtemp, open, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import { BareDomain } from '../../../../test/support/bare-domain.js';
import { qcow2Image, vmdkDescriptor } from '../../../../test/support/hostile-images.js';
import { LibvirtHost } from '../../../../test/support/libvirt-host.js';
import { OpenCanary } from '../../../../test/support/open-canary.js';
import { requireLibvirt } from '../../../../test/support/require-tools.js';
import { Clock } from '../../../platform/clock/clock.js';
import { NodeConfig } from '../../../platform/config/node.config.js';
import { NbdInfo } from '../../../platform/nbd/nbd-info.js';
import { runTool } from '../../../platform/process/run-tool.js';
import { ShellProcessSupervisor } from '../../../platform/process/shell-process-supervisor.js';
import { QemuImg } from '../../../platform/qemu/qemu-img.js';
import { ImageServers } from '../image-servers.js';
import { LibvirtSource } from './libvirt.source.js';

jest.setTimeout(180_000);
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

async function contentOf(domain: BareDomain): Promise<Buffer> {
  const directory = join(home, 'run', `snapshot-${domains}`);
  const changeId = `sendense-6f0d2b0e-${domains}`;
  try {
    const disks = [{ diskKey: 'vda', sizeBytes: MIB, parentChangeId: null }];
    const { standing } = await source.takeSnapshot({ sourceRef: domain.uuid, disks, changeId, directory, quiesce: 'none' });
    await runTool(['nbdcopy', standing.disks[0]?.uri ?? '', join(home, 'copy.raw')]);
    await source.verifySnapshot(domain.uuid, standing);
    return await readFile(join(home, 'copy.raw'));
  } finally {
    await source.releaseSnapshot(directory);
  }
}

describe('a domain that is off and whose image names a file of the host', () => {
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

  it("is refused also when it is another domain's disk", async () => {
    const victim = await domainWith(null);
    const domain = await domainWith(qcow2Image({ backingName: victim.path('vda'), backingFormat: 'qcow2' }));
    expect(await problemOf(domain)).toBe('backing_file_refused');
  });
});

describe('a domain that runs', () => {
  it('has no file opened that its header names meanwhile', async () => {
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

describe('a domain that is off', () => {
  it('stands on a template where the node is told of it', async () => {
    await runTool(['mkdir', '-p', join(home, 'templates')]);
    const template = join(home, 'templates', 'debian.img');
    await writeFile(template, Buffer.alloc(MIB, 'template '));
    const domain = await domainWith(qcow2Image({ backingName: template, backingFormat: 'raw' }));
    expect((await contentOf(domain)).equals(Buffer.alloc(MIB, 'template '))).toBe(true);
    Object.assign(config, { imageTemplates: [] });
    expect(await problemOf(domain)).toBe('backing_file_refused');
    Object.assign(config, { imageTemplates: [join(home, 'templates')] });
  });

  it('stands on the files of its snapshots, which libvirt names', async () => {
    const domain = await domainWith(null);
    await domain.write('vda', 0);
    const plain = await readFile((await domain.instant()).get('vda') ?? '');
    for (const name of ['one', 'two'])
      await host.virsh('snapshot-create-as', domain.uuid, name, '--disk-only', '--diskspec', `vda,file=${domain.path('vda')}.${name}`);
    expect((await source.describe(domain.uuid)).disks[0]).toMatchObject({ problem: null, path: `${domain.path('vda')}.two` });
    expect((await contentOf(domain)).equals(plain)).toBe(true);
  });

  it('stands on what its definition names, in the format that is named there', async () => {
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
