import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { until } from '../../../test/support/hub-system.js';
import { NodeConfig } from '../../platform/config/node.config.js';
import { LibvirtDomains } from '../../platform/libvirt/libvirt-domains.js';
import { NbdInfo } from '../../platform/nbd/nbd-info.js';
import type { NodeStartBootCheck } from '../../platform/node-api/node-api.js';
import { ActiveJobs } from '../model/active-jobs.registry.js';
import { BootChecks } from './boot-checks.service.js';
import { SerialConsole } from './serial-console.js';

const REQUEST: NodeStartBootCheck = {
  check_id: '0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5c',
  vm_name: 'pgtest1',
  definition: { format: 'libvirt-domain-xml', text: '<domain><devices/></domain>' },
  disks: [],
  console_text: 'login:',
  guest_agent: false,
  timeout_seconds: 10,
  memory_mib: null,
};

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sendense-boot-checks-'));
});

afterEach(async () => {
  await rm(directory, { recursive: true });
});

describe('boot checks at a node that knows of no libvirt', () => {
  it('fail and end, with nothing seen, and are forgotten once settled', async () => {
    const config = Object.assign(new NodeConfig(), { dataDirectory: directory, runDirectory: join(directory, 'run') });
    const checks = new BootChecks(config, new LibvirtDomains(config), new NbdInfo(), new ActiveJobs());
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

describe('a serial console', () => {
  it('finds a text between colours and pieces, and keeps the beginning and the end of an endless one', async () => {
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
