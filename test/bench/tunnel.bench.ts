import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { NodeConfig } from '../../src/platform/config/node.config.js';
import { nbdUri } from '../../src/platform/nbd/nbd-uri.js';
import { PortProbe } from '../../src/platform/nbd/port-probe.js';
import { TUNNEL_CIPHERS } from '../../src/platform/ssh/sshd-config.plan.js';
import { TUNNEL_FILES } from '../../src/platform/ssh/tunnel-settings.js';
import { networkCopy } from '../../src/node-agent/transfers/transfer.plan.js';
import { BadNetwork } from '../support/bad-network.js';
import { freePortRange } from '../support/free-ports.js';
import { until } from '../support/hub-system.js';
import { TunnelPair } from '../support/tunnel-pair.js';
import { type BenchOptions, type BenchResult, inSeconds, median, ratio, type Target } from './measure.js';

const ROUND_TRIP_MS = 20;
const LEAST_OF_BARE = 0.9;
const LEAST_WITH_DELAY = 0.8;
const WITH_SERVER = fileURLToPath(new URL('../../src/node-agent/transfers/with-server.sh', import.meta.url));

/** Both ends of a way by SSH from a node's port to the same NBD server. */
interface Way {
  readonly host: string;
  readonly port: number;
}

/**
 * Copies one disk of random data, with the command line of a backup across a network, into a server that keeps nothing: through the tunnel, and through a bare ssh and sshd with the same
 * cipher; both through the same relay, which adds the time of the way where that is wanted.
 */
export async function benchTunnel({ smoke }: BenchOptions): Promise<BenchResult> {
  const mib = smoke ? 64 : 1024;
  const rounds = smoke ? 1 : 5;
  const near = await measureLink(mib, rounds, 0);
  const far = await measureLink(mib, rounds, ROUND_TRIP_MS);
  const speed = (seconds: readonly number[]): number => mib / median(seconds);
  const ofBare = median(near.tunnel.map((seconds, round) => (near.bare[round] ?? Number.NaN) / seconds));
  const kept = speed(far.tunnel) / speed(near.tunnel);
  const row = (name: string, delayMs: number, seconds: readonly number[]): readonly string[] => [
    name,
    `${delayMs} ms`,
    inSeconds(median(seconds) * 1000),
    seconds.map((one) => inSeconds(one * 1000)).join(', '),
    `${speed(seconds).toFixed(0)} MiB/s`,
  ];
  return {
    title: 'The tunnel',
    notes: [
      `a disk of ${mib} MiB of random data, raw, in the page cache, copied by the command line of a full backup across a network into nbdkit null; ${rounds} rounds of each, alternately; medians`,
      `system: sendense tunnel and sendense tunnel-server; bare: one ssh -N -L and one sshd, with the same cipher (${TUNNEL_CIPHERS[0]})`,
      'all on one machine, through a relay in JavaScript between ssh and sshd, which also adds the round-trip time and costs processor time of its own',
    ],
    head: ['', 'added round-trip time', 'median', 'all rounds', 'speed'],
    rows: [
      row('tunnel', 0, near.tunnel),
      row('bare OpenSSH', 0, near.bare),
      row('tunnel', ROUND_TRIP_MS, far.tunnel),
      row('bare OpenSSH', ROUND_TRIP_MS, far.bare),
    ],
    targets: [
      atLeast('tunnel / bare OpenSSH, median of the rounds', LEAST_OF_BARE, ofBare),
      atLeast(`tunnel with ${ROUND_TRIP_MS} ms / tunnel without`, LEAST_WITH_DELAY, kept),
    ],
  };
}

