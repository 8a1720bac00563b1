import type { RemoteHost } from './remote-host.connection.js';

/** The output of `install.sh step check` on a host. */
export interface HostFacts {
  readonly os: string;
  readonly freeKb: number;
  readonly epochSeconds: number;
  /** The release that the host's node runs; null: there is no node. */
  readonly release: string | null;
  /** All installed releases. */
  readonly releases: readonly string[];
  /** Set when a node there was paired with a hub. */
  readonly nodeId: string | null;
  readonly missingPackages: readonly string[];
  /** Reasons not to install anything there. */
  readonly problems: readonly string[];
}

/** @param script the text of install.sh, which the host need not have */
export async function hostFacts(host: RemoteHost, script: string): Promise<HostFacts> {
  return parsedFacts((await host.runAsRoot(['bash', '-s', '--', 'step', 'check', 'node'], script)).stdout);
}

/** @param text `name=value` lines */
export function parsedFacts(text: string): HostFacts {
  const all = text
    .split('\n')
    .filter((line) => line.includes('='))
    .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1).trim()] as const);
  const value = (name: string): string => all.find(([key]) => key === name)?.[1] ?? '';
  const words = (name: string): readonly string[] => value(name).split(' ').filter(Boolean);
  return {
    os: value('os'),
    freeKb: Number(value('free_kb')),
    epochSeconds: Number(value('epoch')),
    release: value('release') || null,
    releases: words('releases'),
    nodeId: value('node_id') || null,
    missingPackages: words('packages'),
    problems: all.filter(([key]) => key === 'problem').map(([, problem]) => problem),
  };
}
