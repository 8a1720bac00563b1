import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { freePortRange } from '../../../test/support/free-ports.js';
import { until } from '../../../test/support/hub-system.js';
import { requireTools } from '../../../test/support/require-tools.js';
import { NodeConfig } from '../node.config.js';
import { LibvirtDomains } from '../libvirt/libvirt-domains.js';
import { NbdInfo } from '../../lib/nbd/nbd-info.js';
import type { NodeStartBootCheck } from '../../contract/boot-check.js';
import { ShellProcessSupervisor } from '../../lib/process/shell-process-supervisor.js';
import { GuestDisks } from '../guest-disks/guest-disks.service.js';
import { ActiveJobs } from '../model/active-jobs.registry.js';
import { BootChecks } from './boot-checks.service.js';
import { SerialConsole } from './serial-console.js';

const REQUEST: NodeStartBootCheck = {
  check_id: '0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5c',
  vm_name: 'pgtest1',
  definition: { format: 'libvirt-domain-xml', text: "<domain type='kvm'><name>pgtest1</name><devices/></domain>" },
  disks: [],
  console_text: 'login:',
  guest_agent: false,
  timeout_seconds: 10,
  memory_mib: null,
};

jest.setTimeout(120_000);
let directory: string;

function bootChecks(config: NodeConfig, domains: LibvirtDomains): BootChecks {
  return new BootChecks(config, domains, new NbdInfo(), new GuestDisks(config, domains, new ShellProcessSupervisor()), new ActiveJobs());
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sendense-boot-checks-'));
});

afterEach(async () => {
  await rm(directory, { recursive: true });
});

describe('boot checks on a node that starts no guests for its hub', () => {
  it('are refused and leave nothing behind', async () => {
    const config = Object.assign(new NodeConfig(), { dataDirectory: directory, runDirectory: join(directory, 'run'), allowHubGuests: false });
    const checks = bootChecks(config, new LibvirtDomains(config));
    await checks.onModuleInit();
    await expect(checks.start(REQUEST)).rejects.toMatchObject({ code: 'hub_guests_refused' });
    expect(() => checks.report(REQUEST.check_id)).toThrow(expect.objectContaining({ code: 'check_not_found' }));
  });
});

describe('boot checks on a node without libvirt', () => {
  it('fail and end without artefacts, and are forgotten once settled', async () => {
    const config = Object.assign(new NodeConfig(), { dataDirectory: directory, runDirectory: join(directory, 'run') });
    const checks = bootChecks(config, new LibvirtDomains(config));
    await checks.onModuleInit();
    await checks.start(REQUEST);
    const report = await until('the check to end', () => {
      const now = checks.report(REQUEST.check_id);
      return Promise.resolve(now.status !== 'running' && now);
    }).catch(() => checks.report(REQUEST.check_id));
    expect(report).toMatchObject({ status: 'failed', error: { code: 'libvirt_unavailable' } });
    expect(await checks.artefacts(REQUEST.check_id)).toMatchObject({
      console_base64: '',
      screenshot_base64: null,
      screenshot_problem: 'The guest did not run.',
    });
    await expect(checks.start({ ...REQUEST, timeout_seconds: 11 })).rejects.toMatchObject({ code: 'check_exists' });
    await checks.settle(REQUEST.check_id);
    await checks.settle(REQUEST.check_id);
    expect(() => checks.report(REQUEST.check_id)).toThrow(expect.objectContaining({ code: 'check_not_found' }));
    expect(await readdir(join(directory, 'boot-checks'))).toEqual([]);
  });
});

const nbd = requireTools('qemu-nbd', 'qemu-img', 'nbdinfo');
nbd.describe('a boot check that loses the connection to its disks', () => {
  /** A hypervisor whose guest has a console but writes nothing to it. */
  class SilentGuest extends LibvirtDomains {
    private console: Server | null = null;
    private defined = false;
    override createPaused(file: string): Promise<void> {
      const path = /path="([^"]+console)"/.exec(readFileSync(file, 'utf8'))?.[1];
      if (path === undefined) throw new Error('the domain has no console');
      this.defined = true;
      this.console = createServer();
      return new Promise((resolve) => this.console?.listen(path, resolve));
    }
    override resume(): Promise<void> {
      return Promise.resolve();
    }
    override guestAccount(): Promise<null> {
      return Promise.resolve(null);
    }
    override state(): Promise<string | null> {
      return Promise.resolve(this.defined ? 'running' : null);
    }
    override screenshot(): Promise<void> {
      return Promise.reject(new Error('there is none'));
    }
    override remove(): Promise<void> {
      this.console?.close();
      return Promise.resolve();
    }
  }

  it.each([true, false])('is interrupted, without a verdict on the restore point (lost: %s)', async (lost) => {
    const image = join(directory, 'disk.raw');
    await writeFile(image, Buffer.alloc(1024 * 1024));
    const port = await freePortRange(1);
    const server = spawn('qemu-nbd', ['--persistent', '--shared=20', '-f', 'raw', '-b', '127.0.0.1', '-p', String(port), image]);
    try {
      const uri = `nbd://127.0.0.1:${port}/`;
      await until('the export', async () => (await new NbdInfo().size(uri, 60_000)) > 0);
      const config = Object.assign(new NodeConfig(), {
        dataDirectory: directory,
        runDirectory: join(directory, 'run'),
        guestSocketDirectory: join(directory, 'guests'),
        networkPatienceSeconds: 1,
      });
      const domains = new SilentGuest(config);
      const checks = bootChecks(config, domains);
      await checks.onModuleInit();
      const text = `<domain type="qemu"><name>pgtest1</name><memory unit="MiB">64</memory><os><type arch="x86_64">hvm</type></os><devices>
        <disk type="file" device="disk"><driver name="qemu" type="qcow2"/><source file="/x.qcow2"/><target dev="vda" bus="virtio"/></disk></devices></domain>`;
      const disks = [{ disk_key: 'vda', uri, size_bytes: 1024 * 1024 }];
      await checks.start({ ...REQUEST, disks, timeout_seconds: 2, definition: { format: 'libvirt-domain-xml', text } });
      if (lost) {
        await until('the guest to run', async () => (await domains.state()) === 'running');
        server.kill('SIGKILL');
      }
      const report = await until('the check to end', () => {
        const now = checks.report(REQUEST.check_id);
        return Promise.resolve(now.status !== 'running' && now);
      });
      expect(report).toMatchObject(
        lost
          ? { status: 'failed', error: { code: 'check_interrupted', detail: expect.stringContaining('was lost while the guest was booting') } }
          : { status: 'not_booted', error: null },
      );
      await checks.settle(REQUEST.check_id);
    } finally {
      server.kill('SIGKILL');
    }
  });
});

describe('a serial console', () => {
  it('finds a text across escape sequences and chunks, and keeps the beginning and the end of endless output', async () => {
    const path = join(directory, 'console');
    const server = createServer((socket) => {
      socket.write('the beginning\n');
      socket.write(Buffer.alloc(400_000, 'x'));
      socket.write('\n\u001b[1mlog');
      socket.end('\u001b[0min: the end');
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const serial = await SerialConsole.open(path, 'login:');
    await serial.closed();
    server.close();
    expect(serial.hasShownIt()).toBe(true);
    const text = serial.content().toString();
    expect(text.slice(0, 13)).toBe('the beginning');
    expect(text.slice(-11)).toBe('in: the end');
    expect(text).toContain('bytes left out');
    expect(text.length).toBeLessThan(260 * 1024);
  });
});
