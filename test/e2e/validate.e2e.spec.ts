import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, expect, jest } from '@jest/globals';
import pg from 'pg';
import { programVersion } from '../../src/lib/config/version.js';
import { TUNNEL_FILES, tunnelSettingsText } from '../../src/tunnel/interface/tunnel-settings.js';
import { makeTunnelSocketDirectory, tunnelSocket } from '../../src/tunnel/interface/tunnel-sockets.js';
import { KERNEL_PLACES, type KernelPlaces } from '../../src/cli/validate/check-machine/kernel.check.js';
import { type CheckResult, runCheck } from '../../src/cli/validate/model/check.plan.js';
import { HubApi } from '../../src/cli/api/hub-api.client.js';
import { trialChecks } from '../../src/cli/validate/try-backup/trial.check.js';
import { Trial } from '../../src/cli/validate/try-backup/trial.step.js';
import { runCommand } from '../../src/cli/terminal/command.js';
import { validateCommand } from '../../src/cli/validate/validate.program.js';
import { BackupClient } from '../support/backup-client.js';
import { freePortRange } from '../support/free-ports.js';
import { HubSystem, until } from '../support/hub-system.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireKernel, requireTools } from '../support/require-tools.js';
import { EVENTS_IN_POSTGRES } from '../support/test-event-store.js';
import { ToolGates } from '../support/tool-gates.js';
import { inLongProof } from '../support/long-proof.js';

jest.setTimeout(180_000);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo');
const onPostgres = EVENTS_IN_POSTGRES ? requireTools() : requireKernel('what a table of PostgreSQL refuses, on another event store');
const PORTS = 4;
const SLOW_BYTES_A_SECOND = 16 * 1024 ** 2;
const PAGE = resolve(import.meta.dirname, '../../docs/validate.md');
/** Whatever the machine of the test has. */
const SOUND_KERNEL = { ...KERNEL_PLACES, fuse: '/dev/null', loopControl: '/dev/null' };

let database: TestDatabase;
let system: HubSystem;
let client: BackupClient;
let gates: ToolGates;
const undo: (() => Promise<unknown>)[] = [];

interface Outcome {
  readonly code: number;
  readonly status: string;
  readonly checks: ReadonlyMap<string, CheckResult>;
}

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl, portCount: PORTS });
  gates = await ToolGates.create(join(system.directory, 'gates'));
  await system.start({ PATH: gates.path });
  client = new BackupClient(system);
  await client.createRepository('main', system.repositoryPath);
  await until('the hub to have called its node', async () => {
    const { nodes } = (await system.api<{ nodes: { state: string }[] }>('GET', '/nodes')).body;
    return nodes.every(({ state }) => state === 'reachable');
  });
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
  await gates.openAll();
});

async function validate(
  argv: readonly string[] = [],
  options: { readonly environment?: Readonly<Record<string, string>>; readonly kernel?: KernelPlaces } = {},
): Promise<Outcome> {
  let text = '';
  const code = await runCommand(
    validateCommand({
      environment: { ...system.settings, ...options.environment },
      print: (more) => {
        text += more;
      },
      ...(options.kernel === undefined ? {} : { kernel: options.kernel }),
      signal: new AbortController().signal,
    }),
    [...argv, '--json'],
  );
  const { status, checks } = JSON.parse(text) as { status: string; checks: CheckResult[] };
  return { code, status, checks: new Map(checks.map((check) => [check.id, check])) };
}

/** What is broken must be seen, named, and come with what to do about it. */
function requireFailed({ code, status, checks }: Outcome, id: string, detail: RegExp, remedy: RegExp): void {
  expect({ id, ...checks.get(id) }).toMatchObject({ id, status: 'fail', detail: expect.stringMatching(detail), remedy: expect.stringMatching(remedy) });
  expect({ code, status }).toEqual({ code: 1, status: 'fail' });
}

function failed({ checks }: Outcome): readonly string[] {
  return [...checks.values()].filter(({ status }) => status === 'fail').map(({ id, detail }) => `${id}: ${detail}`);
}

