import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { HubConfig } from '../../hub/hub.config.js';
import { ConfigError, environmentVariable, fileKey, loadConfig } from './load-config.js';
import { NodeConfig } from '../../node/node.config.js';
import { TunnelServerConfig } from '../../tunnel/tunnel-server.config.js';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sendense-config-'));
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

function fileWith(text: string): string {
  const file = join(folder, 'config.yaml');
  writeFileSync(file, text);
  return file;
}

function problemsOf(load: () => unknown): readonly string[] {
  try {
    load();
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

const hub = (environment: Record<string, string>, file?: string): HubConfig => loadConfig(HubConfig, { environment, file });
const node = (environment: Record<string, string>, file?: string): NodeConfig => loadConfig(NodeConfig, { environment, file });
const tunnelServer = (environment: Record<string, string>): TunnelServerConfig => loadConfig(TunnelServerConfig, { environment });

describe('sources', () => {
  it('has a valid default for everything', () => {
    expect(hub({})).toMatchObject({ listenHost: '127.0.0.1', listenPort: 9080, nbdPortFirst: 10100, nbdPortCount: 101, databaseUrl: null });
    expect(node({})).toMatchObject({ listenPort: 9081, hubUrl: 'http://127.0.0.1:9080' });
  });

  it('lets the file override defaults and the environment override the file', () => {
    const file = fileWith('listen_port: 7001\nchain_max_length: 5\n');
    expect(hub({ SENDENSE_LISTEN_PORT: '7002' }, file)).toMatchObject({ listenPort: 7002, chainMaxLength: 5 });
  });

  it('lets the drop-ins next to the file override it in name order, and names an invalid one', () => {
    const place = mkdtempSync(join(folder, 'drop-ins-'));
    const file = join(place, 'hub.yaml');
    const dropIn = (name: string, text: string): void => writeFileSync(join(place, 'conf.d', name), text);
    writeFileSync(file, 'chain_max_length: 5\nlog_level: debug\nmount_slots: 2\n');
    mkdirSync(join(place, 'conf.d'));
    dropIn('10-site.yaml', 'chain_max_length: 6\nmount_slots: 3\n');
    dropIn('20-host.yaml', 'chain_max_length: 7\n');
    dropIn('.20-host.yaml.swp', 'half written');
    expect(hub({ SENDENSE_MOUNT_SLOTS: '4' }, file)).toMatchObject({ chainMaxLength: 7, logLevel: 'debug', mountSlots: 4 });

    dropIn('10-site.yaml', 'chain_max_lenth: 6\n');
    dropIn('20-host.yaml', 'chain_max_length: no\n');
    dropIn('30-other.yml', 'chain_max_length: 8\n');
    dropIn('40-broken.yaml', 'chain_max_length: [\n');
    expect(problemsOf(() => hub({}, file))).toEqual([
      expect.stringMatching(/^the file .*30-other\.yml is not read: its name must end in \.yaml$/),
      `chain_max_lenth: is not a known setting (in ${join(place, 'conf.d', '10-site.yaml')}); did you mean chain_max_length?`,
      expect.stringMatching(/^the file .*40-broken\.yaml is not valid YAML/),
      `chain_max_length: must be an integer from 1 to 1000, but is "no" (in ${join(place, 'conf.d', '20-host.yaml')})`,
    ]);
  });

  it('finds the file through SENDENSE_CONFIG', () => {
    expect(hub({ SENDENSE_CONFIG: fileWith('listen_port: 7003') }).listenPort).toBe(7003);
  });

  it('reads the database from DATABASE_URL, with SENDENSE_DATABASE_URL taking precedence', () => {
    expect(hub({ DATABASE_URL: 'postgres://one/x' }).databaseUrl).toBe('postgres://one/x');
    expect(hub({ DATABASE_URL: 'postgres://one/x', SENDENSE_DATABASE_URL: 'postgres://two/x' }).databaseUrl).toBe('postgres://two/x');
  });

  it('reads lists from the environment in PATH syntax, and booleans as true or false', () => {
    expect(node({ SENDENSE_IMAGE_ROOTS: '/a:/b c' }).imageRoots).toEqual(['/a', '/b c']);
    expect(hub({ SENDENSE_START_LOCAL_NODE: 'false' }).startLocalNode).toBe(false);
  });

  it('places unconfigured paths in the data directory', () => {
    expect(hub({ SENDENSE_DATA_DIRECTORY: '/data' })).toMatchObject({
      apiTokenFile: '/data/api.token',
      nodeTokenFile: '/data/node.token',
      runDirectory: '/data/run',
    });
    expect(hub({ SENDENSE_DATA_DIRECTORY: '/data', SENDENSE_RUN_DIRECTORY: '/run/x' }).runDirectory).toBe('/run/x');
  });

  it('treats an empty variable and an empty file as absent', () => {
    expect(hub({ SENDENSE_LISTEN_PORT: '' }, fileWith('')).listenPort).toBe(9080);
  });

  it('is immutable', () => {
    expect(Object.isFrozen(hub({}))).toBe(true);
  });

  it('names fields in snake_case', () => {
    expect([fileKey('nodeRequestTimeoutMs'), environmentVariable('nbdPortFirst')]).toEqual(['node_request_timeout_ms', 'SENDENSE_NBD_PORT_FIRST']);
  });
});

describe('refusals', () => {
  it('reports every invalid value with its rule and its source, not only the first', () => {
    const problems = problemsOf(() => hub({ SENDENSE_LISTEN_PORT: 'http', SENDENSE_LOG_LEVEL: 'loud' }, fileWith('max_concurrent_backups: 0\n')));
    expect(problems).toEqual(
      expect.arrayContaining([
        'listen_port: must be an integer from 0 to 65535, but is "http" (in SENDENSE_LISTEN_PORT)',
        'log_level: must be one of trace, debug, info, warn, error, fatal, silent, but is "loud" (in SENDENSE_LOG_LEVEL)',
        `max_concurrent_backups: must be an integer from 1 to 1000, but is 0 (in ${join(folder, 'config.yaml')})`,
      ]),
    );
    expect(problems).toHaveLength(3);
  });

  it('refuses an unknown setting in the file and suggests a similar one', () => {
    const file = fileWith('listen_prot: 1\ncolour: red\nlistenPort: 3\n');
    expect(problemsOf(() => hub({}, file))).toEqual([
      `listen_prot: is not a known setting (in ${file}); did you mean listen_port?`,
      `colour: is not a known setting (in ${file})`,
      `listenPort: is not a known setting (in ${file}); did you mean listen_port?`,
    ]);
  });

  it.each([
    ['missing', '/does/not/exist.yaml', /cannot be read: Error: ENOENT/],
    ['a folder', '/', /cannot be read: Error: EISDIR/],
  ])('refuses a file that is %s', (_what, file, message) => {
    expect(problemsOf(() => hub({}, file))[0]).toMatch(message);
  });

  it.each([
    ['not YAML', 'a: [1', /is not valid YAML/],
    ['with a setting twice', 'listen_port: 1\nlisten_port: 2', /is not valid YAML/],
    ['a list', '- 1', /must hold settings/],
  ])('refuses a file that is %s', (_what, text, message) => {
    expect(problemsOf(() => hub({}, fileWith(text)))[0]).toMatch(message);
  });

  it('never prints a secret', () => {
    const problems = problemsOf(() => hub({ SENDENSE_API_TOKEN: 'hunter2', DATABASE_URL: 'mysql://u:hunter2@h/x' })).join('\n');
    expect(problems).toContain('api_token: must be 16 to 1024');
    expect(problems).toContain('database_url: must be a URL');
    expect(problems).not.toContain('hunter2');
  });

  it('wants an address with event_store: eventstoredb, and prints neither it nor its password', () => {
    expect(problemsOf(() => hub({ SENDENSE_EVENT_STORE: 'eventstoredb' }))).toEqual(['eventstoredb_url: must be set with event_store: eventstoredb']);
    const url = 'esdb://u:p%40ss@h:2113';
    expect(hub({ SENDENSE_EVENT_STORE: 'eventstoredb', SENDENSE_EVENTSTOREDB_URL: url })).toMatchObject({ eventStore: 'eventstoredb', eventstoredbUrl: url });
    expect(problemsOf(() => hub({ SENDENSE_EVENTSTOREDB_URL: 'esdb://u:hunter2@h:x' })).join()).not.toContain('hunter2');
  });

  it('reports an invalid data directory once, not again for each path in it', () => {
    expect(problemsOf(() => hub({ SENDENSE_DATA_DIRECTORY: 'here' }))).toEqual([
      'data_directory: must be an absolute path, but is "here" (in SENDENSE_DATA_DIRECTORY)',
    ]);
  });

  it('creates nothing on disk', () => {
    const before = readdirSync(folder);
    problemsOf(() => hub({ SENDENSE_DATA_DIRECTORY: join(folder, 'data'), SENDENSE_LISTEN_PORT: '-1' }));
    hub({ SENDENSE_DATA_DIRECTORY: join(folder, 'data') });
    expect(readdirSync(folder)).toEqual(before);
  });
});

const HUB_RULES: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ['data_directory', ['relative', '/new\nline'], ['/var/lib/x', '/with space/ü']],
  ['listen_host', ['a b', '1.2.3.4:80', '-x', '::zz'], ['0.0.0.0', '::1', 'hub.example.org']],
  ['listen_port', ['-1', '65536', '1.5', 'x'], ['0', '65535']],
  ['database_url', ['localhost', 'http://x/y'], ['postgres://u:p@h:5432/d', 'postgresql://h/d']],
  ['database_owner_url', ['localhost', 'http://x/y'], ['postgres://u:p@h:5432/d', 'postgresql://h/d']],
  ['event_store', ['mysql'], ['postgres']],
  [
    'eventstoredb_url',
    ['localhost', 'esdb://h:2113', 'esdb://u:p@h?x=1', 'esdb://u:p@h:0', 'esdb+discover://u:p@h,i', 'http://u:p@h', 'esdb://u:%zz@h'],
    ['esdb://u:p@h', 'esdb://u:p%40@h:2113,i:2114?tls=true', 'esdb+discover://u:p@h', 'esdb://h:1?tls=false'],
  ],
  ['eventstoredb_ca_file', ['ca.crt'], ['/etc/ca.crt']],
  ['api_token', ['short', 'with a space in the token', 'fifteen_letters'], ['0123456789abcdef']],
  ['api_token_file', ['api.token'], ['/etc/api.token']],
  ['api_token_list_file', ['api.token'], ['/etc/api.token']],
  ['node_token_file', ['node.token'], ['/etc/node.token']],
  ['nbd_port_first', ['80', '10100.5'], ['1024', '20000']],
  ['nbd_port_count', ['0', '1001'], ['1', '1000']],
  ['nbd_listen_host', ['*'], ['::']],
  ['nbd_advertise_host', ['nbd://x'], ['hub']],
  ['tunnel_directory', ['tunnel'], ['/srv/tunnel']],
  ['tunnel_advertise_host', ['a b', 'hub:9022'], ['hub.example.org', '2001:db8::7']],
  ['tunnel_advertise_port', ['-1', '65536'], ['0', '9022']],
  ['pairing_minutes', ['0', '10081'], ['1', '10080']],
  ['node_port_first', ['1023', '9081.5'], ['1024', '60000']],
  ['node_port_count', ['0', '1001'], ['1', '1000']],
  ['max_concurrent_backups', ['0', '1001'], ['1', '101']],
  ['stall_after_seconds', ['0', '1e1'], ['1', '299']],
  ['fail_after_silent_seconds', ['60', '604801'], ['61', '604800']],
  ['refused_token_delay_ms', ['-1', '60001'], ['0', '60000']],
  ['max_downloads', ['0', '1001'], ['1', '1000']],
  ['max_downloads_per_actor', ['0', '1001'], ['1', '1000']],
  ['max_event_streams', ['0', '10001'], ['1', '10000']],
  ['max_event_streams_per_actor', ['0', '10001'], ['1', '10000']],
  ['slow_reader_seconds', ['0', '3601'], ['1', '3600']],
  ['slow_reader_min_bytes_per_second', ['0', '1000000001'], ['1', '1000000000']],
  ['restore_export_idle_seconds', ['0', '604801'], ['1', '604800']],
  ['chain_max_length', ['0', '1001'], ['1', '1000']],
  ['expiry_grace_seconds', ['-1', '31536001'], ['0', '31536000']],
  ['scrub_percent_per_day', ['-1', '101'], ['0', '100']],
  ['copy_patience_seconds', ['-1', '31536001'], ['0', '31536000']],
  ['node_request_timeout_ms', ['99', '600001'], ['100', '600000']],
  ['restore_roots', ['restore', '/a:b'], ['/a:/b']],
  ['standby', ['yes', '1'], ['true', 'false']],
  ['start_local_node', ['yes', '1'], ['true', 'false']],
  ['local_node_port', ['-1', '65536'], ['0', '9999']],
  ['local_node_image_roots', ['images', '/a:b'], ['/a:/b']],
  ['local_node_image_templates', ['images', '/a:b'], ['/a:/b', '']],
  ['local_node_libvirt_scratch_directory', ['scratch'], ['/scratch']],
  ['local_node_guest_socket_directory', ['scratch'], ['/scratch']],
  ['local_node_libvirt_scratch_max_bytes', ['1', 'much'], ['16777216']],
  ['local_node_libvirt_uri', ['http://x', 'qemu+ssh://elsewhere/system'], ['qemu:///system']],
  ['local_node_vm_storage_roots', ['images', '/a:b'], ['/a:/b']],
  ['mount_driver', ['kernel'], ['auto', 'fuse', 'nbd', 'guestfs']],
  ['mount_slots', ['0', '65'], ['1', '64']],
  ['mount_idle_seconds', ['0', '604801'], ['1', '604800']],
  ['mount_cleanup_interval_seconds', ['0', '3601'], ['1', '3600']],
  ['mount_timeout_seconds', ['4', '3601'], ['5', '3600']],
  ['mount_answer_seconds', ['0', '601'], ['1', '600']],
  ['storage_answer_seconds', ['0', '601'], ['1', '600']],
  ['guestfs_force_emulation', ['yes'], ['true', 'false']],
  ['run_directory', ['run'], ['/run/sendense']],
  ['shared_directory', ['shared'], ['/mnt/shared']],
  ['mount_helper_socket', ['helper.sock'], ['/run/x/helper.sock']],
  ['log_level', ['INFO'], ['debug', 'silent']],
  ['log_format', ['pretty'], ['text', 'json']],
];

const NODE_RULES: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ['node_id', ['a/b', '-x', 'x'.repeat(65)], ['node-1', 'A.b_c']],
  ['data_directory', ['x'], ['/x']],
  ['listen_host', ['a b'], ['::1']],
  ['listen_port', ['x'], ['0']],
  ['hub_url', ['hub:9080', 'ftp://hub'], ['http://hub:9080', 'https://[::1]:1']],
  ['beside_hub', ['yes', '1'], ['true', 'false']],
  ['token_file', ['token'], ['/token']],
  ['tunnel_directory', ['tunnel'], ['/srv/tunnel']],
  ['tunnel_connections', ['0', '17'], ['1', '16']],
  ['network_patience_seconds', ['0', '86401'], ['1', '86400']],
  ['image_roots', ['vms', '/a::/b'], ['/a', '/a:/b']],
  ['image_templates', ['vms', '/a::/b'], ['/a', '/a:/b', '']],
  ['libvirt_scratch_directory', ['scratch'], ['/scratch']],
  ['guest_socket_directory', ['scratch'], ['/scratch']],
  ['libvirt_scratch_max_bytes', ['1', 'much'], ['16777216']],
  ['libvirt_uri', ['-c', 'qemu+ssh://elsewhere/system'], ['qemu+unix:///system?socket=/run/x']],
  ['vm_storage_roots', ['vms', '/a::/b'], ['/a', '/a:/b']],
  ['allow_hub_guests', ['yes', '1'], ['true', 'false']],
  ['max_parallel_transfers', ['0', '1001'], ['1']],
  ['nbdcopy_connections', ['0', '9'], ['1', '8']],
  ['nbdcopy_requests', ['0', '1025'], ['1', '1024']],
  ['nbdcopy_request_size_bytes', ['4095', '5000', '67108864'], ['4096', '33554432']],
  ['telemetry_interval_ms', ['49', '60001'], ['50', '60000']],
  ['run_directory', ['run'], ['/run/x']],
  ['log_level', ['all'], ['trace']],
  ['log_format', ['xml'], ['text']],
];

