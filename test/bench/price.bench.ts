import { join } from 'node:path';
import type { NodeResponse } from '../../src/hub/nodes/nodes/model/node.response.js';
import type { RegisteredNodeDto } from '../../src/hub/nodes/nodes/register-node/register-node.dto.js';
import { EnrolledNode, enrolmentSettings, type EnrolOutcome, startTunnelServer } from '../support/enrolled-node.js';
import { until } from '../support/hub-system.js';
import { BenchHub, MIB, settleDisks } from './bench-hub.js';
import { atMost, type BenchOptions, type BenchResult, inSeconds, median, ratio } from './measure.js';
import { ProcessorTime } from './processor-time.js';

const LIMIT = 1.05;
const DISKS = 2;
const BUILDS = ['before', 'now'] as const;
const WAYS = ['beside the hub', 'through the tunnel'] as const;
type Way = (typeof WAYS)[number];

interface Times {
  readonly wallMs: number;
  readonly processorMs: number;
}

/** A hub of one build, with a node beside it and one behind a tunnel, and a VM of the same size at each. */
interface Build {
  readonly name: (typeof BUILDS)[number];
  readonly hub: BenchHub;
  readonly processor: ProcessorTime;
  readonly times: Readonly<Record<Way, Times[]>>;
}

/** What a full costs with another build of Sendense and with this one, in turns. @param before the other checkout, which is built */
export async function benchPrice({ smoke, before }: BenchOptions): Promise<BenchResult> {
  if (before === undefined) throw new Error('--before is missing: the checkout of another version, which is built');
  const sizeBytes = (smoke ? 32 : 512) * MIB;
  const rounds = smoke ? 1 : 5;
  const builds: Build[] = [];
  try {
    for (const name of BUILDS) builds.push(await startBuild(name, name === 'before' ? join(before, 'dist') : undefined, sizeBytes));
    for (let round = 0; round < rounds; round++) {
      for (const way of WAYS) for (const build of round % 2 === 0 ? builds : builds.toReversed()) await measure(build, way);
    }
  } finally {
    for (const { hub } of builds) await hub.system.destroy();
    for (const { processor } of builds) processor.remove();
  }
  const of = (index: number, way: Way, which: keyof Times): readonly number[] => builds[index]?.times[way].map((times) => times[which]) ?? [];
  const ratios = (way: Way, which: keyof Times): readonly number[] => of(1, way, which).map((now, round) => now / (of(0, way, which)[round] ?? Number.NaN));
  return {
    title: 'The price of keys and digests',
    notes: [
      `a full of ${DISKS} disks of ${sizeBytes / MIB} MiB of random data, qcow2, in the page cache; ${rounds} rounds of both builds, in turns; medians`,
      'wall: from sending POST /backups to BackupCompleted; processor: of hub, node, tunnel, database and all their tools, both ends on one machine, user and system',
    ],
    head: ['full', 'build', 'processor', 'all rounds', 'wall', 'all rounds'],
    rows: WAYS.flatMap((way) => [
      ...BUILDS.map((name, index) => [
        way,
        name,
        ...(['processorMs', 'wallMs'] as const).flatMap((which) => {
          const values = of(index, way, which);
          return [inSeconds(median(values)), values.map(inSeconds).join(', ')];
        }),
      ]),
      [way, 'ratio', ...(['processorMs', 'wallMs'] as const).flatMap((which) => [ratio(median(ratios(way, which))), ratios(way, which).map(ratio).join(', ')])],
    ]),
    targets: WAYS.map((way) => atMost(`processor time of a full ${way}, now / before, median of the rounds`, LIMIT, median(ratios(way, 'processorMs')), ratio)),
  };
}

async function startBuild(name: Build['name'], dist: string | undefined, sizeBytes: number): Promise<Build> {
  const hub = await BenchHub.start({ env: await enrolmentSettings(), ...(dist === undefined ? {} : { dist }) });
  const { system } = hub;
  try {
    const disk = { sizeBytes, dataBytes: sizeBytes };
    await hub.addVm(vmOf('beside the hub'), DISKS, disk);
    await startTunnelServer(system);
    const nodeId = await enrol(await EnrolledNode.create(system, 'far', '127.0.0.4'), hub);
    await hub.addVm(vmOf('through the tunnel'), DISKS, disk, nodeId);
    const processor = ProcessorTime.create(`sendense-bench-${process.pid}-${name}`);
    processor.count(await system.leftoverPids());
    return { name, hub, processor, times: { 'beside the hub': [], 'through the tunnel': [] } };
  } catch (error) {
    await system.destroy();
    throw error;
  }
}

function vmOf(way: Way): string {
  return way.replaceAll(' ', '-');
}

async function enrol(node: EnrolledNode, { system }: BenchHub): Promise<string> {
  const { node_id: nodeId, pairing_code: code } = (await system.api<RegisteredNodeDto>('POST', '/nodes', { name: 'far' })).body;
  const { public_key_fingerprint } = JSON.parse((await node.enrol(code ?? '')).stdout) as EnrolOutcome;
  await system.api('POST', `/nodes/${nodeId}/approve`, { public_key_fingerprint });
  node.start();
  await until('the node to be reachable', async () => (await system.api<NodeResponse>('GET', `/nodes/${nodeId}`)).body.state === 'reachable');
  return nodeId;
}

async function measure({ name, hub, processor, times }: Build, way: Way): Promise<void> {
  await settleDisks();
  const begun = processor.seconds;
  const { backup, completedMs } = await hub.backUp(vmOf(way), 'full');
  const processorMs = (processor.seconds - begun) * 1000;
  times[way].push({ wallMs: completedMs, processorMs });
  process.stderr.write(`${name}, ${way}: ${inSeconds(processorMs)} of processor time, ${inSeconds(completedMs)}\n`);
  await hub.remove(backup.backup_id);
}
