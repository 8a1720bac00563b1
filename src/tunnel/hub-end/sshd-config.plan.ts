/** Ciphers that are fast with AES instructions come first; OpenSSH uses the first of the client's list that the server supports. */
export const TUNNEL_CIPHERS = ['aes128-gcm@openssh.com', 'aes256-gcm@openssh.com', 'chacha20-poly1305@openssh.com'] as const;
export const TUNNEL_KEX = ['sntrup761x25519-sha512@openssh.com', 'curve25519-sha256', 'curve25519-sha256@libssh.org'] as const;

export interface SshdPlaces {
  readonly hostKey: string;
  readonly authorizedKeys: string;
  /** The only account that may log in, the one that sshd runs as. */
  readonly user: string;
}

/** Seconds until a silent peer counts as gone: sshd probes after 5 s of silence, three times. */
const ALIVE_INTERVAL_S = 5;
const ALIVE_COUNT = 3;
const LOGIN_GRACE_S = 20;

/**
 * The configuration of an sshd that only forwards ports. The ports of each key are listed in its line of authorized_keys; these settings apply to all keys,
 * whatever such a line says.
 */
export function sshdConfigText(places: SshdPlaces): string {
  const settings: readonly (readonly [string, string])[] = [
    ['HostKey', quoted(places.hostKey)],
    ['AuthorizedKeysFile', quoted(escapedPercent(places.authorizedKeys))],
    ['PidFile', 'none'],
    ['LogLevel', 'VERBOSE'],
    // Another account owns these files; their permissions are set when they are created.
    ['StrictModes', 'no'],
    ['UsePAM', 'no'],
    ['AllowUsers', places.user],
    ['PermitRootLogin', 'prohibit-password'],
    ['AuthenticationMethods', 'publickey'],
    ['PubkeyAuthentication', 'yes'],
    ['PasswordAuthentication', 'no'],
    ['KbdInteractiveAuthentication', 'no'],
    ['HostbasedAuthentication', 'no'],
    ['MaxAuthTries', '3'],
    ['LoginGraceTime', String(LOGIN_GRACE_S)],
    ['PubkeyAcceptedAlgorithms', 'ssh-ed25519'],
    ['HostKeyAlgorithms', 'ssh-ed25519'],
    ['KexAlgorithms', TUNNEL_KEX.join(',')],
    ['Ciphers', TUNNEL_CIPHERS.join(',')],
    ['MACs', 'hmac-sha2-256-etm@openssh.com'],
    ['Compression', 'no'],
    ['AllowTcpForwarding', 'yes'],
    // A forward needs permission from both this setting and the key's line, so a tampered line still reaches no other machine.
    ['PermitOpen', '127.0.0.1:*'],
    ['PermitListen', '127.0.0.1:*'],
    ['GatewayPorts', 'no'],
    ['AllowStreamLocalForwarding', 'no'],
    ['AllowAgentForwarding', 'no'],
    ['X11Forwarding', 'no'],
    ['PermitTunnel', 'no'],
    ['PermitTTY', 'no'],
    ['PermitUserRC', 'no'],
    ['PermitUserEnvironment', 'no'],
    // No sessions of any kind: no shell, command or subsystem. The forced command is a second barrier.
    ['MaxSessions', '0'],
    ['ForceCommand', '/bin/false'],
    ['PrintMotd', 'no'],
    ['PrintLastLog', 'no'],
    ['TCPKeepAlive', 'yes'],
    ['ClientAliveInterval', String(ALIVE_INTERVAL_S)],
    ['ClientAliveCountMax', String(ALIVE_COUNT)],
    ['UseDNS', 'no'],
    ['IPQoS', 'none'],
  ];
  return `${settings.map(([name, value]) => `${name} ${value}`).join('\n')}\n`;
}

/** @throws Error for a path that sshd would misread */
function quoted(path: string): string {
  if (/["\\\r\n]/.test(path)) throw new Error(`${path} cannot be used in an sshd configuration`);
  return `"${path}"`;
}

/** Escapes a path in which ssh and sshd expand %u and the like. They expand nothing in the path of a host key. */
export function escapedPercent(path: string): string {
  return path.replaceAll('%', '%%');
}
