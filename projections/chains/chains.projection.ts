import { unknownVariant } from '../../src/kernel/decider.js';
import type { ChainEvent } from '../../src/hub/backup/chains/model/chain.events.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import { ChainReadModel, type ChainPoint, type ChainRow } from './chains.read-model.js';

export const chainsProjection: Projection<ChainRow> = {
  ...ChainReadModel.definition,
  categories: ['chain'],
  keys: ({ stream }) => [stream.slice(stream.indexOf('-') + 1)],
  fold(row, recorded) {
    const event = asDomainEvent<ChainEvent>(recorded);
    if (event.type === 'ChainStarted') {
      return withPoints(
        {
          chain_id: event.data.chain_id,
          vm_id: event.data.vm_id,
          repository_id: event.data.repository_id,
          full_backup_id: event.data.backup_id,
          head_backup_id: null,
          points: [],
          damaged: false,
          pruning: [],
          rewriting: null,
          pruning_failure: null,
          started_position: recorded.position,
        },
        [{ backup_id: event.data.backup_id, backup_type: 'full', parent_backup_id: null, damage: null }],
      );
    }
    if (row === undefined) throw new Error(`chain stream ${recorded.stream} has ${event.type} before ChainStarted`);
    switch (event.type) {
      case 'ChainExtended':
        return withPoints(row, [
          ...row.points,
          { backup_id: event.data.backup_id, backup_type: 'incremental', parent_backup_id: event.data.parent_backup_id, damage: null },
        ]);
      case 'RestorePointRemoved':
        return withPoints(
          { ...row, pruning: row.pruning.filter((backupId) => backupId !== event.data.backup_id) },
          row.points.filter(({ backup_id }) => backup_id !== event.data.backup_id),
        );
      case 'RestorePointDamaged':
        return withPoints(
          row,
          row.points.map((point) =>
            point.backup_id === event.data.backup_id ? { ...point, damage: { code: event.data.code, detail: event.data.detail } } : point,
          ),
        );
      case 'RestorePointLocked':
        // Shown by the backups.
        return row;
      case 'RestorePointHealed':
        return withPoints(
          row,
          row.points.map((point) => (point.backup_id === event.data.backup_id ? { ...point, damage: null } : point)),
        );
      case 'PruningRequested':
        return { ...row, pruning: [...new Set([...row.pruning, ...event.data.remove])], pruning_failure: null };
      case 'RestorePointRewriteStarted':
        return { ...row, rewriting: event.data.backup_id };
      case 'RestorePointRewritten': {
        const { backup_id, parent_backup_id } = event.data;
        const backup_type = parent_backup_id === null ? 'full' : 'incremental';
        return withPoints(
          { ...row, rewriting: null, full_backup_id: parent_backup_id === null ? backup_id : row.full_backup_id },
          row.points.map((point) => (point.backup_id === backup_id ? { ...point, backup_type, parent_backup_id } : point)),
        );
      }
      case 'PruningFailed':
        return { ...row, pruning: [], pruning_failure: event.data };
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
};

function withPoints(row: ChainRow, points: readonly ChainPoint[]): ChainRow {
  return { ...row, points, head_backup_id: points.at(-1)?.backup_id ?? null, damaged: points.some(({ damage }) => damage !== null) };
}
