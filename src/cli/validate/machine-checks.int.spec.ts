import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { mountSmallFileSystem } from '../../../test/support/small-file-system.js';
import { requireCondition } from '../../../test/support/require-tools.js';
import { HubConfig } from '../../hub/hub.config.js';
import { NodeConfig } from '../../node/node.config.js';
import { identityOf } from '../../lib/process/process-identity.js';
import { hubServiceChecks } from './check-hub/hub-service.check.js';
import { spaceFindings } from './check-hub/repositories.check.js';
import { dataSpaceCheck, foldersCheck } from './check-machine/files.check.js';
import { KERNEL_PLACES, kernelChecks } from './check-machine/kernel.check.js';
import { scratchCheck } from './check-node/scratch.check.js';
import type { Check, CheckResult } from './model/check.plan.js';
import { runCheck } from './model/check.plan.js';
import { HubApi } from '../api/hub-api.client.js';
import { ServiceView } from './model/service-view.access.js';

jest.setTimeout(120_000);
const run = promisify(execFile);
const GIB = 1024 ** 3;
const NOBODY = 65_534;

let directory: string;
let ourselves: ServiceView;
const undo: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sendense-checks-'));
  await chmod(directory, 0o755);
  ourselves = await ServiceView.of(directory, 'node');
});

afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

