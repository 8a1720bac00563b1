import type { CommandContext } from '../../kernel/command-context.js';

/** Reads a restore point and everything it stands on. Answers with {verification_id, position}. @throws DomainError backup_not_found, backup_not_verifiable */
export class StartVerification {
  constructor(
    readonly backupId: string,
    readonly context: CommandContext,
  ) {}
}

export type StartedVerification = { readonly verification_id: string; readonly position: string | null };
