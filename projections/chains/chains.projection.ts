import { unknownVariant } from '../../src/kernel/decider.js';
import type { ChainEvent } from '../../src/hub/backup/chains/model/chain.events.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';

export type ChainPoint = {
  readonly backup_id: string;
  readonly backup_type: 'full' | 'incremental';
  readonly parent_backup_id: string | null;
  readonly damage: { readonly code: string; readonly detail: string } | null;
};

export type ChainRow = {
  readonly chain_id: string;
  readonly vm_id: string;
  readonly repository_id: string;
  readonly full_backup_id: string;
  /** The newest restore point; null once all are deleted. */
  readonly head_backup_id: string | null;
  /** Oldest first. */
  readonly points: readonly ChainPoint[];
  readonly damaged: boolean;
  readonly started_position: string;
};

export const chainsProjection: Projection<ChainRow> = {
  name: 'chains',
  categories: ['chain'],
  key: 'chain_id',
  columns: {
    chain_id: 'text',
    vm_id: 'text',
    repository_id: 'text',
    full_backup_id: 'text',
    head_backup_id: 'text',
    points: 'jsonb',
    damaged: 'boolean',
    started_position: 'text',
  },
  nullable: { head_backup_id: true },
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