const TUNNEL_SERVER_RULES: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ['tunnel_directory', ['tunnel'], ['/srv/tunnel']],
  ['tunnel_listen_host', ['a b'], ['::', '0.0.0.0']],
  ['tunnel_listen_port', ['-1', '65536'], ['0', '9022']],
  ['log_level', ['all'], ['trace']],
  ['log_format', ['xml'], ['text']],
];

describe.each([
  ['hub', hub, HubConfig, HUB_RULES],
  ['node', node, NodeConfig, NODE_RULES],
  ['tunnel server', tunnelServer, TunnelServerConfig, TUNNEL_SERVER_RULES],
] as const)('%s: every field has its rule', (_program, load, configClass, rules) => {
  it('is tested here for every field', () => {
    expect(rules.map(([key]) => key).sort()).toEqual(Object.keys(new configClass()).map(fileKey).sort());
  });

  it.each(rules)('%s', (key, wrong, right) => {
    const variable = `SENDENSE_${key.toUpperCase()}`;
    for (const value of wrong) {
      const problems = problemsOf(() => load({ [variable]: value }));
      expect(problems.map((problem) => problem.split(':')[0])).toEqual([key]);
    }
    for (const value of right) expect(problemsOf(() => load({ [variable]: value }))).toEqual([]);
  });
});

it('refuses a port pool that extends past the last port', () => {
  expect(problemsOf(() => hub({ SENDENSE_NBD_PORT_FIRST: '65500' }))).toEqual([
    'nbd_port_count: must not extend past port 65535, counted from nbd_port_first, but is 101',
  ]);
});