/** Takes a tool away from this process, not from the hub. */
async function withoutTool(tool: 'nbdcopy'): Promise<void> {
  const path = process.env['PATH'];
  process.env['PATH'] = gates.path;
  const putBack = await gates.remove(tool);
  undo.push(async () => {
    process.env['PATH'] = path;
    await putBack();
  });
}

async function listening(server: Server | HttpServer, port: number): Promise<number> {
  await new Promise<void>((resolve) => server.listen({ host: '127.0.0.1', port }, resolve));
  undo.push(() => new Promise((resolve) => server.close(resolve)));
  // Of a server that listens on TCP.
  return (server.address() as AddressInfo).port;
}

function anHourAgo(): Date {
  return new Date(Date.now() - 3_600_000);
}

/** Answers these paths below /api/v1, an hour late. */
async function somebody(answers: Readonly<Record<string, object>>): Promise<string> {
  const server = createHttpServer((request, response) => {
    const body: unknown = Object.entries(answers).find(([path]) => request.url?.startsWith(`/api/v1${path}`))?.[1];
    response.writeHead(body === undefined ? 404 : 200, { 'content-type': 'application/json', date: anHourAgo().toUTCString(), connection: 'close' });
    response.end(JSON.stringify(body ?? {}));
  });
  return `http://127.0.0.1:${await listening(server, 0)}`;
}

async function withDatabase<Result>(use: (client: pg.Client) => Promise<Result>): Promise<Result> {
  const connection = new pg.Client({ connectionString: database.databaseUrl });
  await connection.connect();
  try {
    return await use(connection);
  } finally {
    await connection.end();
  }
}

/** Brings the hub's NBD ports to where a tunnel would, and lets little through in a second while it is to be slow. */
async function slowWay(tunnelDirectory: string, first: number, isSlow: () => boolean): Promise<void> {
  await mkdir(tunnelDirectory, { mode: 0o700 });
  const settings = {
    ...{ hub_host: '127.0.0.1', hub_port: 9022, user: 'x', node_id: 'n1', reverse_port: 9082, hub_api_port: 9080, local_host: '127.0.0.1' },
    ...{ nbd_port_first: first, nbd_port_count: PORTS },
  };
  await writeFile(join(tunnelDirectory, TUNNEL_FILES.settings), tunnelSettingsText(settings));
  await makeTunnelSocketDirectory(tunnelDirectory);
  let freeAt = 0;
  const connections = new Set<Socket>();
  for (let port = first; port < first + PORTS; port++) {
    const server = createServer((near) => {
      const far = connect({ host: '127.0.0.1', port });
      for (const socket of [near, far]) connections.add(socket.once('close', () => connections.delete(socket)));
      far.on('data', (bytes) => {
        near.write(bytes);
        if (!isSlow()) return;
        far.pause();
        freeAt = Math.max(freeAt, performance.now()) + (bytes.length / SLOW_BYTES_A_SECOND) * 1000;
        setTimeout(() => far.resume(), Math.max(1, freeAt - performance.now()));
      });
      near.pipe(far);
      far.on('end', () => near.end());
      const give = (): void => {
        near.destroy();
        far.destroy();
      };
      near.on('error', give);
      far.on('error', give);
    });
    await new Promise<void>((resolve) => server.listen({ path: tunnelSocket(tunnelDirectory, port) }, resolve));
    undo.push(
      () =>
        new Promise((resolve) => {
          server.close(resolve);
          // The far end of an export that was just ended may not hear of it any more.
          for (const socket of connections) socket.destroy();
        }),
    );
  }
}

