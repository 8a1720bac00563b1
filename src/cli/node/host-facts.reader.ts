import type { RemoteHost } from './remote-host.connection.js';

/** What `install.sh step check` tells of a host. */
export interface HostFacts {
  readonly os: string;
  readonly freeKb: number;
  readonly epochSeconds: number;
  /** That the node there runs; null: there is none. */
  readonly release: string | null;
  /** All that lie there. */
  readonly releases: readonly string[];
  /** Of a node that was paired with a hub. */
  readonly nodeId: string | null;
  readonly missingPackages: readonly string[];
  /** Why nothing should be installed there. */
  readonly problems: readonly string[];
}

/** @param script the text of install.sh: the host need not have it */
export async function hostFacts(host: RemoteHost, script: string): Promise<HostFacts> {
  return parsedFacts((await host.runAsRoot(['bash', '-s', '--', 'step', 'check', 'node'], script)).stdout);
}

/** @param text lines `name=value` */
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
