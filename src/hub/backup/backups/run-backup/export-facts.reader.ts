import { constants } from 'node:os';
import { Injectable } from '@nestjs/common';
import { unknownVariant } from '../../../../kernel/decider.js';
import { type NbdExportEvent, nbdExportStream } from '../../../exports/nbd-exports/model/nbd-export.events.js';
import { asDomainEvent } from '../../../store/event-store/command-runner.js';
import { EventStore } from '../../../store/event-store/event-store.port.js';
import type { BackupRun } from '../model/backup.state.js';
import type { ExportFact } from './run-backup.plan.js';

/** The state of exports according to their own streams. */
@Injectable()
export class ExportFacts {
  constructor(private readonly store: EventStore) {}

  /** By export id; an export that was never requested is not in it. */
  async of(run: BackupRun): Promise<ReadonlyMap<string, ExportFact>> {
    const facts = new Map<string, ExportFact>();
    await Promise.all(
      run.disks.map(async ({ target }) => {
        if (target === null) return;
        for await (const newest of this.store.read(nbdExportStream(target.export_id), { direction: 'backwards', limit: 1 })) {
          facts.set(target.export_id, exportFact(asDomainEvent<NbdExportEvent>(newest)));
        }
      }),
    );
    return facts;
  }

  /** The job that an export belongs to; null if it was never requested. */
  async ownerOf(exportStream: string): Promise<string | null> {
    for await (const first of this.store.read(exportStream, { limit: 1 })) {
      const event = asDomainEvent<NbdExportEvent>(first);
      return event.type === 'NbdExportRequested' ? event.data.job_id : null;
    }
    return null;
  }
}

/** A shell reports termination by a signal as exit code 128 plus the signal's number. */
function endOf(exitCode: number | null): string {
  const signal = Object.entries(constants.signals).find(([, number]) => exitCode === 128 + number)?.[0];
  return signal === undefined ? `exited unexpectedly (exit code ${exitCode ?? 'unknown'})` : `was terminated by ${signal}, which the hub did not send`;
}

function exportFact(event: NbdExportEvent): ExportFact {
  switch (event.type) {
    case 'NbdExportRequested':
      return { standing: 'requested' };
    case 'NbdExportStarted':
      return { standing: 'started' };
    case 'NbdExportStartFailed':
      return {
        standing: 'broken',
        code: `export_${event.data.code}`,
        exit_code: event.data.exit_code,
        detail: `qemu-nbd could not be started (${event.data.code}, exit code ${event.data.exit_code ?? 'unknown'}): ${event.data.stderr.trim()}`,
      };
    case 'NbdExportExited':
      return {
        standing: 'broken',
        code: 'export_exited',
        exit_code: event.data.exit_code,
        detail: `qemu-nbd ${endOf(event.data.exit_code)}${event.data.stderr.trim() === '' ? '' : `: ${event.data.stderr.trim()}`}`,
      };
    case 'NbdExportStopped':
      return { standing: 'stopped', killed: event.data.signal === 'SIGKILL' };
    default:
      return unknownVariant('export stream', event);
  }
}
