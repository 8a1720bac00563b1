import { readdirSync, readFileSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect } from '@jest/globals';
import { parse } from 'yaml';
import { HubConfig } from '../../src/hub/hub.config.js';
import { loadConfig, type LoadableConfig } from '../../src/lib/config/load-config.js';
import { NodeConfig } from '../../src/node/node.config.js';
import { runTool } from '../../src/lib/process/run-tool.js';
import { requireTools } from '../support/require-tools.js';

const DEPLOYMENT = resolve(import.meta.dirname, '../../deployment');
const UNITS = readdirSync(join(DEPLOYMENT, 'systemd')).filter((name) => name.endsWith('.service'));
/** `systemd-analyze security`: 0 is nothing exposed, 10 everything. */
const MOST_EXPOSURE = 2.6;
/** Its mounts must reach the hub, so it can have no mount namespace of its own, and with that no protected file systems. */
const IN_MACHINES_NAMESPACE = 'sendense-mounts.service';
const MOST_EXPOSURE_THERE = 4.5;
const CONFINED_UNITS = UNITS.filter((unit) => unit !== IN_MACHINES_NAMESPACE);

const { describe, it } = requireTools('systemd-analyze', 'bash', 'nft', 'logrotate', 'systemctl');

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-units-'));
  // systemd-analyze looks for what a unit starts, which is nowhere on this machine.
  await mkdir(join(folder, 'opt'), { recursive: true });
  for (const unit of UNITS) {
    const text = readFileSync(join(DEPLOYMENT, 'systemd', unit), 'utf8');
    await writeFile(join(folder, unit), text.replaceAll('/opt/sendense/current/bin/sendense', '/bin/true'));
  }
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

function exposureIn(report: string): number {
  return Number(/Overall exposure level for \S+: ([0-9.]+)/.exec(report)?.[1]);
}

describe('the units', () => {
  it('are one for each program', () => {
    expect(UNITS.sort()).toEqual([
      'sendense-hub.service',
      'sendense-keeper.service',
      'sendense-mounts.service',
      'sendense-node.service',
      'sendense-tunnel-server.service',
      'sendense-tunnel.service',
    ]);
  });

  it.each(UNITS)('%s has nothing that systemd would complain of', async (unit) => {
    const { stdout, stderr } = await runTool(['systemd-analyze', 'verify', '--man=no', join(folder, unit)]);
    expect(stdout + stderr).toBe('');
  });

  it.each(UNITS)('%s exposes no more than docs/deployment.md says', async (unit) => {
    const { stdout } = await runTool(['systemd-analyze', 'security', '--offline=true', '--no-pager', join(folder, unit)]);
    const exposure = exposureIn(stdout);
    expect(exposure).toBeLessThanOrEqual(unit === IN_MACHINES_NAMESPACE ? MOST_EXPOSURE_THERE : MOST_EXPOSURE);
    const page = readFileSync(resolve(DEPLOYMENT, '../docs/deployment.md'), 'utf8');
    expect(page).toContain(`| \`${unit}\` | ${exposure.toFixed(1)} |`);
  });

  it('the hub exposes no more than docs/deployment.md says when it may mount, and gets no device of a disk for it', async () => {
    const unit = 'sendense-hub.service';
    const dropIn = readFileSync(join(DEPLOYMENT, 'systemd', `${unit}.d`, 'file-restore.conf'), 'utf8');
    expect(dropIn.match(/^(?:CapabilityBoundingSet|AmbientCapabilities|DeviceAllow)=.*$/gm)).toEqual([
      'CapabilityBoundingSet=CAP_SYS_ADMIN',
      'AmbientCapabilities=CAP_SYS_ADMIN',
      'DeviceAllow=/dev/fuse rw',
      'DeviceAllow=/dev/kvm rw',
    ]);
    const withDropIn = join(folder, 'mounting');
    await mkdir(join(withDropIn, `${unit}.d`), { recursive: true });
    await copyFile(join(folder, unit), join(withDropIn, unit));
    await writeFile(join(withDropIn, `${unit}.d`, 'file-restore.conf'), dropIn);
    const { stdout, stderr } = await runTool(['systemd-analyze', 'verify', '--man=no', join(withDropIn, unit)]);
    expect(stdout + stderr).toBe('');
    const exposure = exposureIn((await runTool(['systemd-analyze', 'security', '--offline=true', '--no-pager', join(withDropIn, unit)])).stdout);
    expect(readFileSync(resolve(DEPLOYMENT, '../docs/deployment.md'), 'utf8')).toContain(`| \`${unit}\` with \`file-restore.conf\` | ${exposure.toFixed(1)} |`);
  });

  it('the mount helper mounts where the hub sees it, with as few rights as mount(8) needs', () => {
    const text = readFileSync(join(DEPLOYMENT, 'systemd', IN_MACHINES_NAMESPACE), 'utf8');
    expect(text).not.toMatch(/^(?:Protect(?:System|Home|Kernel|Control|Proc)|Private(?:Tmp|Devices|Mounts)|ReadWritePaths|ReadOnlyPaths|StateDirectory)/m);
    expect(/^CapabilityBoundingSet=(.*)$/m.exec(text)?.[1]).toBe('CAP_SYS_ADMIN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_CHOWN CAP_NET_BIND_SERVICE');
    expect(text).toMatch(/^NoNewPrivileges=yes$/m);
  });

  it.each(CONFINED_UNITS)('%s runs as an account of its own, without any right of root that its comment does not explain', (unit) => {
    const text = readFileSync(join(DEPLOYMENT, 'systemd', unit), 'utf8');
    expect(text).toMatch(/^User=sendense/m);
    expect(text).toMatch(/^ProtectSystem=strict$/m);
    expect(text).toMatch(/^NoNewPrivileges=yes$/m);
    const rights: Readonly<Record<string, string>> = {
      'sendense-node.service': 'CAP_DAC_OVERRIDE CAP_CHOWN CAP_FOWNER',
      'sendense-keeper.service': 'CAP_DAC_READ_SEARCH CAP_FOWNER CAP_LINUX_IMMUTABLE',
    };
    expect(/^CapabilityBoundingSet=(.*)$/m.exec(text)?.[1]).toBe(rights[unit] ?? '');
  });

  it.each(['sendense-hub.service', 'sendense-node.service'])('%s leaves what transfers need when it is stopped', (unit) => {
    expect(readFileSync(join(DEPLOYMENT, 'systemd', unit), 'utf8')).toMatch(/^KillMode=process$/m);
  });
});

