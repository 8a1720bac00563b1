import { IsBoolean, IsIn, IsString, MaxLength } from 'class-validator';
import { NodeProblem } from './problem.js';
import { Amount, ListOf, Part, Text, TextLike, WholeNumber } from './validation/member.decorators.js';
import { Nullable } from './validation/presence.decorators.js';
import { NodeDefinitionChange, NodeRestoredDefinition, NodeServedDisk } from './vm-definition.js';
import { JOB_ID } from './words.js';

const MAX_DISKS = 256;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** POST /api/v1/boot-checks/start. Idempotent by check_id. */
export class NodeStartBootCheck {
  @TextLike(JOB_ID, 'check_id must be 1 to 64 letters, digits or dashes')
  readonly check_id!: string;

  @IsString()
  @MaxLength(1024)
  readonly vm_name!: string;

  @Part(() => NodeRestoredDefinition)
  readonly definition!: NodeRestoredDefinition;

  /** Their exports are writable; the written content is discarded. */
  @ListOf(() => NodeServedDisk, { min: 1, max: MAX_DISKS, uniqueBy: 'disk_key' })
  readonly disks!: readonly NodeServedDisk[];

  /** This or the guest agent is a sufficient sign; at least one is requested. */
  @Nullable()
  @Text({ max: 200 })
  readonly console_text!: string | null;

  @IsBoolean()
  readonly guest_agent!: boolean;

  /** Measured from the start of the domain. */
  @WholeNumber(1, 86_400)
  readonly timeout_seconds!: number;

  /** null: the VM's own memory size. */
  @Nullable()
  @WholeNumber(16, 16_777_216)
  readonly memory_mib!: number | null;
}

const STATUSES = ['running', 'booted', 'not_booted', 'failed'] as const;
/** `booted`, `not_booted`: the verdict; `failed`: no verdict was possible. Reported only once the domain is gone. */
export type NodeBootCheckStatus = (typeof STATUSES)[number];

/** GET /api/v1/boot-checks/{check_id} */
export class NodeBootCheckReport {
  @Text()
  readonly check_id!: string;

  @IsIn(STATUSES)
  readonly status!: NodeBootCheckStatus;

  /** The sign of life that was observed; null: none. */
  @Nullable()
  @IsIn(['console_text', 'guest_agent'])
  readonly sign!: 'console_text' | 'guest_agent' | null;

  /** Human-readable observation. */
  @IsString()
  readonly detail!: string;

  /** From the start of the domain to the verdict. */
  @Amount()
  readonly seconds!: number;

  @ListOf(() => NodeDefinitionChange)
  readonly changes!: readonly NodeDefinitionChange[];

  @Nullable()
  @Part(() => NodeProblem)
  readonly error!: NodeProblem | null;
}

/** GET /api/v1/boot-checks/{check_id}/artefacts, for a check that has ended. */
export class NodeBootCheckArtefacts {
  /** Output of the serial console; of a long one, the beginning and the end. */
  @TextLike(BASE64, 'console_base64 must be base64')
  readonly console_base64!: string;

  /** null: there is none; screenshot_problem gives the reason. */
  @Nullable()
  @TextLike(BASE64, 'screenshot_base64 must be base64')
  readonly screenshot_base64!: string | null;

  @Nullable()
  @IsIn(['image/png', 'image/x-portable-pixmap'])
  readonly screenshot_type!: 'image/png' | 'image/x-portable-pixmap' | null;

  @Nullable()
  @Text()
  readonly screenshot_problem!: string | null;
}
