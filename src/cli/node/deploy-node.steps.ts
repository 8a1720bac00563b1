import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../../kernel/error-message.js';
import { Clock } from '../../lib/clock/clock.js';
import type { Node, Pairing } from '../api/answers.js';
import { type HubApi, HubRefusalError } from '../api/hub-api.client.js';
import { DeployError } from './deployment.error.js';
import { hostFacts, type HostFacts } from './host-facts.reader.js';
import { installScript, type ReleaseSource } from './release-archive.packer.js';
import type { RemoteHost } from './remote-host.connection.js';
import type { StepList } from './step-list.printer.js';

export interface DeployOptions {
  /** The node's name at the hub; null: the host's own name. */
  readonly name: string | null;
}

export interface Deployed {
  readonly nodeId: string;
  readonly name: string;
  readonly release: string;
  /** The release that this one replaces; null: none, or the same one. */
  readonly replaced: string | null;
}

const BASE = '/opt/sendense';
const CONFIG = '/etc/sendense/node/node.yaml';
const NODE_DATA = '/var/lib/sendense-node';
/** Calls between hub and node carry a timestamp and are refused when it is five minutes off; a stricter limit catches a drifting clock early. */
const LARGEST_SKEW_SECONDS = 60;
const VERIFY_PATIENCE_MS = 120_000;
const LOOK_EVERY_MS = 500;
const DISCOVERY_MS = 60_000;
const BYTES_PER_MIB = 1024 * 1024;

/**
 * Installs a release on a host, pairs the host with the hub, starts the node, and waits until data and calls pass in both directions. Completed parts are left
 * alone, so it may be run again at any time. A release that does not come up is rolled back to the previous one.
 * @throws DeployError, SshError, ToolError; steps.last names the step
 */
export async function deployNode(host: RemoteHost, hub: HubApi, source: ReleaseSource, steps: StepList, options: DeployOptions): Promise<Deployed> {
  const script = await installScript();
  const facts = await steps.run('check the host', async (note) => {
    const found = await hostFacts(host, script);
    assertUsable(host, found);
    note(`${found.os}, ${Math.round(found.freeKb / 1024)} MiB free${found.release === null ? '' : `, runs ${found.release}`}`);
    return found;
  });
  await steps.run('ask the hub', async (note) => {
    note(`${hub.url} knows ${(await nodesOf(hub)).length} node(s)`);
  });
  await bringRelease(host, source, steps, facts);
  const { release } = source;
  const install = `${BASE}/${release}/deployment/install/install.sh`;
  const step = async (name: string): Promise<void> => {
    await host.runAsRoot(['bash', install, 'step', name, 'node']);
  };

  await steps.run('install missing Debian packages', async (note) => {
    note(facts.missingPackages.length === 0 ? 'none' : facts.missingPackages.join(' '));
    await step('packages');
  });
  await steps.run('create accounts, directories and settings', async () => {
    await step('accounts');
    await step('config');
  });
  const replaced = facts.release === null || facts.release === release ? null : facts.release;
  await steps.run('switch to the release', async (note) => {
    note(replaced === null ? release : `${replaced} -> ${release}`);
    await step('switch');
  });
  try {
    const { nodeId, name } = await pairWithHub(host, hub, steps, facts, options);
    await steps.run('start node and tunnel', async () => {
      await step('start');
    });
    await verify(host, hub, steps, nodeId);
    return { nodeId, name, release, replaced };
  } catch (error) {
    if (replaced === null) throw error;
    await steps.run(`roll back to ${replaced}`, async () => {
      await host.runAsRoot(['bash', install, 'rollback', 'node']);
    });
    const message = messageOf(error);
    throw new DeployError(`${message}\nThe previous release, ${replaced}, is running on ${host.name} again.`, { cause: error });
  }
}

function assertUsable(host: RemoteHost, facts: HostFacts): void {
  const skew = Math.abs(facts.epochSeconds - new Clock().now().getTime() / 1000);
  const problems = [...facts.problems];
  if (skew > LARGEST_SKEW_SECONDS) {
    problems.push(`its clock is off by ${Math.round(skew)} s, at most ${LARGEST_SKEW_SECONDS} s are allowed: timedatectl set-ntp true`);
  }
  if (problems.length > 0)
    throw new DeployError(`${host.name} cannot run a node; nothing was changed there:\n${problems.map((problem) => `    ${problem}`).join('\n')}`);
}

