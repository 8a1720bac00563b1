import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { writeWhole } from '../../../lib/config/kept-files.js';
import { programVersion } from '../../../lib/config/version.js';
import { baseUrl } from '../../../lib/process/listen-port.js';
import { HOST_KEY_FILE } from '../../../lib/ssh/host-key.js';
import { readTunnelServerPlace } from '../../../tunnel/interface/tunnel-server-files.js';
import type { HubConfig } from '../../hub.config.js';
import type { LeaseHub, LeaseView } from '../../store/postgres/hub-lease.js';

/** Holds the term of the active hub, so that a standby sees whether it has the same directory. */
const TERM_FILE = 'hub.term';
const NONE = 'none';
/** Shared storage that does not answer for this long counts as missing. */
const PATIENCE_MS = 5_000;

/** This hub as it describes itself in the lease. */
export async function describeHub(config: HubConfig): Promise<LeaseHub> {
  const host = config.tunnelAdvertiseHost === '' ? hostname() : config.tunnelAdvertiseHost;
  const { listenPort, nbdPortFirst, nbdPortCount, nodePortFirst, nodePortCount } = config;
  return {
    host,
    url: baseUrl(config.listenHost, listenPort),
    version: programVersion(),
    tunnel: await tunnelOf(config),
    identity: {
      tunnel_host_key: await textOf(join(config.tunnelDirectory, `${HOST_KEY_FILE}.pub`)),
      listen_port: String(listenPort),
      nbd_ports: `${nbdPortFirst}, ${nbdPortCount}`,
      node_ports: `${nodePortFirst}, ${nodePortCount}`,
    },
  };
}

/** Called by a hub that is about to take the lease. @param term that it will have */
export function markSharedDirectory(config: HubConfig, term: number): void {
  writeWhole(join(config.sharedDirectory, TERM_FILE), `${term}\n`);
}

/** Why this hub could not do the work of the active one; empty: it could. One sentence each, with the remedy. */
export async function takeoverProblems(config: HubConfig, self: LeaseHub, view: LeaseView): Promise<readonly string[]> {
  if (view.holder === null) return [];
  const problems: string[] = [];
  const term = await textOf(join(config.sharedDirectory, TERM_FILE));
  // The holder writes it before it takes the lease, and may have been killed in between.
  if (term !== String(view.term) && term !== String(view.term + 1)) {
    problems.push(
      `shared_directory: ${config.sharedDirectory} is not the directory of the active hub (it holds term ${term}, not ${view.term}); ` +
        'mount the same storage on both machines and set shared_directory to it on both',
    );
  }
  for (const [name, theirs] of Object.entries(view.holder.identity)) {
    const own = self.identity[name] ?? NONE;
    // A hub that started before its tunnel server has no key to compare.
    if (own !== theirs && theirs !== NONE) problems.push(`${name}: ${own} here, but ${theirs} at the active hub on ${view.holder.host}; make them equal`);
  }
  return problems;
}

async function tunnelOf({ tunnelAdvertiseHost: host, tunnelAdvertisePort, tunnelDirectory }: HubConfig): Promise<LeaseHub['tunnel']> {
  if (host === '') return null;
  const port = tunnelAdvertisePort === 0 ? (await readTunnelServerPlace(tunnelDirectory).catch(() => null))?.listen_port : tunnelAdvertisePort;
  return port === undefined ? null : { host, port };
}

async function textOf(file: string): Promise<string> {
  const late = new AbortController();
  try {
    return await Promise.race([readFile(file, 'utf8').then((text) => text.trim()), pause(PATIENCE_MS, NONE, { signal: late.signal })]);
  } catch {
    return NONE;
  } finally {
    late.abort();
  }
}
