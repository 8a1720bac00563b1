import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { IsUuid } from '../../../../contract/validation/uuid.decorator.js';
import type { JsonObject } from '../../../../kernel/json.js';
import { HistoryEventResponse } from '../time-travel.response.js';

/** Exactly one of them. */
export class ExplainQuery {
  /** Id of a backup @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */
  @Optional()
  @IsUuid()
  backup?: string;

  /** Id of a chain @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */
  @Optional()
  @IsUuid()
  chain?: string;

  /** Id of a registered VM @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */
  @Optional()
  @IsUuid()
  vm?: string;

  /** Id of a repository @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */
  @Optional()
  @IsUuid()
  repository?: string;

  /** Id of a node @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */
  @Optional()
  @IsUuid()
  node?: string;

  /** Id of a restore @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */
  @Optional()
  @IsUuid()
  restore_job?: string;

  /** Id of a restore export @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */
  @Optional()
  @IsUuid()
  restore_export?: string;

  /** Id of a mount @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */
  @Optional()
  @IsUuid()
  restore_mount?: string;

  /** Id of a verification @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */
  @Optional()
  @IsUuid()
  verification?: string;
}

export class CauseResponse {
  /** The command that recorded the events @example "0199a3c4-7c00-7000-8000-000000000002" */ readonly command_id!: string;
  /** Shared by everything that results from one request @example "0199a3c4-7c00-7000-8000-000000000001" */
  readonly correlation_id!: string;
  /** Who asked for the command @example "api:token" */ readonly actor!: string;
  /** Events of the thing that the command recorded, oldest first */ readonly events!: HistoryEventResponse[];
  /** The event of another command of the same request that came just before; null: the request itself caused the command @example null */
  readonly triggered_by!: HistoryEventResponse | null;
}

export class ExplanationResponse {
  /** @example "backup" */ readonly kind!: string;
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly id!: string;
  /** Its row in the read model @example {"status":"completed"} */ readonly state!: JsonObject;
  /** The commands that led to the state, oldest first; of a long history the newest */ readonly causes!: CauseResponse[];
}
