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
          row,
          row.points.filter(({ backup_id }) => backup_id !== event.data.backup_id),
        );
      case 'RestorePointDamaged':
        return withPoints(
          row,
          row.points.map((point) =>
            point.backup_id === event.data.backup_id ? { ...point, damage: { code: event.data.code, detail: event.data.detail } } : point,
          ),
        );
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
};

function withPoints(row: ChainRow, points: readonly ChainPoint[]): ChainRow {
  return { ...row, points, head_backup_id: points.at(-1)?.backup_id ?? null, damaged: points.some(({ damage }) => damage !== null) };
}