describe('the other files', () => {
  it.each(['make-archive.sh', 'install/install.sh', 'install/sendense'])('%s is a script without mistakes of writing', async (script) => {
    await runTool(['bash', '-n', join(DEPLOYMENT, script)]);
  });

  it.each(['hub.nft', 'node.nft'])('firewall/%s is taken by nft', async (rules) => {
    // Where even looking at rules needs rights that are not there, their syntax is still read before.
    const { stderr } = await runTool(['nft', '-c', '-f', join(DEPLOYMENT, 'firewall', rules)], { expectedExitCodes: [0, 1] });
    expect(stderr.replace(/.*Operation not permitted.*\n?/g, '')).toBe('');
  });

  it('logrotate understands its part', async () => {
    const file = join(folder, 'logrotate');
    await copyFile(join(DEPLOYMENT, 'logrotate/sendense-hub'), file);
    await writeFile(file, readFileSync(file, 'utf8').replace('su sendense sendense', 'su root root'), { mode: 0o644 });
    const { stderr } = await runTool(['logrotate', '--debug', '--state', join(folder, 'state'), file], { expectedExitCodes: [0, 1] });
    expect(stderr).not.toContain('error:');
  });

  it('sysctl knows every name', () => {
    const names = readFileSync(join(DEPLOYMENT, 'sysctl/60-sendense.conf'), 'utf8')
      .split('\n')
      .filter((line) => /^[a-z]/.test(line))
      .map((line) => line.split(' ')[0] ?? '');
    expect(names).toHaveLength(6);
    for (const name of names.filter((each) => each.startsWith('net.ipv4.')))
      expect(readFileSync(`/proc/sys/${name.replaceAll('.', '/')}`, 'utf8')).not.toBe('');
  });

  it.each([
    ['hub', HubConfig],
    ['node', NodeConfig],
  ])('the examples for conf.d of a %s are settings that it has', (role, config: new () => LoadableConfig) => {
    const examples = join(DEPLOYMENT, 'examples', role, 'conf.d');
    for (const file of readdirSync(examples)) expect(loadConfig(config, { file: join(examples, file), environment: {} })).toBeInstanceOf(config);
  });

  it('the compose file is YAML with the services it promises, each with a check of its health', () => {
    const compose = parse(readFileSync(join(DEPLOYMENT, 'compose/compose.yaml'), 'utf8')) as {
      services: Record<string, { healthcheck?: object; profiles?: string[] }>;
    };
    expect(Object.keys(compose.services).sort()).toEqual(['eventstoredb', 'hub', 'postgres', 'tunnel-server']);
    for (const service of Object.values(compose.services)) expect(service.healthcheck).toBeDefined();
    expect(compose.services['eventstoredb']?.profiles).toEqual(['eventstoredb']);
  });
});
