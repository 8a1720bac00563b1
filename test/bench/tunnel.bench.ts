import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { NodeConfig } from '../../src/node/node.config.js';
import { type NbdPlace, nbdUri } from '../../src/lib/nbd/nbd-uri.js';
import { TUNNEL_CIPHERS } from '../../src/tunnel/hub-end/sshd-config.plan.js';
import { tunnelSocket } from '../../src/tunnel/interface/tunnel-sockets.js';
import { TUNNEL_FILES } from '../../src/tunnel/interface/tunnel-settings.js';
import { extentListText } from '../../src/node/model/extents.plan.js';
import { networkCopy } from '../../src/node/transfers/transfer.plan.js';
import { BadNetwork } from '../support/bad-network.js';
import { freePortRange, isServed } from '../support/free-ports.js';
import { until } from '../support/hub-system.js';
import { TunnelPair } from '../support/tunnel-pair.js';
import { type BenchOptions, type BenchResult, inSeconds, median, ratio, type Target } from './measure.js';

const ROUND_TRIP_MS = 20;
const LEAST_OF_BARE = 0.9;
const LEAST_WITH_DELAY = 0.8;
const MIB = 1024 * 1024;
const BLOCK = 65_536;
/** Of the blocks of a disk, this one has changed. */
const SCATTERED_EVERY = 4;
const COPY_PROGRAM = fileURLToPath(new URL('../../dist/src/node/main.copy.js', import.meta.url));

/** The node's end of a way by SSH to the same NBD server. */
type Way = NbdPlace;

/** A node's port that leads through a tunnel to a server, and one that leads there through bare SSH. */
interface Link {
  readonly pair: TunnelPair;
  readonly tunnel: Way;
  readonly bare: Way;
  destroy(): Promise<void>;
}

/** What is copied: all of the disk, or every fourth block as if only those had changed. */
type What = 'full' | 'scattered';

interface Series {
  readonly name: string;
  readonly what: What;
  readonly delayMs: number;
  readonly way: (link: Link) => Way;
  readonly seconds: number[];
}

/**
 * Copies one disk of random data, with the command line of a backup across a network, into a server that keeps nothing: through the tunnel, and through a bare ssh and sshd with the same
 * cipher; both through the same kind of relay, which adds the time of the way where that is wanted.
 */
export async function benchTunnel({ smoke }: BenchOptions): Promise<BenchResult> {
  const mib = smoke ? 64 : 1024;
  const rounds = smoke ? 1 : 6;
  const series = [0, ROUND_TRIP_MS].flatMap((delayMs): readonly Series[] => [
    { name: 'tunnel', what: 'full', delayMs, way: (link) => link.tunnel, seconds: [] },
    { name: 'bare OpenSSH', what: 'full', delayMs, way: (link) => link.bare, seconds: [] },
    { name: 'tunnel', what: 'scattered', delayMs, way: (link) => link.tunnel, seconds: [] },
  ]);
  const secondsOf = (name: string, what: What, delayMs: number): readonly number[] =>
    series.find((one) => one.name === name && one.what === what && one.delayMs === delayMs)?.seconds ?? [];
  await measure(series, mib, rounds);
  const movedMib = (what: What): number => (what === 'full' ? mib : mib / SCATTERED_EVERY);
  const ofBare = medianRatio(secondsOf('bare OpenSSH', 'full', 0), secondsOf('tunnel', 'full', 0));
  const kept = (what: What): number => medianRatio(secondsOf('tunnel', what, 0), secondsOf('tunnel', what, ROUND_TRIP_MS));
  return {
    title: 'The tunnel',
    notes: [
      `a disk of ${mib} MiB of random data, raw, in the page cache, copied by the command line of a backup across a network into nbdkit null; ${rounds} rounds of all, one after the other and then the other way round; medians`,
      `full: all of it; scattered: an incremental of which every fourth block of 64 KiB has changed, ${mib / SCATTERED_EVERY} MiB`,
      `system: sendense tunnel and sendense tunnel-server; bare: one ssh -N -L and one sshd, with the same cipher (${TUNNEL_CIPHERS[0]})`,
      'all on one machine, through a relay in JavaScript between ssh and sshd, which also adds the round-trip time and costs processor time of its own',
    ],
    head: ['', 'copied', 'added round-trip time', 'median', 'all rounds', 'speed'],
    rows: series.map(({ name, what, delayMs, seconds }) => [
      name,
      what,
      `${delayMs} ms`,
      inSeconds(median(seconds) * 1000),
      seconds.map((one) => inSeconds(one * 1000)).join(', '),
      `${(movedMib(what) / median(seconds)).toFixed(0)} MiB/s`,
    ]),
    targets: [
      atLeast('tunnel / bare OpenSSH, median of the rounds', LEAST_OF_BARE, ofBare),
      atLeast(`tunnel with ${ROUND_TRIP_MS} ms / tunnel without, full, median of the rounds`, LEAST_WITH_DELAY, kept('full')),
      atLeast(`tunnel with ${ROUND_TRIP_MS} ms / tunnel without, scattered, median of the rounds`, LEAST_WITH_DELAY, kept('scattered')),
    ],
  };
}

