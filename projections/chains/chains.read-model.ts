import { boolean, json, position, text, texts, type EntityOf, readModel, type RowOf } from '../../src/hub/store/postgres/read-model-definition.js';

export type ChainPoint = {
  readonly backup_id: string;
  readonly backup_type: 'full' | 'incremental';
  readonly parent_backup_id: string | null;
  readonly damage: { readonly code: string; readonly detail: string } | null;
};

export const ChainReadModel = readModel({
  name: 'chains',
  key: 'chain_id',
  columns: {
    chain_id: text(),
    vm_id: text(),
    repository_id: text(),
    full_backup_id: text(),
    /** The newest restore point; null once all are deleted. */
    head_backup_id: text().nullable(),
    /** Oldest first. */
    points: json<readonly ChainPoint[]>(),
    damaged: boolean(),
    /** Restore points that are to be removed. */
    pruning: texts(),
    /** The restore point whose files are being replaced; null: none. */
    rewriting: text().nullable(),
    /** Why the last pruning has not removed what it was to; null: it has, or there was none. */
    pruning_failure: json<{ readonly code: string; readonly detail: string; readonly failed_at: string }>().nullable(),
    started_position: position(),
  },
  indexes: ['(vm_id, started_position)', '(full_backup_id)'],
});
export type ChainReadModel = EntityOf<typeof ChainReadModel>;
export type ChainRow = RowOf<typeof ChainReadModel>;