async function measureLink(
  mib: number,
  rounds: number,
  roundTripMs: number,
): Promise<{ readonly tunnel: readonly number[]; readonly bare: readonly number[] }> {
  const relayPort = await freePortRange(4);
  const [bareRelayPort, barePort, sshdPort] = [relayPort + 1, relayPort + 2, relayPort + 3];
  const pair = await TunnelPair.create(1, relayPort);
  const children: ChildProcess[] = [];
  const links: BadNetwork[] = [];
  try {
    const target = pair.settings.nbd_port_first;
    const source = join(pair.directory, 'source.raw');
    await execa('dd', ['if=/dev/urandom', `of=${source}`, 'bs=1M', `count=${mib}`, 'status=none']);
    children.push(spawn('qemu-nbd', ['-r', '--persistent', '--shared=20', '-f', 'raw', '-k', join(pair.directory, 'source'), source], { stdio: 'ignore' }));
    children.push(spawn('nbdkit', ['-f', '-i', '127.0.0.1', '-p', String(target), 'null', `${mib}M`], { stdio: 'ignore' }));
    await pair.answer('hub', pair.settings.hub_api_port);
    await pair.startServer();
    links.push(await BadNetwork.between({ host: '127.0.0.1', port: relayPort }, { host: '127.0.0.1', port: pair.tunnelServerPort }, roundTripMs));
    links.push(await BadNetwork.between({ host: '127.0.0.1', port: bareRelayPort }, { host: '127.0.0.1', port: sshdPort }, roundTripMs));
    children.push(...(await bareSsh(pair, sshdPort, bareRelayPort, barePort, target)));
    pair.startTunnel(new NodeConfig().tunnelConnections);
    await pair.becomes('up');
    await listens(barePort);
    const measured = { tunnel: [] as number[], bare: [] as number[] };
    for (let round = 0; round < rounds; round++) {
      measured.tunnel.push(await copySeconds(pair, { host: pair.settings.local_host, port: target }));
      measured.bare.push(await copySeconds(pair, { host: '127.0.0.1', port: barePort }));
    }
    return measured;
  } finally {
    for (const child of children) child.kill('SIGKILL');
    await pair.destroy();
    for (const link of links) await link.destroy();
  }
}

async function bareSsh(pair: TunnelPair, sshdPort: number, relayPort: number, localPort: number, target: number): Promise<readonly ChildProcess[]> {
  const folder = join(pair.directory, 'bare');
  await mkdir(folder, { mode: 0o700 });
  const config = join(folder, 'sshd_config');
  const lines = [
    `Port ${sshdPort}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${join(pair.hubDirectory, 'host_ed25519')}`,
    `AuthorizedKeysFile ${join(pair.hubDirectory, 'authorized_keys')}`,
    'StrictModes no',
    'UsePAM no',
    'PidFile none',
  ];
  await writeFile(config, `${lines.join('\n')}\n`);
  const sshd = spawn('/usr/sbin/sshd', ['-D', '-f', config], { stdio: 'ignore' });
  await listens(sshdPort);
  const options = ['BatchMode=yes', 'IdentitiesOnly=yes', 'HostKeyAlias=sendense-hub', `Ciphers=${TUNNEL_CIPHERS[0]}`, 'ExitOnForwardFailure=yes'];
  const ssh = spawn(
    'ssh',
    [
      ...['-N', '-F', 'none', '-i', join(pair.nodeDirectory, TUNNEL_FILES.privateKey), '-p', String(relayPort), '-l', pair.settings.user],
      ...['-o', `UserKnownHostsFile=${join(pair.nodeDirectory, TUNNEL_FILES.knownHosts)}`, ...options.flatMap((option) => ['-o', option])],
      ...['-L', `127.0.0.1:${localPort}:127.0.0.1:${target}`, '127.0.0.1'],
    ],
    { stdio: 'ignore' },
  );
  return [ssh, sshd];
}

async function copySeconds(pair: TunnelPair, way: Way): Promise<number> {
  const { nbdcopyConnections, nbdcopyRequests, nbdcopyRequestSizeBytes } = new NodeConfig();
  const tuning = { connections: nbdcopyConnections, requests: nbdcopyRequests, requestSize: nbdcopyRequestSizeBytes, targetsAreLocal: false };
  const sockets = await mkdtemp(join(pair.directory, 's-'));
  const ride = { script: WITH_SERVER, sockets, patienceSeconds: 60 };
  const { argv } = networkCopy(nbdUri({ socket: join(pair.directory, 'source') }, ''), null, nbdUri(way, ''), tuning, ride, null);
  const [file, ...rest] = argv;
  const began = performance.now();
  // Its progress goes to descriptor 3, which must be open: otherwise a connection would get that number.
  await execa(file, rest, { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] });
  const seconds = (performance.now() - began) / 1000;
  await rm(sockets, { recursive: true });
  return seconds;
}

function atLeast(what: string, limit: number, measured: number): Target {
  return { what, limit: `at least ${ratio(limit)}`, measured: ratio(measured), met: measured >= limit };
}

async function listens(port: number): Promise<void> {
  const probe = new PortProbe();
  await until(`port ${port}`, async () => !(await probe.isFree('127.0.0.1', port)));
}
