import { Injectable } from '@nestjs/common';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Ids } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import type { Position } from '../../../../kernel/position.js';
import { BackupCorrelations } from '../model/backup-correlation.reader.js';
import { type BackupEvent, backupStream } from '../model/backup.events.js';
import { backupDecider, type BackupState } from '../model/backup.state.js';
import { decideRecordRun, type RecordRun } from './record-run.decide.js';

const decider = backupDecider(decideRecordRun);

/** Loads a backup's state and records the outcomes of the reactor, under the correlation id of the backup request. */
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

  /** @returns the written events (none if the run had moved on) and the position of the stream's newest event */
  async record(backupId: string, command: RecordRun): Promise<{ readonly events: readonly BackupEvent[]; readonly position: Position | null }> {
    return this.runner.run(backupStream(backupId), decider, command, await this.context(backupId));
  }

  /** The context for a command that this run issues, in this or another bounded context. */
  async context(backupId: string): Promise<CommandContext> {
    return { commandId: this.ids.next(), correlationId: await this.correlations.of(backupId), actor: 'system:run-backup' };
  }

  forget(backupId: string): void {
    this.correlations.forget(backupId);
  }
}
