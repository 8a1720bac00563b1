import { Type } from 'class-transformer';
import { IsBoolean, IsInt, IsNotEmpty, IsObject, IsString, Matches, Max, MaxLength, Min, ValidateNested } from 'class-validator';
import type { WantedBoot } from '../model/verification.commands.js';
import { IsUuid } from '../../../../contract/validation/uuid.decorator.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

const DEFAULT_TIMEOUT_SECONDS = 300;
const DEFAULT_CONSOLE_TEXT = 'login:';

/** Either sign of life is enough. */
export class BootCheckRequest {
  /** The node that boots the restore point; absent: the node it was backed up from @example "0199a3c0-77aa-7c3e-8a55-9b1d3c1f0e99" */
  @Optional()
  @IsString()
  @Matches(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, { message: 'node_id must be the id of a node' })
  node_id?: string;

  /** Text on the serial console that shows that the guest is up; absent: none @example "login:" */
  @Optional()
  @IsString()
  @IsNotEmpty()
  @MaxLength(200)
  console_text?: string;

  /** Whether a response from the guest agent shows that the guest is up */
  @Optional()
  @IsBoolean()
  guest_agent = false;

  /** How long the guest has to give a sign of life, in seconds @example 300 */
  @Optional()
  @IsInt()
  @Min(1)
  @Max(86_400)
  timeout_seconds = DEFAULT_TIMEOUT_SECONDS;

  /** Memory of the guest in MiB; absent: as much as the VM has @example 1024 */
  @Optional()
  @IsInt()
  @Min(16)
  @Max(16_777_216)
  memory_mib?: number;
}

export class StartVerificationRequest {
  /** The repository that is read, if the restore point has copies; absent: the one that was backed up to @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e03" */
  @Optional()
  @IsUuid()
  repository_id?: string;

  /** Whether to also boot the restore point if its files are sound */
  @Optional()
  @IsBoolean()
  boot = false;

  /** What counts as booted; absent: "login:" on the serial console or a response from the guest agent. Has no effect without `boot` */
  @Optional()
  @IsObject()
  @ValidateNested()
  @Type(() => BootCheckRequest)
  boot_check?: BootCheckRequest;
}

export class HealRestorePointRequest {
  /** The repository whose files are healed; absent: the one that was backed up to @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e03" */
  @Optional()
  @IsUuid()
  repository_id?: string;
}

export function wantedBoot(request: StartVerificationRequest): WantedBoot | null {
  if (!request.boot) return null;
  const check = request.boot_check;
  if (check === undefined) {
    return { nodeId: null, consoleText: DEFAULT_CONSOLE_TEXT, guestAgent: true, timeoutSeconds: DEFAULT_TIMEOUT_SECONDS, memoryMib: null };
  }
  return {
    nodeId: check.node_id ?? null,
    consoleText: check.console_text ?? null,
    guestAgent: check.guest_agent,
    timeoutSeconds: check.timeout_seconds,
    memoryMib: check.memory_mib ?? null,
  };
}
