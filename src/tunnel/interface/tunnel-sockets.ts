import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NbdPlace } from '../../lib/nbd/nbd-uri.js';
import { makePrivateDirectory, SOCKET_PATH_BYTES } from '../../lib/process/socket-place.js';
import { readTunnelSettings } from './tunnel-settings.js';

const LONGEST_NAME = '/65535.sock';
const LOOPBACK = /^(127\.\d{1,3}\.\d{1,3}\.\d{1,3}|::1|localhost)$/;

/**
 * Where the tunnel listens for the hub's exports: Unix sockets in a private directory, because any account on the machine could connect to a TCP port. If the
 * directory's path is too long, the sockets are among the temporary files. Deterministic, so that tunnel and node agree.
 */
export function tunnelSocketDirectory(tunnelDirectory: string): string {
  const place = join(tunnelDirectory, 'nbd');
  if (Buffer.byteLength(place) + LONGEST_NAME.length <= SOCKET_PATH_BYTES) return place;
  return join(tmpdir(), `sendense-tunnel-${createHash('sha256').update(tunnelDirectory).digest('hex').slice(0, 20)}`);
}

/** @throws Error when another account created it */
export async function makeTunnelSocketDirectory(tunnelDirectory: string): Promise<void> {
  await makePrivateDirectory(tunnelSocketDirectory(tunnelDirectory));
}

/** The node's end of one of the hub's ports. */
export function tunnelSocket(tunnelDirectory: string, port: number): string {
  return join(tunnelSocketDirectory(tunnelDirectory), `${port}.sock`);
}

/**
 * How this node reaches an address given by the hub: if the node has a tunnel, a port on the hub's loopback is at the tunnel's far end. @throws as
 * readTunnelSettings
 */
export async function wayToExport(place: NbdPlace, tunnelDirectory: string): Promise<NbdPlace> {
  if ('socket' in place || !LOOPBACK.test(place.host)) return place;
  const settings = await readTunnelSettings(tunnelDirectory);
  if (settings === null) return place;
  const { nbd_port_first: first, nbd_port_count: count } = settings;
  return place.port >= first && place.port < first + count ? { socket: tunnelSocket(tunnelDirectory, place.port) } : place;
}
