import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import { BareDomain, requireInstant } from '../support/bare-domain.js';
import { until } from '../support/hub-system.js';
import { KillAtCall, type KillMoment } from '../support/kill-at-call.js';
import { LibvirtSystem } from '../support/libvirt-system.js';
import { requireLibvirt } from '../support/require-tools.js';

jest.setTimeout(570_000);
const { describe, it } = requireLibvirt('qemu-nbd', 'nbdcopy', 'nbdkit', 'nbdinfo', 'flock');

/** Calls that change something: there the moments after the call, and while it is under way, are steps of their own. */
const CHANGING = ['backup-begin', 'checkpoint-delete', 'checkpoint-create', 'domjobabort', 'bitmap --add', 'bitmap --remove', 'nbdcopy'];
/** The hub's pauses are half a second, one, two. */
const KILLS_PER_START = 3;
/** The calls are dealt out to so many tests, none of which takes too long. */
const SHARES = 8;

let system: LibvirtSystem;
let killer: KillAtCall;
let domain: BareDomain;
let killsSinceStart = 0;

beforeAll(async () => {
  system = await LibvirtSystem.create();
  killer = await KillAtCall.create(join(system.hub.directory, 'steps'), system.copies.path);
  await restart();
  domain = await BareDomain.create(system.host, 'stepwise', '00000000-0000-4000-8000-000000000001', [
    { target: 'vda', mib: 8 },
    { target: 'vdb', mib: 8 },
  ]);
  await system.client.registerDomain('stepwise', domain.uuid);
});

afterAll(async () => {
  await system.destroy();
});

/** A hub lets more and more time pass before it starts a node anew that ends again and again; a new hub begins with little. A node without a job ends with its hub. */
async function restart(): Promise<void> {
  await system.hub.kill('SIGTERM');
  await system.hub.start({ PATH: `${killer.path}:${system.copies.path}` });
  killsSinceStart = 0;
}

interface Step {
  readonly call: number;
  readonly moment: KillMoment;
  readonly words?: string;
}

/** A backup whose node is killed there: it is completed all the same, with the disks as they were, and nothing else is left. */
async function backUpThrough({ call, moment, words = '' }: Step): Promise<{ readonly calls: readonly string[]; readonly killed: boolean }> {
  if (killsSinceStart >= KILLS_PER_START) await restart();
  await domain.write('vda', 1);
  await domain.write('vdb', 2);
  const instant = await domain.instant();
  const pid = await until('the node', () => system.hub.nodePid());
  await killer.arm(pid, call, moment, words);
  let step = 'an unknown step';
  try {
    // The node may be killed while the hub asks it what there is; then the hub says so, and the asker asks again.
    const asked = await until('the backup to be taken on', async () => {
      const answer = await system.client.start('stepwise', system.repositoryId, 'incremental');
      return answer.status === 202 && answer.body;
    });
    const backup = await system.client.atRest(asked.backup_id);
    const outcome = await killer.disarm();
    step = `${moment} ${outcome.calls[call - 1] ?? 'no call'}`;
    expect([backup.status, backup.error, backup.backup_type]).toEqual(['completed', null, 'incremental']);
    await requireInstant(backup.disk_results, instant);
    await system.becomesQuietAt(domain);
    if (outcome.killed) killsSinceStart += 1;
    return outcome;
  } catch (error) {
    const { calls } = await killer.disarm();
    throw new Error(`the node was killed ${moment} call ${call} (${calls[call - 1] ?? step})`, { cause: error });
  }
}

/** Running, or off: what is done differs. */
async function makeReady(running: boolean): Promise<void> {
  if ((await system.host.isActive('stepwise')) !== running) await (running ? domain.start() : domain.powerOff());
  const { body } = await system.hub.api<{ backups: object[] }>('GET', '/backups?vm_name=stepwise&status=completed&limit=1');
  if (body.backups.length > 0) return;
  await domain.write('vda', 0, 2);
  await system.backUp('stepwise', 'full');
}

function stepsOf(calls: readonly string[]): readonly Step[] {
  return calls.flatMap((text, index): Step[] => {
    const moments: readonly KillMoment[] = CHANGING.some((word) => text.includes(word)) ? ['before', 'during', 'after'] : ['before'];
    return moments.map((moment) => ({ call: index + 1, moment }));
  });
}

describe('a node that is killed', () => {
  it.each([true, false].flatMap((running) => Array.from({ length: SHARES }, (_, share) => ({ what: running ? 'running' : 'powered-off', running, share }))))(
    'at any step of the backup of a $what domain leaves nothing, and the backup is completed by its next life (part $share)',
    async ({ running, share }) => {
      await makeReady(running);
      const { calls } = await backUpThrough({ call: 0, moment: 'before' });
      const steps = stepsOf(calls);
      // Otherwise there is nothing to be killed at, or nothing that changes the domain.
      expect(steps.length).toBeGreaterThan(calls.length);
      for (const step of steps.filter((_, index) => index % SHARES === share)) await backUpThrough(step);
    },
  );

  it('while libvirt begins the backup leaves nothing, and the backup is completed by its next life', async () => {
    await makeReady(true);
    expect((await backUpThrough({ call: 1, moment: 'during', words: 'backup-begin' })).killed).toBe(true);
  });
});