async function bringRelease(host: RemoteHost, source: ReleaseSource, steps: StepList, facts: HostFacts): Promise<void> {
  if (facts.releases.includes(source.release)) {
    await steps.run('copy the release', async (note) => {
      note(`${source.release} is there`);
      return Promise.resolve();
    });
    return;
  }
  const archive = await steps.run('pack the release', async (note) => {
    const made = await source.pack();
    note(`${source.release}, ${Math.round(made.bytes / BYTES_PER_MIB)} MiB`);
    return made;
  });
  try {
    // The login's home directory belongs to that user alone, so root unpacks the same bytes whose checksum was compared.
    const folder = `${(await host.run(['pwd'])).stdout.trim()}/.sendense-deploy`;
    const file = `${folder}/sendense.tar.gz`;
    await steps.run('copy the release', async () => {
      await host.run(['mkdir', '-p', '-m', '0700', folder]);
      await host.copy(archive.file, file);
      const [sum] = (await host.run(['sha256sum', file])).stdout.split(' ');
      if (sum !== archive.sha256)
        throw new DeployError(`the archive was damaged on its way to ${host.name} (SHA-256 ${String(sum)}, expected ${archive.sha256}); run the command again`);
    });
    await steps.run('unpack it', async () => {
      const incoming = `${BASE}/.incoming`;
      await host.runAsRoot(['rm', '-rf', incoming]);
      await host.runAsRoot(['mkdir', '-p', incoming]);
      await host.runAsRoot(['tar', '-C', incoming, '--no-same-owner', '-xzf', file]);
      await host.runAsRoot(['bash', `${incoming}/sendense/deployment/install/install.sh`, 'step', 'release', 'node']);
      await host.runAsRoot(['rm', '-rf', incoming]);
      await host.run(['rm', '-rf', folder]);
    });
  } finally {
    await archive.discard();
  }
}

async function pairWithHub(
  host: RemoteHost,
  hub: HubApi,
  steps: StepList,
  facts: HostFacts,
  options: DeployOptions,
): Promise<{ readonly nodeId: string; readonly name: string }> {
  const known = await steps.run('pair it with the hub', async (note) => {
    const own = facts.nodeId === null ? null : await nodeOf(hub, facts.nodeId);
    if (own !== null && own.state !== 'revoked' && own.state !== 'pairing' && own.state !== 'pairing_failed') {
      note(`is paired as ${own.name}`);
      return own;
    }
    const name = options.name ?? (await host.run(['hostname'])).stdout.trim();
    await assertNameIsFree(hub, name, facts.nodeId);
    const pairing = await hub.call<Pairing>('POST', '/nodes', { name });
    const again = facts.nodeId === null ? [] : ['--again'];
    // The node's account may not be able to enter the login's directory, and a program cannot start in a directory that its user may not enter.
    const enrol = [
      'runuser',
      '-u',
      'sendense-node',
      '--',
      'env',
      '--chdir=/',
      `${BASE}/current/bin/sendense`,
      'node',
      'enrol',
      '--config',
      CONFIG,
      ...again,
    ] as const;
    // The code goes through standard input: every user on the host can read a command line.
    await host.runAsRoot(enrol, `${pairing.pairing_code}\n`);
    note(name);
    return { node_id: pairing.node_id, name, state: 'awaiting_approval' };
  });
  await steps.run('approve its key', async (note) => {
    if (known.state !== 'awaiting_approval') {
      note('already approved');
      return;
    }
    // Read over this connection, whose host key was checked, not taken from the pairing itself: approval must compare two independent sources.
    const { stdout: line } = await host.runAsRoot(['ssh-keygen', '-l', '-f', `${NODE_DATA}/tunnel/id_ed25519.pub`]);
    const fingerprint = line.split(' ')[1] ?? '';
    if (!fingerprint.startsWith('SHA256:')) throw new DeployError(`${host.name} has no public key at ${NODE_DATA}/tunnel/id_ed25519.pub: ${line.trim()}`);
    await hub.call('POST', `/nodes/${known.node_id}/approve`, { public_key_fingerprint: fingerprint });
    note(fingerprint);
  });
  return { nodeId: known.node_id, name: known.name };
}

