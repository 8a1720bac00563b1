import { chmod, mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { allProjections } from '../../projections/all-projections.js';
import { AccessRecorder } from '../../src/hub/history/audit/record-access/access.recorder.js';
import { Clock, Ids } from '../../src/lib/clock/clock.js';
import { CheckedEventStore } from '../../src/hub/store/event-store/checked-event-store.js';
import type { EventStore } from '../../src/hub/store/event-store/event-store.port.js';
import { PostgresEventStore } from '../../src/hub/store/event-store/postgres-event-store.js';
import { DIRECT_CALLS } from '../../src/storage/storage-worker/file-calls.js';
import { FileHasher } from '../../src/storage/hashing/file-hasher.js';
import { eventCheckOf } from '../../src/hub/store/postgres/event-check.js';
import { LocalPostgres } from '../../src/hub/store/postgres/local-postgres.js';
import { createPool, openDataSource } from '../../src/hub/store/postgres/postgres.module.js';
import type { SealedFile } from '../../src/storage/repository-files/chain-check.plan.js';
import { ChainGuard } from '../../src/hub/repositories/repository-storage/chain-guard.js';
import { type ProvenFile, ProvenFiles } from '../../src/storage/repository-files/proven-files.js';
import { RepositoryFiles } from '../../src/storage/repository-files/repository-files.js';
import { goldenHistory } from '../support/golden-streams.js';
import { type BenchOptions, type BenchResult, median } from './measure.js';

const HUB_ID = '11111111-2222-4333-8444-555555555555';
const silent = { log: () => undefined, warn: () => undefined };

interface Cost {
  readonly what: string;
  /** Medians, in milliseconds; of the check processor time. */
  readonly withoutMs: number;
  readonly withMs: number;
}

/** What is done with every append, listing, download or mount, against the same without it. */
export async function benchHotPaths({ smoke }: BenchOptions): Promise<BenchResult> {
  const directory = await mkdtemp(join(tmpdir(), 'sendense-hot-paths-'));
  try {
    // A PostgreSQL that root starts runs as another user, who must be able to pass through.
    await chmod(directory, 0o711);
    const costs = [...checks(smoke), ...(await accesses(directory, smoke)), ...(await chains(directory, smoke))];
    return {
      title: 'What is done every time',
      notes: [
        'the check: every event of the golden streams, one after the other, in processor time; the append and the access event: one event an append, one after the other, fsync on, with and without in turn',
        'the chain: all files are proven already, and are looked at again before they are opened; the VM has twice as many sealed files as the chain, which is of two disks',
      ],
      head: ['', 'without', 'with', 'cost'],
      rows: costs.map(({ what, withoutMs, withMs }) => [what, shown(withoutMs), shown(withMs), shown(withMs - withoutMs)]),
      targets: [],
    };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function shown(milliseconds: number): string {
  return milliseconds < 1 ? `${(milliseconds * 1000).toFixed(milliseconds < 0.1 ? 1 : 0)} µs` : `${milliseconds.toFixed(1)} ms`;
}

function checks(smoke: boolean): readonly Cost[] {
  const check = eventCheckOf(allProjections);
  const history = goldenHistory();
  const rounds = Array.from({ length: smoke ? 20 : 200 }, () => {
    const begun = process.cpuUsage();
    for (const event of history) check(event.stream, event);
    const { user, system } = process.cpuUsage(begun);
    return (user + system) / 1000 / history.length;
  });
  return [{ what: 'check of an event, mean of all types', withoutMs: 0, withMs: median(rounds) }];
}

async function accesses(directory: string, smoke: boolean): Promise<readonly Cost[]> {
  const server = new LocalPostgres(join(directory, 'postgres'), silent);
  try {
    const { ownerUrl } = await server.ensureStarted();
    await (await openDataSource(ownerUrl)).destroy();
    const pool = createPool(ownerUrl);
    const store = new PostgresEventStore(pool, silent);
    try {
      const checked = new CheckedEventStore(store, eventCheckOf(allProjections));
      const access = (into: EventStore) => async (): Promise<void> => {
        const recorder = new AccessRecorder(into, new Clock(), new Ids(), HUB_ID);
        const backupId = randomUUID();
        await recorder.begun(
          {
            operation: 'download',
            backup_id: backupId,
            vm_name: 'vm',
            mount_id: randomUUID(),
            disk_index: 0,
            path: '/etc/hosts',
            resolved_path: '/etc/hosts',
            options: {},
          },
          { actor: 'api:token', correlationId: randomUUID(), sourceAddress: '127.0.0.1' },
        );
      };
      const [plain, withCheck] = await inTurn(smoke ? 20 : 300, access(store), access(checked));
      return [
        { what: 'append of an event, without and with the check', withoutMs: plain, withMs: withCheck },
        { what: 'access event before a listing or download', withoutMs: 0, withMs: withCheck },
      ];
    } finally {
      await store.close();
      await pool.end();
    }
  } finally {
    await server.stop();
  }
}

async function chains(directory: string, smoke: boolean): Promise<readonly Cost[]> {
  const costs: Cost[] = [];
  for (const points of smoke ? [3] : [1, 30, 365]) {
    const repository = join(directory, `repository-${points}`);
    const sealed = await makeChain(repository, points);
    const files = new RepositoryFiles(() => DIRECT_CALLS);
    const proven = new ProvenFiles(join(directory, 'proven'));
    const known = new Map<string, ProvenFile>();
    for (const { file, sha256 } of sealed) {
      const facts = await files.imageFacts(repository, file);
      if (facts === null) throw new Error(`${file} was just made`);
      known.set(file, { state: facts.state, sha256 });
      known.set(file.replace('disk-0', 'disk-1'), { state: facts.state, sha256 });
    }
    await proven.remember(repository, known);
    const guard = new ChainGuard(files, new FileHasher(), proven);
    const [open, guarded] = await inTurn(
      smoke ? 3 : 30,
      () => Promise.all(sealed.map(({ file }) => stat(join(repository, file)))),
      () => guard.open(repository, sealed, { allowDamaged: false, patienceMs: 10_000 }),
    );
    costs.push({ what: `chain of ${points} restore points, before its disk is mounted, against a stat of each file`, withoutMs: open, withMs: guarded });
  }
  return costs;
}

/** QCOW2 files that stand on one another and hold nothing; their hashes are not looked at where they are proven. */
async function makeChain(repository: string, points: number): Promise<readonly SealedFile[]> {
  const folders = Array.from({ length: points }, (_, index) => `vm/${String(index).padStart(4, '0')}`);
  const sealed: SealedFile[] = [];
  for (const [index, folder] of folders.entries()) {
    await mkdir(join(repository, folder), { recursive: true });
    const file = `${folder}/disk-0.qcow2`;
    const below = folders[index - 1];
    const backing = below === undefined ? [] : ['-u', '-b', `../${below.slice('vm/'.length)}/disk-0.qcow2`, '-F', 'qcow2'];
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', ...backing, join(repository, file), '1G']);
    sealed.push({ backup_id: randomUUID(), file, size_bytes: (await stat(join(repository, file))).size, sha256: '0'.repeat(64) });
  }
  return sealed;
}

/** Medians of both, which take turns, in milliseconds. */
async function inTurn(rounds: number, first: () => Promise<unknown>, second: () => Promise<unknown>): Promise<readonly [number, number]> {
  const times: [number[], number[]] = [[], []];
  for (let round = -2; round < rounds; round++) {
    for (const [index, work] of [first, second].entries()) {
      const begun = performance.now();
      await work();
      if (round >= 0) times[index]?.push(performance.now() - begun);
    }
  }
  return [median(times[0]), median(times[1])];
}
