import { Command } from '@nestjs/cqrs';
import type { CommandContext } from '../../../../kernel/command-context.js';

export interface WantedBoot {
  /** null: the node that the VM was backed up from. */
  readonly nodeId: string | null;
  readonly consoleText: string | null;
  readonly guestAgent: boolean;
  readonly timeoutSeconds: number;
  readonly memoryMib: number | null;
}

/**
 * Verifies a restore point and everything it depends on, and optionally heals it, or boots it.
 * @throws DomainError backup_not_found, backup_not_verifiable, copy_not_found; with a boot also definition_missing, node_not_found, sign_of_life_missing
 */
export class StartVerification extends Command<StartedVerification> {
  constructor(
    readonly backupId: string,
    /** null: only the files are verified. */
    readonly boot: WantedBoot | null,
    readonly context: CommandContext,
    /** The repository that is read; null: the one that was backed up to. */
    readonly repositoryId: string | null = null,
    /** Whether damaged files are written again from other places that hold them. */
    readonly heal = false,
  ) {
    super();
  }
}

export type StartedVerification = { readonly verification_id: string; readonly position: string | null };
