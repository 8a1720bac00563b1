import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { allProjections } from '../../projections/all-projections.js';
import { evolveBackup, initialBackupState } from '../../src/hub/backup/backups/model/backup.state.js';
import { evolveChain, initialChainState } from '../../src/hub/backup/chains/model/chain.state.js';
import type { DomainEvent } from '../../src/kernel/event.js';
import { evolveNbdExport, initialNbdExportState } from '../../src/hub/exports/nbd-exports/model/nbd-export.state.js';
import { evolveNbdPorts, initialNbdPortsState } from '../../src/hub/exports/nbd-ports/model/nbd-port.state.js';
import { evolveNode, initialNodeState } from '../../src/hub/nodes/nodes/model/node.state.js';
import { categoryOf } from '../../src/hub/store/event-store/event-store.port.js';
import { evolveLedger, initialLedgerState } from '../../src/hub/history/ledger/model/ledger.state.js';
import { foldFromZero } from '../../src/hub/store/postgres/projection-definition.js';
import { evolveCopy, initialCopyState } from '../../src/hub/repositories/copies/model/copy.state.js';
import { evolveRepository, initialRepositoryState } from '../../src/hub/repositories/repositories/model/repository.state.js';
import { evolvePlace, initialPlaceState } from '../../src/hub/repositories/repositories/model/place.state.js';
import { evolveCapacity, initialCapacityState } from '../../src/hub/repositories/repositories/model/capacity.state.js';
import { evolveRestoreExport, initialRestoreExportState } from '../../src/hub/restore/restore-exports/model/restore-export.state.js';
import { evolveRestoreJob, initialRestoreJobState } from '../../src/hub/restore/restore-jobs/model/restore-job.state.js';
import { evolveVmRestore, initialVmRestoreState } from '../../src/hub/restore/restore-jobs/model/vm-restore.state.js';
import { evolveVerification, initialVerificationState } from '../../src/hub/backup/verifications/model/verification.state.js';
import { evolveRestoreMount, initialRestoreMountState } from '../../src/hub/restore/restore-mounts/model/restore-mount.state.js';
import { evolveBlackout, initialBlackoutState } from '../../src/hub/backup/policies/model/blackout.state.js';
import { evolveOccurrence, initialOccurrenceState } from '../../src/hub/backup/policies/model/occurrence.state.js';
import { evolvePipeline, initialPipelineState } from '../../src/hub/backup/policies/model/pipeline.state.js';
import { evolvePolicy, initialPolicyState } from '../../src/hub/backup/policies/model/policy.state.js';
import { evolveRpo, initialRpoState } from '../../src/hub/backup/policies/model/rpo.state.js';
import { evolveVm, initialVmState } from '../../src/hub/backup/vms/model/vm.state.js';
import { goldenHistory, goldenStreams } from '../support/golden-streams.js';

const SOURCES = join(import.meta.dirname, '..', '..', 'src');

type Fold = (events: readonly DomainEvent[]) => unknown;

/** What is stored under a category is that category's event union. */
function folding<State>(initial: State, evolve: (state: State, event: never) => State): Fold {
  return (events) => (events as readonly never[]).reduce((state, event) => evolve(state, event), initial);
}

/** Streams that nothing is decided on, so that no state folds them. */
const unfolded: Fold = (events) => ({ events: events.length });

const EVOLVE: Readonly<Record<string, Fold>> = {
  access: unfolded,
  refusal: unfolded,
  capacity: folding(initialCapacityState, evolveCapacity),
  backup: folding(initialBackupState, evolveBackup),
  chain: folding(initialChainState, evolveChain),
  copy: folding(initialCopyState, evolveCopy),
  nbdExport: folding(initialNbdExportState, evolveNbdExport),
  projection: (events) => events.map(({ data }) => data),
  ledger: folding(initialLedgerState, evolveLedger),
  nbdPorts: folding(initialNbdPortsState, evolveNbdPorts),
  node: folding(initialNodeState, evolveNode),
  place: folding(initialPlaceState, evolvePlace),
  repository: folding(initialRepositoryState, evolveRepository),
  restoreExport: folding(initialRestoreExportState, evolveRestoreExport),
  restoreJob: folding(initialRestoreJobState, evolveRestoreJob),
  verification: folding(initialVerificationState, evolveVerification),
  restoreMount: folding(initialRestoreMountState, evolveRestoreMount),
  occurrence: folding(initialOccurrenceState, evolveOccurrence),
  rpo: folding(initialRpoState, evolveRpo),
  blackout: folding(initialBlackoutState, evolveBlackout),
  pipeline: folding(initialPipelineState, evolvePipeline),
  policy: folding(initialPolicyState, evolvePolicy),
  vm: folding(initialVmState, evolveVm),
  vmRestore: folding(initialVmRestoreState, evolveVmRestore),
};

/** Types as the sources declare them: `DomainEvent<'BackupRequested', ...`. */
function declaredTypes(): string[] {
  return readdirSync(SOURCES, { recursive: true, encoding: 'utf8' })
    .filter((file) => /model\/[^/]+\.events\.ts$/.test(file))
    .flatMap((file) => [...readFileSync(join(SOURCES, file), 'utf8').matchAll(/DomainEvent<\s*'(\w+)'/g)].map((match) => String(match[1])));
}

describe('golden streams', () => {
  it('hold every event type that a context declares', () => {
    const golden = new Set(goldenStreams().flatMap(({ events }) => events.map(({ type }) => type)));
    expect(declaredTypes().length).toBeGreaterThan(40);
    expect(declaredTypes().filter((type) => !golden.has(type))).toEqual([]);
  });

  it.each(goldenStreams().map((golden) => [golden.stream, golden] as const))('%s is folded by its context', (stream, golden) => {
    const evolve = EVOLVE[categoryOf(stream)];
    expect(evolve).toBeDefined();
    expect(evolve?.(golden.events)).toMatchSnapshot();
  });

  // The ledger's tiles change with every example; ledger-leaf.spec.ts holds what a leaf looks like.
  it.each(allProjections.filter(({ inOrder }) => inOrder === undefined).map((projection) => [projection.name, projection] as const))(
    'give the read model %s the rows they always gave',
    (_name, projection) => {
      const events = goldenHistory().filter(({ stream }) => projection.categories?.includes(categoryOf(stream)) ?? true);
      const rows = foldFromZero(projection, events);
      expect(rows.map(({ row, position }) => ({ ...row, position }))).toMatchSnapshot();
      for (const { row } of rows) expect(Object.keys(row).sort()).toEqual(Object.keys(projection.columns).sort());
    },
  );
});
