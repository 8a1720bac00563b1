import { describe, expect, it } from '@jest/globals';
import { hubAddresses, knownHostsText, localApiPort, parseTunnelSettings, type TunnelSettings, tunnelSettingsText, withPorts } from './tunnel-settings.js';

const settings: TunnelSettings = {
  hub_host: 'backup.example.org',
  hub_port: 9022,
  user: 'sendense-tunnel',
  node_id: '0193a5c2-7d1e-7000-8000-000000000002',
  reverse_port: 9081,
  nbd_port_first: 10100,
  nbd_port_count: 101,
  hub_api_port: 9080,
  local_host: '127.0.0.1',
};

describe('tunnel settings', () => {
  it('are read back unchanged', () => {
    expect(parseTunnelSettings(tunnelSettingsText(settings))).toEqual(settings);
  });

  it('default to 127.0.0.1', () => {
    expect(parseTunnelSettings(JSON.stringify({ ...settings, local_host: undefined }))).toEqual(settings);
  });

  it.each([
    ['hub_host', '-oProxyCommand=x'],
    ['hub_host', 'a b'],
    ['hub_port', 0],
    ['hub_port', '9022'],
    ['user', '-l'],
    ['node_id', '../x'],
    ['reverse_port', 65_536],
    ['nbd_port_first', 1.5],
    ['nbd_port_count', 0],
    ['nbd_port_count', 60_000],
    ['local_host', '0.0.0.0'],
    ['local_host', '192.168.1.1'],
  ])('report a wrong %s: %j', (member, value) => {
    expect(() => parseTunnelSettings(JSON.stringify({ ...settings, [member]: value }))).toThrow(member);
  });

  it("lead to other ports of the hub, and keep the API's port on the node", () => {
    const moved = withPorts(settings, { hub_api_port: 9090, nbd_port_first: 20_000, nbd_port_count: 5 });
    expect(moved).toEqual({ ...settings, hub_api_port: 9090, nbd_port_first: 20_000, nbd_port_count: 5, hub_api_local_port: 9080 });
    expect([localApiPort(settings), localApiPort(moved)]).toEqual([9080, 9080]);
    expect(parseTunnelSettings(tunnelSettingsText(moved))).toEqual(moved);
    expect(withPorts(moved, settings)).toEqual(settings);
  });

  it('pin the host key under a fixed alias', () => {
    expect(knownHostsText('ssh-ed25519 AAAA')).toBe('sendense-hub ssh-ed25519 AAAA\n');
  });

  it('take the addresses of the hubs of a pair, keep their own first, and keep all of them while the hub knows of no standby', () => {
    const ports = { hub_api_port: 9080, nbd_port_first: 10100, nbd_port_count: 101 };
    const other = { host: 'hub-b.example.org', port: 9022 };
    const taken = withPorts(settings, { ...ports, hubs: [other, { host: settings.hub_host, port: settings.hub_port }] });
    expect(hubAddresses(parseTunnelSettings(tunnelSettingsText(taken)))).toEqual([{ host: settings.hub_host, port: settings.hub_port }, other]);
    expect(withPorts(taken, ports)).toEqual(taken);
    expect(() => parseTunnelSettings(JSON.stringify({ ...settings, other_hubs: [{ host: '-o', port: 1 }] }))).toThrow('other_hubs');
  });
});