describe('sendense validate', () => {
  it('finds nothing wrong with a sound installation, tries a backup and its restore, and leaves nothing of it', async () => {
    const outcome = await validate([], { kernel: SOUND_KERNEL });
    expect(failed(outcome)).toEqual([]);
    expect(outcome.code).toBe(0);
    const told = [...readFileSync(PAGE, 'utf8').matchAll(/^\| (`[a-z_`, ]+`) \|/gm)].flatMap(([, ids]) =>
      [...(ids ?? '').matchAll(/`([a-z_]+)`/g)].map(([, id]) => id),
    );
    // The local node has no settings of its own.
    const absent = ['node_config', ...(EVENTS_IN_POSTGRES ? ['eventstoredb'] : [])];
    expect([...outcome.checks.keys(), ...absent].sort()).toEqual(told.sort());
    const passed = [...outcome.checks.values()].filter(({ status }) => status === 'pass').map(({ id }) => id);
    expect(passed).toEqual(
      expect.arrayContaining([
        ...['hub_config', 'hub_data_directory', 'hub_secrets', 'hub_programs', 'kernel_fuse', 'hub_service', 'hub_access', 'hub_exposure'],
        ...['event_store', 'projections', 'nodes', 'node_clocks', 'node_data_directory', 'node_secrets', 'node_programs', 'node_service', 'hub_link'],
        ...['node_access', 'hub_clock', 'image_roots', 'trial_backup', 'event_store_append', 'trial_restore', 'trial_removal'],
      ]),
    );
    for (const { status, remedy } of outcome.checks.values()) expect(remedy === null).toBe(status === 'pass' || status === 'skip');
    await client.requireNothingHeld();
    await until('the list of VMs to be empty', async () => (await system.api<{ vms: unknown[] }>('GET', '/vms')).body.vms.length === 0);
    await until('the list of repositories to be as it was', async () => {
      const { repositories } = (await system.api<{ repositories: { name: string }[] }>('GET', '/repositories')).body;
      return repositories.every(({ name }) => name === 'main');
    });
    expect(await readdir(system.imageRoot)).toEqual([]);
    expect((await readdir(system.dataDirectory)).filter((name) => name.startsWith('validate-'))).toEqual([]);
  });

  it('tells people in lines what programs get as JSON', async () => {
    let text = '';
    const context = { environment: system.settings, print: (more: string) => void (text += more), signal: new AbortController().signal };
    expect(await runCommand(validateCommand(context), ['--role', 'hub', '--no-trial'])).toBe(0);
    expect(text).toMatch(/^PASS {2}hub {3}hub_service {11}the hub answers and is ready: http:/m);
    expect(text).toMatch(/^\d+ checks: \d+ passed, \d+ warned, 0 failed, \d+ skipped$/m);
    expect(await runCommand(validateCommand(context), ['--role', 'spectator'])).toBe(2);
  });

  it('sees settings, rights of secrets, programs and kernel features that are wrong', async () => {
    await chmod(join(system.dataDirectory, 'api.token'), 0o644);
    undo.push(() => chmod(join(system.dataDirectory, 'api.token'), 0o600));
    await withoutTool('nbdcopy');
    const nowhere = join(system.directory, 'nothing');
    const kernel = { ...KERNEL_PLACES, fuse: nowhere, nbdModule: nowhere, loopControl: nowhere };
    const outcome = await validate(['--no-trial'], { kernel, environment: { SENDENSE_MOUNT_DRIVER: 'fuse' } });
    requireFailed(outcome, 'hub_secrets', /api\.token has mode 0644/, /chmod 600/);
    requireFailed(outcome, 'hub_programs', /nbdcopy is not on the PATH/, /apt-get install libnbd-bin/);
    requireFailed(outcome, 'node_programs', /nbdcopy is not on the PATH/, /apt-get install libnbd-bin/);
    requireFailed(outcome, 'kernel_fuse', /cannot be opened/, /modprobe fuse/);
    requireFailed(outcome, 'kernel_loop', /cannot be opened/, /modprobe loop/);
    requireFailed(await validate(['--no-trial'], { kernel, environment: { SENDENSE_MOUNT_DRIVER: 'nbd' } }), 'kernel_nbd', /not loaded/, /modprobe nbd/);
    const wrong = await validate([], { environment: { SENDENSE_MOUNT_SLOTS: 'many' } });
    requireFailed(wrong, 'hub_config', /^mount_slots: must be an integer from 1 to 64, but is "many" \(in SENDENSE_MOUNT_SLOTS\)$/, /Correct/);
    expect([...wrong.checks.keys()]).toEqual(['hub_config']);
  });

  it('sees a data directory, folders, scratch space and a hypervisor that cannot be used', async () => {
    const outcome = await validate(['--role', 'node'], {
      environment: {
        SENDENSE_DATA_DIRECTORY: join(system.directory, 'nowhere'),
        SENDENSE_IMAGE_ROOTS: join(system.directory, 'images', 'none'),
        SENDENSE_LIBVIRT_URI: `qemu:///system?socket=${join(system.directory, 'no-libvirt')}`,
        SENDENSE_LIBVIRT_SCRATCH_DIRECTORY: join('/tmp', 'x'.repeat(80)),
      },
    });
    requireFailed(outcome, 'node_data_directory', /nowhere does not exist/, /data_directory/);
    requireFailed(outcome, 'node_service', /no node has run with/, /Start the node/);
    requireFailed(outcome, 'scratch_space', /too long a path/, /libvirt_scratch_directory/);
    expect(outcome.checks.get('image_roots')).toMatchObject({
      status: 'warn',
      detail: expect.stringContaining('is not a directory'),
      remedy: expect.stringContaining('image_roots'),
    });
    requireFailed(outcome, 'hypervisor', /cannot connect to|not on the PATH/, /libvirtd|libvirt-clients/);
  });

  it('sees a database that is away, and one whose settings are dangerous', async () => {
    const [port] = [await freePortRange(1)];
    const away = await validate(['--role', 'hub', '--no-trial'], { environment: { DATABASE_URL: `postgres://nobody:secret-word@127.0.0.1:${port}/x` } });
    requireFailed(away, 'database', /cannot be used: .*ECONNREFUSED/, /Start PostgreSQL/);
    expect(JSON.stringify([...away.checks])).not.toContain('secret-word');
    const url = new URL(database.databaseUrl);
    url.searchParams.set('options', '-c synchronous_commit=off -c default_transaction_read_only=on');
    const dangerous = await validate(['--role', 'hub', '--no-trial'], { environment: { DATABASE_URL: url.toString() } });
    requireFailed(dangerous, 'database', /read only/, /default_transaction_read_only/);
  });

  it('sees ports, repositories and tokens that cannot be used', async () => {
    const first = Number(system.settings['SENDENSE_NBD_PORT_FIRST']);
    for (let port = first; port < first + PORTS; port++)
      await listening(
        createServer((socket) => socket.destroy()),
        port,
      );
    await rename(system.repositoryPath, `${system.repositoryPath}.away`);
    undo.push(() => rename(`${system.repositoryPath}.away`, system.repositoryPath));
    const outcome = await validate(['--no-trial']);
    requireFailed(outcome, 'nbd_ports', /4 of 4 are used by other programs/, /ss -ltnp/);
    requireFailed(outcome, 'repositories', /"main" in .* cannot be used/, /mounted/);

    const token = join(system.directory, 'other.token');
    await writeFile(token, 'not-the-token-of-this-hub');
    const stranger = await validate(['--token-file', token, '--role', 'hub']);
    requireFailed(stranger, 'hub_access', /refuses the token/, /--token-file/);
    expect(stranger.checks.get('nbd_ports')).toMatchObject({ status: 'skip', detail: 'the hub refuses the token' });
  });

  it('sees a backup that cannot be made, and removes what was made of it', async () => {
    const whole = await gates.fail('qemu-img', 'check', 1, 'qemu-img: broken for a test');
    undo.push(whole);
    const outcome = await validate();
    requireFailed(outcome, 'trial_backup', /broken for a test/, /docs\/operations\.md/);
    expect(outcome.checks.get('event_store_append')).toMatchObject({ status: 'pass' });
    expect(outcome.checks.get('trial_restore')).toMatchObject({ status: 'skip' });
    expect(outcome.checks.get('trial_removal')).toMatchObject({ status: 'pass' });
    expect(await readdir(system.imageRoot)).toEqual([]);
    await until('the list of VMs to be empty', async () => (await system.api<{ vms: unknown[] }>('GET', '/vms')).body.vms.length === 0);
  });

  onPostgres.it('sees an event store that takes nothing, and does not blame the backup', async () => {
    await withDatabase((client) => client.query('alter table event_store.events add constraint nothing_more check (false) not valid'));
    const putBack = (): Promise<unknown> => withDatabase((client) => client.query('alter table event_store.events drop constraint nothing_more'));
    undo.push(putBack);
    const outcome = await validate(['--role', 'both']);
    requireFailed(outcome, 'event_store_append', /internal_error|unexpected error|cannot be reached/i, /GRANT ALL ON ALL TABLES IN SCHEMA event_store/);
    expect(outcome.checks.get('trial_backup')).toMatchObject({ status: 'skip' });
    expect(await readdir(system.imageRoot)).toEqual([]);
    expect((await readdir(system.dataDirectory)).filter((name) => name.startsWith('validate-'))).toEqual([]);
  });

  inLongProof(() => {
    it('sees a restore that is not what was backed up, and a slow way to it', async () => {
      let slow = false;
      const place = await mkdtemp(join(system.dataDirectory, 'damaged-'));
      undo.push(() => rm(place, { recursive: true, force: true }));
      const repositoryId = await client.createRepository('damaged', place);
      await until('the repository to be listed', async () => (await system.api('GET', `/repositories/${repositoryId}`)).status === 200);
      const hub = new HubApi(system.url(), (await readFile(join(system.dataDirectory, 'api.token'), 'utf8')).trim());
      const { nodes } = await hub.call<{ nodes: { node_id: string }[] }>('GET', '/nodes');
      const trialOf = (name: string): ((id: string) => Promise<CheckResult>) => {
        const trial = new Trial({
          ...{ hub, nodeId: nodes[0]?.node_id ?? '', imageRoots: [system.imageRoot], nodeDirectory: system.dataDirectory, hubDirectory: null },
          ...{ repository: 'damaged', name, tunnelDirectory: join(place, 'tunnel'), signal: new AbortController().signal },
        });
        const checks = new Map(trialChecks('hub', trial, false).map((check) => [check.id, check]));
        return async (id) => {
          const check = checks.get(id);
          if (check === undefined) throw new Error(`there is no check ${id}`);
          return runCheck(check);
        };
      };
      await slowWay(join(place, 'tunnel'), Number(system.settings['SENDENSE_NBD_PORT_FIRST']), () => slow);
      const ofSpeed = trialOf('trial-of-speed');
      expect(await ofSpeed('event_store_append')).toMatchObject({ status: 'pass', detail: expect.stringMatching(/^VmRegistered of vm-/) });
      expect(await ofSpeed('trial_backup')).toMatchObject({ status: 'pass' });
      expect(await ofSpeed('trial_restore')).toMatchObject({ status: 'pass' });
      slow = true;
      expect(await ofSpeed('throughput')).toMatchObject({
        status: 'warn',
        detail: expect.stringMatching(/ MiB a second$/),
        remedy: expect.stringContaining('iostat'),
      });
      slow = false;
      expect(await ofSpeed('trial_removal')).toMatchObject({ status: 'pass' });

      const ofDamage = trialOf('trial-of-damage');
      expect(await ofDamage('event_store_append')).toMatchObject({ status: 'pass' });
      expect(await ofDamage('trial_backup')).toMatchObject({ status: 'pass' });
      const [disk] = (await readdir(place, { recursive: true })).filter((name) => name.includes('trial-of-damage') && name.endsWith('.qcow2'));
      const file = join(place, disk ?? '');
      await chmod(file, 0o600);
      await promisify(execFile)('qemu-io', ['-f', 'qcow2', '-c', 'write -q -P 7 32M 4k', file]);
      expect(await ofDamage('trial_restore')).toMatchObject({
        status: 'fail',
        detail: expect.stringMatching(/disk-0\.qcow2" of restore point .* was altered/),
        remedy: expect.stringContaining('Do not rely on these backups'),
      });
      expect(await ofDamage('trial_removal')).toMatchObject({ status: 'pass' });
      await hub.call('DELETE', `/repositories/${repositoryId}`);
      await client.requireNothingHeld();
    });
  });

  it('sees a node that is away or another program, a hub that is none, and clocks that differ', async () => {
    const data = join(system.directory, 'node-of-old');
    await mkdir(data);
    await writeFile(join(data, 'node.id'), 'n1');
    const nodeAt = async (url: string): Promise<Outcome> => {
      await writeFile(join(data, 'node.url'), url);
      return validate(['--role', 'node'], { environment: { SENDENSE_DATA_DIRECTORY: data, SENDENSE_HUB_URL: url } });
    };
    const nobody = await nodeAt(`http://127.0.0.1:${await freePortRange(1)}`);
    requireFailed(nobody, 'node_service', /nothing answers at .*ECONNREFUSED/, /Start the node/);
    requireFailed(nobody, 'hub_link', /nothing answers at .*ECONNREFUSED/, /hub_url/);
    const stranger = await nodeAt(await somebody({ '/health': { greeting: 'hello' } }));
    requireFailed(stranger, 'node_service', /is not node n1/, /listen_port/);
    requireFailed(stranger, 'hub_link', /is not a hub/, /hub_url/);
    const late = await nodeAt(await somebody({ '/health/live': { status: 'live' }, '/health': { node_id: 'n1', version: '0.0.1' } }));
    expect(late.checks.get('node_service')).toMatchObject({ status: 'warn', detail: expect.stringContaining('0.0.1'), remedy: 'Restart the node.' });
    expect(late.checks.get('hub_link')).toMatchObject({ status: 'pass' });
    await writeFile(join(data, 'node.token'), 'not-the-token-of-this-node');
    requireFailed(await nodeAt(system.url()), 'node_access', /the hub refuses the node/, /sendense node enrol/);
    requireFailed(await nodeAt(await somebody({ '/health/live': { status: 'live' } })), 'node_access', /has not shown that it is the hub/, /Another program/);
    requireFailed(late, 'hub_clock', /the clock of the hub is 3\d{3}\.\d s behind/, /NTP/);
  });

  it('sees what the hub itself says is wrong, with nodes and records', async () => {
    const node = { node_id: 'n1', version: programVersion(), error: null, state: 'reachable', enrolment: null, tunnel: null };
    const live = await somebody({ '/health': { node_id: 'n1', time: anHourAgo().toISOString() } });
    const dead = `http://127.0.0.1:${await freePortRange(1)}`;
    const hub = await somebody({
      '/nodes': {
        nodes: [
          { ...node, name: 'late', url: live },
          {
            ...node,
            name: 'away',
            url: dead,
            state: 'unreachable',
            error: { code: 'node_unreachable', detail: 'connect ECONNREFUSED' },
            enrolment: { state: 'enrolled' },
          },
          { ...node, name: 'gone', url: dead, state: 'revoked' },
        ],
      },
      '/projections': { projections: [{ name: 'backups', state: 'halted', lag_seconds: 7, halted: { position: '42', error: 'cannot fold Surprise' } }] },
      '/audit/events': { events: [{ position: '42', stream: 'backup-1', type: 'Surprise' }] },
      '/audit/streams/backup-1': { events: [] },
    });
    const outcome = await validate(['--role', 'hub', '--hub', hub]);
    requireFailed(outcome, 'nodes', /^"away" is unreachable: connect ECONNREFUSED$/, /Start the node/);
    requireFailed(outcome, 'tunnels', /"away" does not answer through its tunnel/, /sendense tunnel/);
    requireFailed(outcome, 'node_clocks', /the clock of node "late" is 3\d{3}\.\d s behind/, /NTP/);
    requireFailed(outcome, 'projections', /backups has halted at 42: cannot fold Surprise/, /rebuild/);
    requireFailed(outcome, 'event_store', /stream backup-1 of its newest event is empty/, /dump/);
    requireFailed(outcome, 'hub_service', /is not ready/, /log/);
    requireFailed(outcome, 'hub_access', /without a token it answers 200/, /in front of it/);
  });

  it("sees a node's tunnel that does not stand", async () => {
    const data = join(system.directory, 'tunnelled');
    const port = await freePortRange(3);
    await mkdir(join(data, 'tunnel'), { recursive: true });
    const settings = { hub_host: 'hub.example', hub_port: 9022, user: 'sendense-tunnel', node_id: 'n1', reverse_port: 9082, nbd_port_first: port };
    const text = tunnelSettingsText({ ...settings, nbd_port_count: 3, hub_api_port: 9080, local_host: '127.0.0.1' });
    await writeFile(join(data, 'tunnel', 'tunnel.json'), text);
    await writeFile(join(data, 'tunnel', 'id_ed25519'), '-----BEGIN OPENSSH PRIVATE KEY-----\n', { mode: 0o640 });
    const environment = { SENDENSE_DATA_DIRECTORY: data, SENDENSE_HUB_URL: `http://127.0.0.1:${port}` };
    const outcome = await validate(['--role', 'node'], { environment });
    requireFailed(outcome, 'node_secrets', /id_ed25519 has mode 0640/, /chmod 600/);
    requireFailed(outcome, 'tunnel_keys', /pins no host key of the hub/, /sendense node enrol/);
    requireFailed(outcome, 'tunnel_state', /is not running/, /Start sendense tunnel/);
    requireFailed(outcome, 'tunnel_ports', /3 of .* are not forwarded/, /sendense tunnel/);
    requireFailed(outcome, 'hub_link', /nothing answers/, /sendense tunnel-server/);
    await makeTunnelSocketDirectory(join(data, 'tunnel'));
    for (let index = 0; index < 3; index++) {
      const server = createServer((socket) => socket.destroy());
      await new Promise<void>((resolve) => server.listen({ path: tunnelSocket(join(data, 'tunnel'), port + index) }, resolve));
      undo.push(() => new Promise((resolve) => server.close(resolve)));
    }
    expect((await validate(['--role', 'node'], { environment })).checks.get('tunnel_ports')).toMatchObject({ status: 'pass' });
  });

  it('sees a tunnel server that is gone, and a program in its place', async () => {
    const directory = join(system.dataDirectory, 'tunnel');
    await mkdir(directory, { recursive: true });
    const port = await freePortRange(1);
    await writeFile(join(directory, 'server.json'), JSON.stringify({ user: 'x', listen_host: '0.0.0.0', listen_port: port }));
    requireFailed(await validate(['--role', 'hub', '--no-trial']), 'tunnel_server', /nothing answers on 127\.0\.0\.1/, /sendense tunnel-server/);
    await listening(
      createServer((socket) => socket.end('220 mail.example ESMTP\r\n')),
      port,
    );
    requireFailed(await validate(['--role', 'hub', '--no-trial']), 'tunnel_server', /is not an SSH server/, /tunnel_listen_port/);
  });

  it('sees that the hub does not run, and asks it nothing then', async () => {
    await system.kill('SIGKILL');
    undo.push(() => system.start({ PATH: gates.path }));
    const outcome = await validate();
    requireFailed(outcome, 'hub_service', /nothing answers at/, /Start the hub/);
    for (const id of ['hub_access', 'event_store', 'projections', 'nbd_ports', 'repositories', 'nodes', 'trial_backup']) {
      expect({ id, ...outcome.checks.get(id) }).toMatchObject({ id, status: 'skip', detail: 'the hub does not answer' });
    }
  });
});
