import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { listOf, matching, object, text, wholeNumber, wrong } from '../../lib/json-shape/json-shape.js';
import { ifThere } from '../../lib/files/if-there.js';

/** Files of a node's tunnel directory: its key pair, the hub's host key, and the connection settings. */
export const TUNNEL_FILES = { privateKey: 'id_ed25519', publicKey: 'id_ed25519.pub', knownHosts: 'known_hosts', settings: 'tunnel.json' } as const;

/** The hub's host key is pinned under this name (ssh's HostKeyAlias), whatever the hub's address: the address may change, the key may not. */
export const HUB_HOST_KEY_ALIAS = 'sendense-hub';

/** Where a tunnel server listens. */
export interface HubAddress {
  readonly host: string;
  readonly port: number;
}

/** The settings of a node's tunnel, as received from the hub at pairing. */
export interface TunnelSettings {
  /** Host name or address of the tunnel server. */
  readonly hub_host: string;
  readonly hub_port: number;
  /** Tunnel servers of the other hubs of a pair, one of which is active instead. Absent: there are none. */
  readonly other_hubs?: readonly HubAddress[];
  /** Account on the hub that the tunnel server runs as. */
  readonly user: string;
  readonly node_id: string;
  /** On the hub's loopback address; forwarded to the node's API. */
  readonly reverse_port: number;
  /** The hub's ports for NBD exports; they have the same numbers on the node. */
  readonly nbd_port_first: number;
  readonly nbd_port_count: number;
  /** The hub's API on the hub's loopback. */
  readonly hub_api_port: number;
  /** Port on the node. It stays the one from pairing, so that settings on the node remain valid. Absent: the same as hub_api_port. */
  readonly hub_api_local_port?: number;
  /** The loopback address on which the node reaches the hub's ports. */
  readonly local_host: string;
}

const HOST = matching(/^[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?$/, 'a host name or address');
const LOOPBACK = matching(/^(127\.\d{1,3}\.\d{1,3}\.\d{1,3}|::1)$/, 'a loopback address');
const USER = matching(/^[a-z_][a-z0-9_-]{0,31}$/, 'the name of an account');
const NODE_ID = matching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'the id of a node');

/** @throws WrongShapeError naming the member; SyntaxError when it is not JSON */
export function parseTunnelSettings(json: string): TunnelSettings {
  const members = object(JSON.parse(json), 'the tunnel settings');
  const settings: TunnelSettings = {
    hub_host: HOST(members['hub_host'], 'hub_host'),
    hub_port: port(members['hub_port'], 'hub_port'),
    ...(members['other_hubs'] === undefined ? {} : { other_hubs: listOf(hubAddress)(members['other_hubs'], 'other_hubs') }),
    user: USER(members['user'], 'user'),
    node_id: NODE_ID(members['node_id'], 'node_id'),
    reverse_port: port(members['reverse_port'], 'reverse_port'),
    nbd_port_first: port(members['nbd_port_first'], 'nbd_port_first'),
    nbd_port_count: wholeNumber(members['nbd_port_count'], 'nbd_port_count'),
    hub_api_port: port(members['hub_api_port'], 'hub_api_port'),
    ...(members['hub_api_local_port'] === undefined ? {} : { hub_api_local_port: port(members['hub_api_local_port'], 'hub_api_local_port') }),
    local_host: members['local_host'] === undefined ? '127.0.0.1' : LOOPBACK(text(members['local_host'], 'local_host'), 'local_host'),
  };
  if (settings.nbd_port_count < 1 || settings.nbd_port_first + settings.nbd_port_count > 65_536) {
    throw wrong('nbd_port_count', 'at least 1, with the last port below 65536', settings.nbd_port_count);
  }
  return settings;
}

/** The port of the hub's API on the node. */
export function localApiPort(settings: Pick<TunnelSettings, 'hub_api_port' | 'hub_api_local_port'>): number {
  return settings.hub_api_local_port ?? settings.hub_api_port;
}

/** The addresses at which the active hub may be found, the one from pairing first. */
export function hubAddresses(settings: Pick<TunnelSettings, 'hub_host' | 'hub_port' | 'other_hubs'>): readonly HubAddress[] {
  return [{ host: settings.hub_host, port: settings.hub_port }, ...(settings.other_hubs ?? [])];
}

/** The same tunnel with other ports of the hub, and other addresses unless `hubs` is absent. */
export function withPorts(
  settings: TunnelSettings,
  changes: Pick<TunnelSettings, 'hub_api_port' | 'nbd_port_first' | 'nbd_port_count'> & { readonly hubs?: readonly HubAddress[] | undefined },
): TunnelSettings {
  const { hub_api_local_port: _, ...rest } = settings;
  const { hubs, ...ports } = changes;
  const local = localApiPort(settings);
  const others = hubs?.filter(({ host, port: other }) => host !== settings.hub_host || other !== settings.hub_port).map((hub) => ({ ...hub }));
  return {
    ...rest,
    ...ports,
    ...(others === undefined ? {} : { other_hubs: others }),
    ...(local === ports.hub_api_port ? {} : { hub_api_local_port: local }),
  };
}

export function tunnelSettingsText(settings: TunnelSettings): string {
  return `${JSON.stringify(settings, null, 2)}\n`;
}

/** null: this node has no tunnel. @throws as parseTunnelSettings */
export async function readTunnelSettings(tunnelDirectory: string): Promise<TunnelSettings | null> {
  const json = await ifThere(readFile(join(tunnelDirectory, TUNNEL_FILES.settings), 'utf8'));
  return json === null ? null : parseTunnelSettings(json);
}

/** The known_hosts file that pins the hub's host key. @param hostKey `ssh-ed25519 <base64>` */
export function knownHostsText(hostKey: string): string {
  return `${HUB_HOST_KEY_ALIAS} ${hostKey}\n`;
}

/** The host key pinned in such a known_hosts file, `ssh-ed25519 <base64>`. @throws Error when it pins none */
export function hostKeyIn(knownHosts: string): string {
  const [, key] = new RegExp(`^${HUB_HOST_KEY_ALIAS} (ssh-ed25519 [A-Za-z0-9+/]{68})$`, 'm').exec(knownHosts) ?? [];
  if (key === undefined) throw new Error(`the known_hosts file pins no host key of ${HUB_HOST_KEY_ALIAS}`);
  return key;
}

function hubAddress(value: unknown, where: string): HubAddress {
  const members = object(value, where);
  return { host: HOST(members['host'], `${where}.host`), port: port(members['port'], `${where}.port`) };
}

function port(value: unknown, where: string): number {
  const number = wholeNumber(value, where);
  if (number < 1 || number > 65_535) throw wrong(where, 'a port from 1 to 65535', value);
  return number;
}
