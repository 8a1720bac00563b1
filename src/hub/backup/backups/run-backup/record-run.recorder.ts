import { Injectable } from '@nestjs/common';
import type { CommandContext } from '../../../../kernel/command-context.js';
import type { Decider } from '../../../../kernel/decider.js';
import { Ids } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import type { Position } from '../../../../kernel/position.js';
import { BackupCorrelations } from '../model/backup-correlation.reader.js';
import { type BackupEvent, backupStream } from '../model/backup.events.js';
import { type BackupState, evolveBackup, initialBackupState } from '../model/backup.state.js';
import { decideRecordRun, type RecordRun } from './record-run.decide.js';

const decider: Decider<BackupState, RecordRun, BackupEvent> = { initialState: initialBackupState, evolve: evolveBackup, decide: decideRecordRun };

/** Loads a backup's state and records what the reactor did to it, under the correlation id of the request that began it. */
@Injectable()
export class RunRecorder {
  constructor(
    private readonly runner: CommandRunner,
    private readonly correlations: BackupCorrelations,
    private readonly ids: Ids,
  ) {}

  async load(backupId: string): Promise<BackupState> {
    return (await this.runner.load(backupStream(backupId), decider)).state;
  }

  /** Returns what was written (empty when the run had moved on), and where the stream's newest event stands. */
  async record(backupId: string, command: RecordRun): Promise<{ readonly events: readonly BackupEvent[]; readonly position: Position | null }> {
    return this.runner.run(backupStream(backupId), decider, command, await this.context(backupId));
  }

  /** A context for a command that this backup's run causes, in whatever context it is. */
  async context(backupId: string): Promise<CommandContext> {
    return { commandId: this.ids.next(), correlationId: await this.correlations.of(backupId), actor: 'system:run-backup' };
  }

  forget(backupId: string): void {
    this.correlations.forget(backupId);
  }
}
