import { describe, expect, it } from '@jest/globals';
import { escapedPercent, sshdConfigText, TUNNEL_CIPHERS, TUNNEL_KEX } from './sshd-config.plan.js';

const places = { hostKey: '/data/tunnel/host_key', authorizedKeys: '/data/tunnel/authorized_keys', user: 'sendense' };

/** sshd takes the first value of a name. */
function settingsOf(text: string): ReadonlyMap<string, readonly string[]> {
  const settings = new Map<string, string[]>();
  for (const line of text.trimEnd().split('\n')) {
    const [name = '', ...value] = line.split(' ');
    settings.set(name, [...(settings.get(name) ?? []), value.join(' ')]);
  }
  return settings;
}

const settings = settingsOf(sshdConfigText(places));

describe('the sshd of the tunnel', () => {
  it('has its own host key and its own list of keys, and lets one account in', () => {
    expect(settings.get('HostKey')).toEqual(['"/data/tunnel/host_key"']);
    expect(settings.get('AuthorizedKeysFile')).toEqual(['"/data/tunnel/authorized_keys"']);
    expect(settings.get('AllowUsers')).toEqual(['sendense']);
  });

  it('says each thing once, and each in a line that ends', () => {
    expect([...settings.values()].filter((values) => values.length !== 1)).toEqual([]);
    expect(sshdConfigText(places).endsWith('\n')).toBe(true);
  });

  it.each([
    ['AuthenticationMethods', 'publickey'],
    ['PubkeyAuthentication', 'yes'],
    ['PasswordAuthentication', 'no'],
    ['KbdInteractiveAuthentication', 'no'],
    ['HostbasedAuthentication', 'no'],
    ['UsePAM', 'no'],
    ['PermitRootLogin', 'prohibit-password'],
    ['MaxAuthTries', '3'],
    ['LoginGraceTime', '20'],
    ['PubkeyAcceptedAlgorithms', 'ssh-ed25519'],
    ['HostKeyAlgorithms', 'ssh-ed25519'],
  ])('lets in by key alone: %s %s', (name, value) => {
    expect(settings.get(name)).toEqual([value]);
  });

  it.each([
    ['AllowTcpForwarding', 'yes'],
    ['PermitOpen', '127.0.0.1:*'],
    ['PermitListen', '127.0.0.1:*'],
    ['GatewayPorts', 'no'],
    ['AllowStreamLocalForwarding', 'no'],
    ['AllowAgentForwarding', 'no'],
    ['X11Forwarding', 'no'],
    ['PermitTunnel', 'no'],
  ])('forwards TCP ports of its loopback and nothing else: %s %s', (name, value) => {
    expect(settings.get(name)).toEqual([value]);
  });

  it.each([
    ['MaxSessions', '0'],
    ['ForceCommand', '/bin/false'],
    ['PermitTTY', 'no'],
    ['PermitUserRC', 'no'],
    ['PermitUserEnvironment', 'no'],
  ])('runs no command: %s %s', (name, value) => {
    expect(settings.get(name)).toEqual([value]);
    expect(settings.has('Subsystem')).toBe(false);
  });

  it('takes only ciphers that authenticate, and key exchanges without SHA-1', () => {
    expect(settings.get('Ciphers')).toEqual(['aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com']);
    expect(settings.get('Ciphers')).toEqual([TUNNEL_CIPHERS.join(',')]);
    expect(settings.get('KexAlgorithms')).toEqual(['sntrup761x25519-sha512@openssh.com,curve25519-sha256,curve25519-sha256@libssh.org']);
    expect(settings.get('KexAlgorithms')).toEqual([TUNNEL_KEX.join(',')]);
    expect(settings.get('MACs')).toEqual(['hmac-sha2-256-etm@openssh.com']);
  });

  it('gives a silent node up after 15 s', () => {
    expect(settings.get('ClientAliveInterval')).toEqual(['5']);
    expect(settings.get('ClientAliveCountMax')).toEqual(['3']);
  });

  it('finds its files also where a path has a percent sign: only in the list of keys does sshd replace those', () => {
    const odd = settingsOf(sshdConfigText({ ...places, hostKey: '/a%b/host_key', authorizedKeys: '/a%b c/keys' }));
    expect(odd.get('HostKey')).toEqual(['"/a%b/host_key"']);
    expect(odd.get('AuthorizedKeysFile')).toEqual(['"/a%%b c/keys"']);
    expect(escapedPercent('/%u/%%/x')).toBe('/%%u/%%%%/x');
  });

  it.each(['/a"b', '/a\\b', '/a\nPermitTTY yes', '/a\rb'])('is not configured with a path that would say something else: %j', (path) => {
    expect(() => sshdConfigText({ ...places, hostKey: path })).toThrow('cannot be used in an sshd configuration');
    expect(() => sshdConfigText({ ...places, authorizedKeys: path })).toThrow('cannot be used in an sshd configuration');
  });
});