/** How much faster the second is, round by round. */
function medianRatio(seconds: readonly number[], others: readonly number[]): number {
  return median(seconds.map((one, round) => one / (others[round] ?? Number.NaN)));
}

async function measure(series: readonly Series[], mib: number, rounds: number): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'sendense-tunnel-bench-'));
  const links = new Map<number, Link>();
  const source = join(folder, 'source.raw');
  await execa('dd', ['if=/dev/urandom', `of=${source}`, 'bs=1M', `count=${mib}`, 'status=none']);
  const server = spawn('qemu-nbd', ['-r', '--persistent', '--shared=20', '-f', 'raw', '-k', join(folder, 'source'), source], { stdio: 'ignore' });
  try {
    const blocks = Array.from({ length: (mib * MIB) / BLOCK / SCATTERED_EVERY }, (_, index) => ({ offset: index * BLOCK * SCATTERED_EVERY, length: BLOCK }));
    await writeFile(join(folder, 'full'), extentListText([{ offset: 0, length: mib * MIB }]));
    await writeFile(join(folder, 'scattered'), extentListText(blocks));
    for (const delayMs of [0, ROUND_TRIP_MS]) links.set(delayMs, await openLink(mib, delayMs));
    for (let round = 0; round < rounds; round++) {
      // What comes first in a round must not always be the same.
      for (const one of round % 2 === 0 ? series : series.toReversed()) {
        const link = links.get(one.delayMs);
        if (link !== undefined) one.seconds.push(await copySeconds(folder, one.what, one.way(link)));
      }
    }
  } finally {
    for (const link of links.values()) await link.destroy();
    server.kill('SIGKILL');
    await rm(folder, { recursive: true });
  }
}

async function openLink(mib: number, roundTripMs: number): Promise<Link> {
  const relayPort = await freePortRange(4);
  const [bareRelayPort, barePort, sshdPort] = [relayPort + 1, relayPort + 2, relayPort + 3];
  const pair = await TunnelPair.create(1, relayPort);
  const children: ChildProcess[] = [];
  const networks: BadNetwork[] = [];
  const destroy = async (): Promise<void> => {
    for (const child of children) child.kill('SIGKILL');
    await pair.destroy();
    for (const network of networks) await network.destroy();
  };
  try {
    const target = pair.settings.nbd_port_first;
    children.push(spawn('nbdkit', ['-f', '-i', '127.0.0.1', '-p', String(target), 'null', `${mib}M`], { stdio: 'ignore' }));
    await pair.answer('hub', pair.settings.hub_api_port);
    await pair.startServer();
    networks.push(await BadNetwork.between({ host: '127.0.0.1', port: relayPort }, { host: '127.0.0.1', port: pair.tunnelServerPort }, roundTripMs));
    networks.push(await BadNetwork.between({ host: '127.0.0.1', port: bareRelayPort }, { host: '127.0.0.1', port: sshdPort }, roundTripMs));
    children.push(...(await bareSsh(pair, sshdPort, bareRelayPort, barePort, target)));
    pair.startTunnel(new NodeConfig().tunnelConnections);
    await pair.becomes('up');
    await until('a server', () => isServed(barePort));
    return { pair, tunnel: { socket: tunnelSocket(pair.nodeDirectory, target) }, bare: { host: '127.0.0.1', port: barePort }, destroy };
  } catch (error) {
    await destroy();
    throw error;
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
  await until('a server', () => isServed(sshdPort));
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

async function copySeconds(folder: string, what: What, way: Way): Promise<number> {
  const ride = { program: [process.execPath, COPY_PROGRAM], patienceSeconds: 60 } as const;
  const extents = { file: join(folder, what), digestFile: join(folder, 'digest'), onto: what === 'full' ? 'new' : 'parent' } as const;
  const { argv } = networkCopy(nbdUri({ socket: join(folder, 'source') }, ''), extents, nbdUri(way, ''), ride, null);
  const [file, ...rest] = argv;
  const began = performance.now();
  // Its progress goes to descriptor 3.
  await execa(file, rest, { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] });
  return (performance.now() - began) / 1000;
}

function atLeast(what: string, limit: number, measured: number): Target {
  return { what, limit: `at least ${ratio(limit)}`, measured: ratio(measured), met: measured >= limit };
}
