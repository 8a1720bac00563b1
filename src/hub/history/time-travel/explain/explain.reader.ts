import { Injectable } from '@nestjs/common';
import { DataSource, In, type ObjectLiteral } from 'typeorm';
import { AuditEventReadModel } from '../../../../../projections/audit-events/audit-events.read-model.js';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { ChainReadModel } from '../../../../../projections/chains/chains.read-model.js';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { RestoreExportReadModel } from '../../../../../projections/restore-exports/restore-exports.read-model.js';
import { RestoreJobReadModel } from '../../../../../projections/restore-jobs/restore-jobs.read-model.js';
import { RestoreMountReadModel } from '../../../../../projections/restore-mounts/restore-mounts.read-model.js';
import { VerificationReadModel } from '../../../../../projections/verifications/verifications.read-model.js';
import { VmReadModel } from '../../../../../projections/vms/vms.read-model.js';
import type { JsonObject } from '../../../../kernel/json.js';
import type { ReadModel } from '../../../store/postgres/read-model-definition.js';
import { toHistoryEvent } from '../time-travel.response.js';
import type { CauseResponse, ExplainQuery, ExplanationResponse } from './explain.dto.js';

/** Maximum number of events of a thing, and of the requests behind it. */
const MAX_EVENTS = 1_000;

type Kind = keyof ExplainQuery;

/** The read model of each kind, and the categories of the streams that a thing of this kind has. */
const SOURCES: Readonly<Record<Kind, { readonly model: ReadModel; readonly categories: readonly string[] }>> = {
  backup: { model: BackupReadModel, categories: ['backup'] },
  chain: { model: ChainReadModel, categories: ['chain'] },
  vm: { model: VmReadModel, categories: ['vm'] },
  repository: { model: RepositoryReadModel, categories: ['repository'] },
  node: { model: NodeReadModel, categories: ['node'] },
  restore_job: { model: RestoreJobReadModel, categories: ['restoreJob', 'vmRestore'] },
  restore_export: { model: RestoreExportReadModel, categories: ['restoreExport'] },
  restore_mount: { model: RestoreMountReadModel, categories: ['restoreMount'] },
  verification: { model: VerificationReadModel, categories: ['verification'] },
};
export const KINDS = Object.keys(SOURCES) as readonly Kind[];

/** Finds what led to the state of one thing, at the instant of the request. */
@Injectable()
export class ExplainReader {
  constructor(private readonly dataSource: DataSource) {}

  /** @returns null if there is no such thing */
  async explain(kind: Kind, id: string): Promise<ExplanationResponse | null> {
    const { model, categories } = SOURCES[kind];
    const row = await this.dataSource.getRepository<ObjectLiteral>(model).findOneBy({ [model.definition.key]: id });
    if (row === null) return null;
    const events = await this.newest({ stream: In(categories.map((category) => `${category}-${id}`)) }, 'revision');
    const requests = await this.newest({ correlation_id: In([...new Set(events.map(({ correlation_id }) => correlation_id))]) }, 'log_position');
    const byCommand = Map.groupBy(events, ({ causation_id }) => causation_id);
    const causes = [...byCommand.values()].map((recorded) => causeOf(recorded, requests));
    return { kind, id, state: JSON.parse(JSON.stringify(row)) as JsonObject, causes };
  }

  /** Oldest first. */
  private async newest(where: ObjectLiteral, order: 'revision' | 'log_position'): Promise<readonly AuditEventReadModel[]> {
    const found = await this.dataSource.getRepository(AuditEventReadModel).find({ where, order: { [order]: 'DESC' }, take: MAX_EVENTS });
    return found.sort((a, b) => (a.log_position < b.log_position ? -1 : 1));
  }
}

function causeOf(recorded: readonly AuditEventReadModel[], requests: readonly AuditEventReadModel[]): CauseResponse {
  const [first] = recorded;
  if (first === undefined) throw new Error('a command without events');
  const trigger = requests.findLast(
    ({ correlation_id, causation_id, log_position }) =>
      correlation_id === first.correlation_id && causation_id !== first.causation_id && log_position < first.log_position,
  );
  return {
    command_id: first.causation_id,
    correlation_id: first.correlation_id,
    actor: first.actor,
    events: recorded.map(toHistoryEvent),
    triggered_by: trigger === undefined ? null : toHistoryEvent(trigger),
  };
}
