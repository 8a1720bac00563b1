import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { Clock } from '../../../../lib/clock/clock.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import type { Position } from '../../../../kernel/position.js';
import { EndRestoreExport } from '../model/restore-export.commands.js';
import { restoreExportStream } from '../model/restore-export.events.js';
import { RestoreExportRecorder } from '../model/restore-export.recorder.js';

/** Maximum wait of the answer for the cleanup. The cleanup continues after that. */
const REMOVAL_PATIENCE_MS = 20_000;

@CommandHandler(EndRestoreExport)
export class EndRestoreExportHandler implements ICommandHandler<EndRestoreExport> {
  constructor(
    private readonly recorder: RestoreExportRecorder,
    private readonly feed: EventFeed,
    private readonly clock: Clock,
  ) {}

  async execute({ exportId, context, heldBy }: EndRestoreExport): Promise<Position | null> {
    const position = await this.recorder.record(
      exportId,
      { kind: 'end', export_id: exportId, reason: 'deleted', held_by: heldBy, ended_at: this.clock.iso() },
      context,
    );
    const gone = await this.feed
      .first(restoreExportStream(exportId), (event) => event.type === 'RestoreExportCleanedUp', REMOVAL_PATIENCE_MS)
      .catch(() => null);
    return gone?.position ?? position;
  }
}