async function nodesOf(hub: HubApi): Promise<readonly Node[]> {
  return (await hub.call<{ nodes: Node[] }>('GET', '/nodes?limit=1000')).nodes;
}

async function nodeOf(hub: HubApi, nodeId: string): Promise<Node | null> {
  return (await nodesOf(hub)).find((node) => node.node_id === nodeId) ?? null;
}

/** Has the hub ask the node for its VMs. @returns their number; null: the hub gets no answer from the node */
async function vmsFoundBy(hub: HubApi, nodeId: string): Promise<number | null> {
  try {
    return (await hub.call<{ vms: unknown[] }>('POST', `/nodes/${nodeId}/discover`, undefined, DISCOVERY_MS)).vms.length;
  } catch (error) {
    if (error instanceof HubRefusalError && error.status >= 500) return null;
    throw error;
  }
}

/** Abandons an unfinished pairing of the same name; refuses when a working node has the name. */
async function assertNameIsFree(hub: HubApi, name: string, ownId: string | null): Promise<void> {
  const other = (await nodesOf(hub)).find((node) => node.name === name);
  if (other === undefined || other.state === 'revoked' || other.state === 'pairing_failed') return;
  if (other.state === 'pairing' || other.state === 'awaiting_approval' || other.node_id === ownId) {
    await hub.call('DELETE', `/nodes/${other.node_id}`);
    return;
  }
  throw new DeployError(`the hub already has a node named ${name} (${other.node_id}, ${other.state}); choose another name with --name`);
}

async function verify(host: RemoteHost, hub: HubApi, steps: StepList, nodeId: string): Promise<void> {
  await steps.run('hub -> node through the tunnel', async (note) => {
    const ends = performance.now() + VERIFY_PATIENCE_MS;
    for (;;) {
      const node = await nodeOf(hub, nodeId);
      // The hub's recorded state may predate this start, so the node is actually queried.
      const found = node?.tunnel?.state === 'up' ? await vmsFoundBy(hub, nodeId) : null;
      if (found !== null) {
        note(`up; the node finds ${found} VM(s)`);
        return;
      }
      // For example a refused configuration, which waiting does not fix.
      const { stdout } = await host.tryAsRoot(['systemctl', 'is-failed', 'sendense-node', 'sendense-tunnel']);
      if (stdout.split('\n').includes('failed') || performance.now() > ends) throw await notUp(host, node);
      await pause(LOOK_EVERY_MS);
    }
  });
  await steps.run('node -> hub through the tunnel', async () => {
    const program = "const { ok } = await fetch('http://127.0.0.1:9080/api/v1/health/live'); if (!ok) process.exitCode = 1;";
    await host.run([`${BASE}/current/node_modules/node/bin/node`, '--input-type=module', '-e', program]);
  });
}

async function notUp(host: RemoteHost, node: Node | null): Promise<DeployError> {
  const cause = node?.tunnel?.cause?.detail ?? null;
  const seen = `the hub reports the node as ${node?.state ?? 'unknown'} and its tunnel as ${node?.tunnel?.state ?? 'unknown'}${cause === null ? '' : ` (${cause})`}`;
  const { stdout: active } = await host.tryAsRoot(['systemctl', 'is-active', 'sendense-node', 'sendense-tunnel']);
  const { stdout } = await host.tryAsRoot(['journalctl', '-q', '-u', 'sendense-tunnel', '-u', 'sendense-node', '-n', '10', '-o', 'cat', '--no-pager']);
  return new DeployError(
    `the node does not answer the hub: its services are ${active.trim().replace('\n', ' (node) and ')} (tunnel), ${seen}. Last log lines of node and tunnel on ${host.name}:\n${stdout.trimEnd()}`,
  );
}