/** A stand-in service of that data directory: a process that only exists, with a lock like the real one's. */
async function service(name: string, argv: readonly [string, ...string[]]): Promise<{ readonly data: string; readonly pid: number }> {
  const data = join(directory, name);
  await mkdir(data, { recursive: true });
  const [file, ...rest] = argv;
  const child: ChildProcess = spawn(file, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
  undo.push(async () => {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  });
  // It prints a line once it has become the intended process.
  await new Promise((resolve) => child.stdout?.once('data', resolve));
  await writeFile(join(data, 'node.lock'), JSON.stringify(await identityOf(child.pid ?? 0)));
  return { data, pid: child.pid ?? 0 };
}

const STAYS = ['sh', '-c', 'echo there; exec sleep 600'] as const;

function result(checks: readonly Check[], id: string): Promise<CheckResult> {
  const check = checks.find((one) => one.id === id);
  if (check === undefined) throw new Error(`there is no check ${id}`);
  return runCheck(check);
}

function storageRoots(folder: string, view: ServiceView): Check {
  const of = { id: 'vm_storage_roots', title: 'folders for restored VMs', setting: 'vm_storage_roots', needed: 'write', missingIs: 'warn' } as const;
  return foldersCheck({ ...of, folders: [folder], service: view });
}

const root = requireCondition(process.getuid?.() === 0, 'only root can mount, and become somebody else');

describe('checks of the machine', () => {
  it('count the files that the running hub may open, not those of the caller', async () => {
    const few = await service('limited', ['prlimit', '--nofile=512:512', ...STAYS]);
    expect(await result(kernelChecks(new HubConfig(), few.pid, KERNEL_PLACES), 'open_files')).toMatchObject({
      status: 'warn',
      detail: expect.stringContaining(`512 of the hub (pid ${few.pid})`),
      remedy: expect.stringContaining('LimitNOFILE=65536'),
    });
    const limits = join(directory, 'limits');
    await writeFile(limits, 'Max open files            1024                 1024                 files\n');
    const noHub = kernelChecks(new HubConfig(), null, { ...KERNEL_PLACES, limits });
    expect(await result(noHub, 'open_files')).toMatchObject({ status: 'warn', detail: expect.stringContaining('1024 here') });
  });

  it('report services exposed to the network', async () => {
    const open = Object.assign(new HubConfig(), { listenHost: '0.0.0.0', nbdListenHost: '192.0.2.1' });
    expect(await result(hubServiceChecks(open, new HubApi('http://127.0.0.1:1', null), null), 'hub_exposure')).toMatchObject({
      status: 'warn',
      detail: expect.stringMatching(/^listen_host is 0\.0\.0\.0, which offers the API .*; nbd_listen_host is 192\.0\.2\.1, which offers disks over NBD/),
      remedy: expect.stringContaining('Set nbd_listen_host to 127.0.0.1'),
    });
  });

  it.each([
    [GIB - 1, 10 * GIB, 'fail'],
    [GIB, 9 * GIB, undefined],
    [GIB, 11 * GIB, 'warn'],
    [100 * GIB, 1024 * GIB, 'warn'],
  ])('return for a repository with %i of %i bytes free: %s', (free, total, status) => {
    expect(spaceFindings('it', free, total)[0]?.status).toBe(status);
  });

  root.it('report scarce space, missing inodes and a read-only file system', async () => {
    const small = await mountSmallFileSystem(join(directory, 'small'), 100);
    if (small === null) return;
    undo.push(() => small.remove());
    const space = (): Promise<CheckResult> => runCheck(dataSpaceCheck('hub', small.path, ourselves));
    expect(await space()).toMatchObject({
      status: 'fail',
      detail: expect.stringMatching(/has (100\.0|99\.\d) MiB free/),
      remedy: expect.stringContaining('du -xh'),
    });
    await run('mount', ['-o', 'remount,size=500m', small.path]);
    expect(await space()).toMatchObject({ status: 'warn', remedy: expect.stringContaining(`du -xh --max-depth=2 ${small.path}`) });
    await run('mount', ['-o', 'remount,size=2g,nr_inodes=500', small.path]);
    expect(await space()).toMatchObject({ status: 'fail', detail: expect.stringMatching(/only 49\d more files/), remedy: expect.stringContaining('df -i') });
    await run('mount', ['-o', 'remount,size=2g,nr_inodes=100k', small.path]);
    expect(await space()).toMatchObject({ status: 'pass' });

    const scratchSettings = { libvirtScratchDirectory: join(small.path, 'scratch'), libvirtScratchMaxBytes: 4 * GIB };
    const libvirt = Object.assign(new NodeConfig(), { libvirtUri: 'qemu:///system', ...scratchSettings });
    const scratch = (): Promise<CheckResult> => runCheck(scratchCheck(libvirt, ourselves));
    expect(await scratch()).toMatchObject({ status: 'warn', detail: expect.stringContaining('one backup may take 4.0 GiB') });
    await run('mount', ['-o', 'remount,ro', small.path]);
    for (const found of [await space(), await scratch(), await runCheck(storageRoots(small.path, ourselves))]) {
      expect(found).toMatchObject({ status: 'fail', detail: expect.stringContaining('cannot be written to') });
    }
  });

  root.it("run as root, check with the service's permissions and in its mount namespace", async () => {
    const roots = join(directory, 'roots');
    await mkdir(roots, { mode: 0o755 });
    const nobody = await service('nobody', ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--', ...STAYS]);
    const look = async (data: string): Promise<CheckResult> => runCheck(storageRoots(roots, await ServiceView.of(data, 'node')));
    expect(await look(nobody.data)).toMatchObject({
      status: 'fail',
      detail: `${roots} cannot be written to by the node`,
      remedy: expect.stringContaining(`setfacl -m u:USER:rwX ${roots}`),
    });
    await chmod(roots, 0o777);
    expect(await look(nobody.data)).toMatchObject({ status: 'pass' });

    const bind = `mount --bind ${roots} ${roots} && mount -o remount,ro,bind ${roots} && echo there && exec sleep 600`;
    const confined = await service('confined', ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', bind]);
    expect(await look(confined.data)).toMatchObject({ status: 'fail', remedy: expect.stringContaining(`ReadWritePaths=${roots}`) });
    expect(await runCheck(storageRoots(join(directory, 'nothing'), ourselves))).toMatchObject({
      status: 'warn',
      remedy: expect.stringContaining('install -d'),
    });
  });
});
