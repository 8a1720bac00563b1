import { describe, expect, it } from '@jest/globals';
import type { TunnelSettings } from '../interface/tunnel-settings.js';
import { atAddress, causeOfEnd, portsOf, sshArgv, type TunnelConnectionPlan } from './tunnel-ssh.plan.js';

const settings: TunnelSettings = {
  hub_host: 'hub.example',
  hub_port: 8022,
  user: 'sendense',
  node_id: 'n1',
  reverse_port: 9082,
  nbd_port_first: 10_100,
  nbd_port_count: 4,
  hub_api_port: 8080,
  local_host: '127.0.0.1',
};
const plan: TunnelConnectionPlan = {
  index: 0,
  count: 2,
  settings,
  privateKey: '/data/tunnel/id_ed25519',
  knownHosts: '/data/tunnel/known_hosts',
  nodeAddress: '127.0.0.1:9081',
  exportSocket: (port) => `/data/tunnel/${port}.sock`,
  probeSocket: '/run/probe/0.sock',
  aesInHardware: true,
};
const OPTIONS = [
  'BatchMode=yes',
  'StrictHostKeyChecking=yes',
  'UserKnownHostsFile="/data/tunnel/known_hosts"',
  'GlobalKnownHostsFile=/dev/null',
  'HostKeyAlias=sendense-hub',
  'CheckHostIP=no',
  'UpdateHostKeys=no',
  'VerifyHostKeyDNS=no',
  'HostKeyAlgorithms=ssh-ed25519',
  'KexAlgorithms=sntrup761x25519-sha512@openssh.com,curve25519-sha256,curve25519-sha256@libssh.org',
  'Ciphers=aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com',
  'MACs=hmac-sha2-256-etm@openssh.com',
  'Compression=no',
  'PreferredAuthentications=publickey',
  'PubkeyAcceptedAlgorithms=ssh-ed25519',
  'IdentitiesOnly=yes',
  'IdentityAgent=none',
  'IdentityFile="/data/tunnel/id_ed25519"',
  'ControlMaster=no',
  'ControlPath=none',
  'ForwardAgent=no',
  'ForwardX11=no',
  'PermitLocalCommand=no',
  'RequestTTY=no',
  'EscapeChar=none',
  'ExitOnForwardFailure=yes',
  'StreamLocalBindUnlink=yes',
  'StreamLocalBindMask=0177',
  'ConnectTimeout=10',
  'ConnectionAttempts=1',
  'ServerAliveInterval=5',
  'ServerAliveCountMax=3',
  'TCPKeepAlive=yes',
  'IPQoS=none',
  'LogLevel=INFO',
].flatMap((option) => ['-o', option]);

/** The values of an option of the command line. */
function valuesOf(argv: readonly string[], option: string): readonly string[] {
  return argv.filter((_, index) => argv[index - 1] === option);
}

describe('the command line of a connection', () => {
  it('of the first one brings the calls of both sides, a probe and its share of the exports', () => {
    expect(sshArgv(plan)).toEqual([
      'ssh',
      '-N',
      '-T',
      '-F',
      'none',
      ...OPTIONS,
      '-L',
      '/run/probe/0.sock:127.0.0.1:8080',
      '-L',
      '127.0.0.1:8080:127.0.0.1:8080',
      '-R',
      '127.0.0.1:9082:127.0.0.1:9081',
      '-L',
      '/data/tunnel/10100.sock:127.0.0.1:10100',
      '-L',
      '/data/tunnel/10102.sock:127.0.0.1:10102',
      '-p',
      '8022',
      '-l',
      'sendense',
      '--',
      'hub.example',
    ]);
  });

  it('of a further one brings a probe and its share of the exports alone', () => {
    const argv = sshArgv({ ...plan, index: 1, probeSocket: '/run/probe/1.sock' });
    expect(valuesOf(argv, '-L')).toEqual([
      '/run/probe/1.sock:127.0.0.1:8080',
      '/data/tunnel/10101.sock:127.0.0.1:10101',
      '/data/tunnel/10103.sock:127.0.0.1:10103',
    ]);
    expect(valuesOf(argv, '-R')).toEqual([]);
  });

  it("leads to the hub's API from the port of the node that it was paired with, on the node's loopback", () => {
    const argv = sshArgv({ ...plan, settings: { ...settings, hub_api_local_port: 8081, local_host: '::1' } });
    expect(valuesOf(argv, '-L')).toContain('[::1]:8081:127.0.0.1:8080');
  });

  it('prefers ChaCha20 where the processor has no instructions for AES', () => {
    expect(valuesOf(sshArgv({ ...plan, aesInHardware: false }), '-o')).toContain(
      'Ciphers=chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,aes128-gcm@openssh.com',
    );
  });

  it('has percent signs of paths written twice: ssh replaces %u and the like', () => {
    const argv = sshArgv({
      ...plan,
      privateKey: '/a%b/id',
      knownHosts: '/a%b/known',
      probeSocket: '/a%b/probe',
      exportSocket: (port) => `/a%b/${port}`,
    });
    expect(valuesOf(argv, '-o')).toEqual(expect.arrayContaining(['IdentityFile="/a%%b/id"', 'UserKnownHostsFile="/a%%b/known"']));
    expect(valuesOf(argv, '-L')).toEqual(expect.arrayContaining(['/a%%b/probe:127.0.0.1:8080', '/a%%b/10100:127.0.0.1:10100']));
  });
});

