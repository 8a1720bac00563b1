import { escapedPercent, TUNNEL_CIPHERS, TUNNEL_KEX } from '../hub-end/sshd-config.plan.js';
import { HUB_HOST_KEY_ALIAS, localApiPort, type TunnelSettings } from '../interface/tunnel-settings.js';
import type { TunnelCause, TunnelCauseCode } from '../interface/tunnel-state.plan.js';

export interface TunnelConnectionPlan {
  /** From 0. The first one brings the hub's calls to the node, and the node's to the hub. */
  readonly index: number;
  /** Of all the connections that share the hub's ports. */
  readonly count: number;
  readonly settings: TunnelSettings;
  readonly privateKey: string;
  readonly knownHosts: string;
  /** The node's API, `host:port`. */
  readonly nodeAddress: string;
  /** The node's end of one of the hub's ports for exports. */
  readonly exportSocket: (port: number) => string;
  /** Socket that leads through this connection to the hub's API, for probes. */
  readonly probeSocket: string;
  /** The processor has instructions for AES; without them ChaCha20 is the fastest cipher. */
  readonly aesInHardware: boolean;
}

/** ssh asks the server after so many seconds of silence, so many times, before it gives the connection up. */
const ALIVE_INTERVAL_S = 5;
const ALIVE_COUNT = 3;
const CONNECT_TIMEOUT_S = 10;

/** The ports of the hub's pool that go through one of the connections: every so-many-th, so that the disks of one VM, which have ports in a row, spread over all. */
export function portsOf(index: number, count: number, settings: Pick<TunnelSettings, 'nbd_port_first' | 'nbd_port_count'>): readonly number[] {
  return Array.from({ length: settings.nbd_port_count }, (_, offset) => settings.nbd_port_first + offset).filter((_, offset) => offset % count === index);
}

/** Command line of one connection. It reads no configuration but this, and no key but that of known_hosts will do. */
export function sshArgv(plan: TunnelConnectionPlan): readonly [string, ...string[]] {
  const { settings, index } = plan;
  const { local_host: localHost, hub_api_port: apiPort } = settings;
  const ciphers = plan.aesInHardware ? TUNNEL_CIPHERS : [...TUNNEL_CIPHERS].reverse();
  const options: readonly (readonly [string, string])[] = [
    ['BatchMode', 'yes'],
    ['StrictHostKeyChecking', 'yes'],
    ['UserKnownHostsFile', `"${escapedPercent(plan.knownHosts)}"`],
    ['GlobalKnownHostsFile', '/dev/null'],
    ['HostKeyAlias', HUB_HOST_KEY_ALIAS],
    ['CheckHostIP', 'no'],
    ['UpdateHostKeys', 'no'],
    ['VerifyHostKeyDNS', 'no'],
    ['HostKeyAlgorithms', 'ssh-ed25519'],
    ['KexAlgorithms', TUNNEL_KEX.join(',')],
    ['Ciphers', ciphers.join(',')],
    ['MACs', 'hmac-sha2-256-etm@openssh.com'],
    ['Compression', 'no'],
    ['PreferredAuthentications', 'publickey'],
    ['PubkeyAcceptedAlgorithms', 'ssh-ed25519'],
    ['IdentitiesOnly', 'yes'],
    ['IdentityAgent', 'none'],
    ['IdentityFile', `"${escapedPercent(plan.privateKey)}"`],
    ['ControlMaster', 'no'],
    ['ControlPath', 'none'],
    ['ForwardAgent', 'no'],
    ['ForwardX11', 'no'],
    ['PermitLocalCommand', 'no'],
    ['RequestTTY', 'no'],
    ['EscapeChar', 'none'],
    ['ExitOnForwardFailure', 'yes'],
    ['StreamLocalBindUnlink', 'yes'],
    ['StreamLocalBindMask', '0177'],
    ['ConnectTimeout', String(CONNECT_TIMEOUT_S)],
    ['ConnectionAttempts', '1'],
    ['ServerAliveInterval', String(ALIVE_INTERVAL_S)],
    ['ServerAliveCountMax', String(ALIVE_COUNT)],
    ['TCPKeepAlive', 'yes'],
    ['IPQoS', 'none'],
    ['LogLevel', 'INFO'],
  ];
  const forwards = portsOf(index, plan.count, settings).flatMap((port) => ['-L', `${escapedPercent(plan.exportSocket(port))}:127.0.0.1:${port}`]);
  const api =
    index === 0
      ? ['-L', `${bracketed(localHost)}:${localApiPort(settings)}:127.0.0.1:${apiPort}`, '-R', `127.0.0.1:${settings.reverse_port}:${plan.nodeAddress}`]
      : [];
  return [
    'ssh',
    '-N',
    '-T',
    '-F',
    'none',
    ...options.flatMap(([name, value]) => ['-o', `${name}=${value}`]),
    ...['-L', `${escapedPercent(plan.probeSocket)}:127.0.0.1:${apiPort}`],
    ...api,
    ...forwards,
    ...['-p', String(settings.hub_port), '-l', settings.user, '--', settings.hub_host],
  ];
}

const MAX_SAID = 1_000;

/** Why an ssh that was to hold a connection has ended, by its last words. The patterns are OpenSSH's own messages in the locale C. */
export function causeOfEnd(stderr: string, settings: Pick<TunnelSettings, 'hub_host' | 'hub_port' | 'reverse_port'>): TunnelCause {
  const said = stderr.trim().slice(-MAX_SAID);
  const hub = `${settings.hub_host}:${settings.hub_port}`;
  const because = (code: TunnelCauseCode, sentence: string): TunnelCause => ({ code, detail: said === '' ? sentence : `${sentence} ssh says: ${said}` });
  if (/Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|No ED25519 host key is known/.test(stderr)) {
    // Not ssh's own words: they advise to forget the pinned key.
    const [found] = /SHA256:[A-Za-z0-9+/]+/.exec(stderr) ?? [];
    const sentence =
      `What answers at ${hub} does not have the host key of the hub that this node was paired with${found === undefined ? '' : `, but ${found}`}; nothing was sent to it. ` +
      'If the hub was set up anew, pair the node again; if not, somebody stands between.';
    return { code: 'host_key_changed', detail: sentence };
  }
  if (/Permission denied|Too many authentication failures/.test(stderr)) {
    return because('key_refused', `The hub at ${hub} does not take this node's key: it is not approved there, or not any more.`);
  }
  if (/remote port forwarding failed for listen port/.test(stderr)) {
    return because(
      'reverse_port_taken',
      `Port ${settings.reverse_port} of the hub is taken, for some seconds perhaps by an earlier connection of this node, or it is not this node's.`,
    );
  }
  if (/Could not request local forwarding|cannot listen to port|Address already in use|cannot listen on path/.test(stderr)) {
    return because('local_port_taken', 'A port of this node that is to lead to the hub is taken by another program.');
  }
  if (/Could not resolve hostname/.test(stderr)) return because('name_not_resolved', `The name ${settings.hub_host} leads to no address.`);
  if (/Connection refused/.test(stderr)) return because('connection_refused', `Nothing listens at ${hub}.`);
  if (/No route to host|Network is unreachable/.test(stderr)) return because('host_unreachable', `There is no way to ${hub}.`);
  if (/Connection timed out during banner exchange|connect to host .*: Connection timed out|Connection to .* timed out$/m.test(stderr)) {
    return because('connect_timeout', `${hub} does not answer.`);
  }
  if (/Timeout, server .* not responding/.test(stderr)) return because('no_answer', `${hub} has gone silent.`);
  return because('connection_lost', `The connection to ${hub} has ended.`);
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
