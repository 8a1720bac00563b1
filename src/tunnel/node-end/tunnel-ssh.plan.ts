import { escapedPercent, TUNNEL_CIPHERS, TUNNEL_KEX } from '../hub-end/sshd-config.plan.js';
import { HUB_HOST_KEY_ALIAS, hubAddresses, localApiPort, type TunnelSettings } from '../interface/tunnel-settings.js';
import type { TunnelCause, TunnelCauseCode } from '../interface/tunnel-state.plan.js';

export interface TunnelConnectionPlan {
  /** From 0. The first one carries the API calls in both directions. */
  readonly index: number;
  /** Number of connections that share the hub's ports. */
  readonly count: number;
  readonly settings: TunnelSettings;
  readonly privateKey: string;
  readonly knownHosts: string;
  /** The node's API, `host:port`. */
  readonly nodeAddress: string;
  /** The node's socket for one of the hub's export ports. */
  readonly exportSocket: (port: number) => string;
  /** Socket forwarded through this connection to the hub's API, for probes. */
  readonly probeSocket: string;
  /** The processor has AES instructions; without them ChaCha20 is the fastest cipher. */
  readonly aesInHardware: boolean;
}

/** ssh probes the server after this many seconds of silence, this many times, before it closes the connection. */
const ALIVE_INTERVAL_S = 5;
const ALIVE_COUNT = 3;
const CONNECT_TIMEOUT_S = 10;
/** With another hub to try. */
const CONNECT_TIMEOUT_OF_SEVERAL_S = 5;

/**
 * The ports of the hub's pool that go through one connection: every count-th, so that the disks of one VM, which have consecutive ports, are spread over all
 * connections.
 */
export function portsOf(index: number, count: number, settings: Pick<TunnelSettings, 'nbd_port_first' | 'nbd_port_count'>): readonly number[] {
  return Array.from({ length: settings.nbd_port_count }, (_, offset) => settings.nbd_port_first + offset).filter((_, offset) => offset % count === index);
}

/** The same connection to one of the addresses of the hubs. @param index the first address if there are fewer */
export function atAddress(plan: TunnelConnectionPlan, index: number): TunnelConnectionPlan {
  const addresses = hubAddresses(plan.settings);
  const { host, port } = addresses[index] ?? { host: plan.settings.hub_host, port: plan.settings.hub_port };
  return { ...plan, settings: { ...plan.settings, hub_host: host, hub_port: port } };
}

/** The command line of one connection. ssh reads no other configuration, and accepts only the host key in known_hosts. */
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
    ['ConnectTimeout', String((settings.other_hubs ?? []).length > 0 ? CONNECT_TIMEOUT_OF_SEVERAL_S : CONNECT_TIMEOUT_S)],
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

/** The reason why an ssh that held a connection has exited, from its last output. The patterns are OpenSSH's own messages in locale C. */
export function causeOfEnd(stderr: string, settings: Pick<TunnelSettings, 'hub_host' | 'hub_port' | 'reverse_port'>): TunnelCause {
  const said = stderr.trim().slice(-MAX_SAID);
  const hub = `${settings.hub_host}:${settings.hub_port}`;
  const because = (code: TunnelCauseCode, sentence: string): TunnelCause => ({ code, detail: said === '' ? sentence : `${sentence} ssh says: ${said}` });
  if (/Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|No ED25519 host key is known/.test(stderr)) {
    // Not ssh's own message, which advises removing the pinned key.
    const [found] = /SHA256:[A-Za-z0-9+/]+/.exec(stderr) ?? [];
    const sentence =
      `The server at ${hub} does not have the host key of the hub that this node was paired with${found === undefined ? '' : `, but ${found}`}; nothing was sent to it. ` +
      'If the hub was reinstalled, pair the node again; otherwise someone is intercepting the connection.';
    return { code: 'host_key_changed', detail: sentence };
  }
  if (/Permission denied|Too many authentication failures/.test(stderr)) {
    return because('key_refused', `The hub at ${hub} does not accept this node's key: it is not approved there, or was revoked.`);
  }
  if (/remote port forwarding failed for listen port/.test(stderr)) {
    return because(
      'reverse_port_taken',
      `Port ${settings.reverse_port} of the hub is in use, possibly for some seconds by an earlier connection of this node, or it does not belong to this node.`,
    );
  }
  if (/Could not request local forwarding|cannot listen to port|Address already in use|cannot listen on path/.test(stderr)) {
    return because('local_port_taken', 'A port of this node that should be forwarded to the hub is in use by another program.');
  }
  if (/Could not resolve hostname/.test(stderr)) return because('name_not_resolved', `The name ${settings.hub_host} does not resolve to an address.`);
  if (/Connection refused/.test(stderr)) return because('connection_refused', `Nothing listens at ${hub}.`);
  if (/No route to host|Network is unreachable/.test(stderr)) return because('host_unreachable', `There is no route to ${hub}.`);
  if (/Connection timed out during banner exchange|connect to host .*: Connection timed out|Connection to .* timed out$/m.test(stderr)) {
    return because('connect_timeout', `${hub} does not answer.`);
  }
  if (/Timeout, server .* not responding/.test(stderr)) return because('no_answer', `${hub} stopped answering.`);
  return because('connection_lost', `The connection to ${hub} was lost.`);
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