describe('the ports of the hub', () => {
  it('are spread over the connections in turn, each over one', () => {
    expect(portsOf(0, 3, { nbd_port_first: 10_100, nbd_port_count: 7 })).toEqual([10_100, 10_103, 10_106]);
    expect(portsOf(1, 3, { nbd_port_first: 10_100, nbd_port_count: 7 })).toEqual([10_101, 10_104]);
    expect(portsOf(2, 3, { nbd_port_first: 10_100, nbd_port_count: 7 })).toEqual([10_102, 10_105]);
  });

  it('all go through the only connection', () => {
    expect(portsOf(0, 1, { nbd_port_first: 10_100, nbd_port_count: 3 })).toEqual([10_100, 10_101, 10_102]);
  });
});

describe('the end of a connection', () => {
  it.each([
    ['Host key verification failed.', 'host_key_changed'],
    ['@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @', 'host_key_changed'],
    ['No ED25519 host key is known for sendense-hub and you have requested strict checking.', 'host_key_changed'],
    ['sendense@hub.example: Permission denied (publickey).', 'key_refused'],
    ['Received disconnect from 192.0.2.1 port 8022:2: Too many authentication failures', 'key_refused'],
    ['Error: remote port forwarding failed for listen port 9082', 'reverse_port_taken'],
    ['bind [127.0.0.1]:8080: Address already in use', 'local_port_taken'],
    ['channel_setup_fwd_listener_tcpip: cannot listen to port: 8080', 'local_port_taken'],
    ['unix_listener: cannot bind to path\nCould not request local forwarding.', 'local_port_taken'],
    ['ssh: Could not resolve hostname hub.example: Name or service not known', 'name_not_resolved'],
    ['ssh: connect to host hub.example port 8022: Connection refused', 'connection_refused'],
    ['ssh: connect to host hub.example port 8022: No route to host', 'host_unreachable'],
    ['ssh: connect to host hub.example port 8022: Network is unreachable', 'host_unreachable'],
    ['ssh: connect to host hub.example port 8022: Connection timed out', 'connect_timeout'],
    ['Connection timed out during banner exchange', 'connect_timeout'],
    ['Connection to 192.0.2.1 port 8022 timed out', 'connect_timeout'],
    ['Timeout, server hub.example not responding.', 'no_answer'],
    ['client_loop: send disconnect: Broken pipe', 'connection_lost'],
    ['', 'connection_lost'],
  ])('has its cause in the last words of ssh: %s', (stderr, code) => {
    expect(causeOfEnd(stderr, settings).code).toBe(code);
  });

  it('is explained with the words of ssh, the last 1000 characters of them', () => {
    const said = `${'x'.repeat(2_000)} Connection refused`;
    expect(causeOfEnd(`${said}\n`, settings).detail).toBe(`Nothing listens at hub.example:8022. ssh says: ${said.slice(-1_000)}`);
    expect(causeOfEnd(' \n', settings).detail).toBe('The connection to hub.example:8022 was lost.');
  });

  it('by another host key names the key, and not the advice of ssh to forget the right one', () => {
    const stderr =
      'The fingerprint for the ED25519 key sent by the remote host is\nSHA256:abc+/DEF.\nAdd correct host key in /data/tunnel/known_hosts\n' +
      '  remove with:\n  ssh-keygen -f "/data/tunnel/known_hosts" -R "sendense-hub"\nHost key verification failed.';
    const { detail } = causeOfEnd(stderr, settings);
    expect(detail).toContain('but SHA256:abc+/DEF; nothing was sent to it');
    expect(detail).not.toContain('ssh-keygen');
  });

  it('by another host key is not mistaken for a refused key, whatever else is said', () => {
    expect(causeOfEnd('Permission denied\nHost key verification failed.', settings).code).toBe('host_key_changed');
  });
});

describe('the hubs of a pair', () => {
  const pair = { ...plan, settings: { ...settings, other_hubs: [{ host: 'hub-b.example', port: 9022 }] } };

  it('are tried in turn, each for a short time', () => {
    const targets = [0, 1, 2].map((turn) => sshArgv(atAddress(pair, turn)));
    expect(targets.map((argv) => argv.slice(-6))).toEqual([
      ['-p', '8022', '-l', 'sendense', '--', 'hub.example'],
      ['-p', '9022', '-l', 'sendense', '--', 'hub-b.example'],
      ['-p', '8022', '-l', 'sendense', '--', 'hub.example'],
    ]);
    expect(targets.every((argv) => argv.includes('ConnectTimeout=5'))).toBe(true);
  });

  it('are none of the concern of a node that knows one hub', () => {
    expect(atAddress(plan, 5)).toEqual(plan);
  });
});
