import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { setTimeout as pause } from 'node:timers/promises';
import { retry } from '../../../../lib/concurrency/retry.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { unknownVariant } from '../../../../kernel/decider.js';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import { type CommandOutcome, CommandRunner } from '../../../store/event-store/command-runner.js';
import { EventStore } from '../../../store/event-store/event-store.port.js';
import { KeyedMutex } from '../../../../lib/concurrency/keyed-mutex.js';
import {
  exportAccessDirectory,
  exportKeyFile,
  type ExportTransport,
  exportSocket,
  prepareExportAccess,
  removeExportAccess,
} from '../../nbd-servers/export-access.js';
import { nbdHandshake } from '../../../../lib/nbd/nbd-handshake.js';
import type { NbdAddress } from '../../../../lib/nbd/nbd-uri.js';
import { targetServerArgv } from '../../../../lib/nbd/qemu-nbd.plan.js';
import { signalProcess } from '../../../../lib/process/process-identity.js';
import { ProcessSupervisor } from '../../../../lib/process/process-supervisor.port.js';
import { ToolError } from '../../../../lib/process/tool-error.js';
import { exportDirectory } from '../model/export-directories.plan.js';
import type { ExportOutcome, RequestedExport } from '../model/nbd-export.commands.js';
import { type NbdExportEvent, type NbdExportRequested, type NbdExportStartFailed, type NbdExportStopped, nbdExportStream } from '../model/nbd-export.events.js';
import { mayRun, nbdExportDecider, type NbdExportState } from '../model/nbd-export.state.js';
import { endedAsTold, reachableHost, type ServerEnd, startFailureCode } from './export-end.plan.js';
import { decideRecordExport, type RecordExport } from './record-export.decide.js';

type Outcome = CommandOutcome<NbdExportState, NbdExportEvent>;
type Recorded = Pick<Outcome, 'state' | 'position'>;

const decider = nbdExportDecider(decideRecordExport);

/** From the start of a server to its first successful handshake. */
const START_DEADLINE_MS = 10_000;
const HANDSHAKE_PAUSE_MS = 10;
/** Timeout of one handshake attempt, for a server that accepts a connection and then stays silent. */
const HANDSHAKE_PATIENCE_MS = 2_000;
/** Time a server has to flush its caches before it is killed. */
const STOP_GRACE_MS = 10_000;
/** Delay before another attempt to record an end. */
const RECORD_RETRY_MS = 1_000;
/** A client notices that a server is gone before its exit code is written; the code may take this long. */
const LAST_WORDS_MS = 250;

/** The export was stopped while it was starting. */
class StartAbandoned extends Error {
  override readonly name = 'StartAbandoned';
}

/**
 * Runs exports: compares the recorded state with the process and its run directory, and continues from there. Operations on one export are serialized.
 * A run directory is deleted only after its history is recorded.
 */
@Injectable()
export class ExportRunner implements OnApplicationShutdown {
  private readonly perExport = new KeyedMutex();
  private readonly starting = new Map<string, AbortController>();
  private readonly watched = new Map<string, AbortController>();
  private readonly shutdown = new AbortController();

  constructor(
    private readonly runner: CommandRunner,
    private readonly store: EventStore,
    private readonly supervisor: ProcessSupervisor,
    private readonly config: HubConfig,
    private readonly clock: Clock,
  ) {}

  async request(request: RequestedExport, context: CommandContext): Promise<ExportOutcome> {
    const { exportId } = request;
    return this.perExport.runExclusive(exportId, async () => {
      const requested = await this.runner.run(
        nbdExportStream(exportId),
        decider,
        {
          kind: 'requested',
          data: {
            export_id: exportId,
            job_id: request.jobId,
            export_name: request.exportName,
            port: request.port,
            file: request.file,
            read_only: request.readOnly,
            shared_limit: request.sharedLimit,
            transport: request.transport,
            requested_at: this.clock.iso(),
          },
        },
        context,
      );
      const { state } = requested;
      return outcomeOf(state.status === 'requested' ? await this.bringUp(state.request, context) : requested);
    });
  }

  async stop(exportId: string, context: CommandContext): Promise<ExportOutcome> {
    this.starting.get(exportId)?.abort(new StartAbandoned());
    return this.perExport.runExclusive(exportId, async () => {
      const directory = this.directory(exportId);
      const loaded = await this.runner.load(nbdExportStream(exportId), decider);
      if (!mayRun(loaded.state)) return outcomeOf(loaded);
      const signal = await this.supervisor.stop(directory, STOP_GRACE_MS);
      return outcomeOf(await this.recordEnd(exportId, loaded.state, signal, context));
    });
  }

  async examine(exportId: string): Promise<ExportOutcome> {
    return this.perExport.runExclusive(exportId, async () => {
      const loaded = await this.runner.load(nbdExportStream(exportId), decider);
      if (loaded.state.status !== 'started') return outcomeOf(loaded);
      const patience = AbortSignal.timeout(LAST_WORDS_MS);
      try {
        await this.supervisor.waitForExit(this.directory(exportId), patience);
      } catch (error) {
        if (patience.aborted) return outcomeOf(loaded);
        throw error;
      }
      return outcomeOf(await this.recordEnd(exportId, loaded.state, 'none', await this.ownContext(exportId)));
    });
  }

  /**
   * After a start of the hub, compares the recorded state of an export with its process: adopts running servers, records ended ones, removes orphans.
   * @returns the action taken, for the log
   */
  async reconcile(exportId: string): Promise<'adopted' | 'end_recorded' | 'start_resumed' | 'orphan_removed' | 'left_to_its_job' | 'remains_removed'> {
    return this.perExport.runExclusive(exportId, async () => {
      const directory = this.directory(exportId);
      const { state } = await this.runner.load(nbdExportStream(exportId), decider);
      const status = await this.supervisor.status(directory);
      switch (state.status) {
        case 'requested':
          // The requester repeats the request or stops the export.
          if (status.state === 'absent') return 'left_to_its_job';
          await this.bringUp(state.request, await this.ownContext(exportId));
          return 'start_resumed';
        case 'started':
          if (status.state === 'running') {
            this.watch(exportId);
            return 'adopted';
          }
          await this.recordEnd(exportId, state, 'none', await this.ownContext(exportId));
          return 'end_recorded';
        case 'none':
        case 'start_failed':
        case 'stopped':
        case 'exited':
          await this.supervisor.stop(directory, STOP_GRACE_MS);
          await this.forget(exportId);
          return state.status === 'none' ? 'orphan_removed' : 'remains_removed';
        default:
          return unknownVariant('reconcile an export', state);
      }
    });
  }

  onApplicationShutdown(): void {
    this.shutdown.abort(new Error('the hub is shutting down'));
  }

  private async bringUp(request: NbdExportRequested['data'], context: CommandContext): Promise<Recorded> {
    const exportId = request.export_id;
    const directory = this.directory(exportId);
    const abandon = new AbortController();
    this.starting.set(exportId, abandon);
    try {
      const { transport } = request;
      if (transport !== undefined) await this.startServer(request, transport);
      // An older hub may have started it without a key, open to every client that reaches the port. This hub never does.
      else if ((await this.supervisor.status(directory)).state === 'absent') {
        const end = { exitCode: null, stderr: 'It was requested by an older hub without a key and had not started yet.', stopRequested: false };
        return await this.recordStartFailed(exportId, 'exited_early', end, context);
      }
      const end = await this.firstOf(directory, request, abandon.signal);
      if (end !== null) return await this.recordStartFailed(exportId, startFailureCode(end), end, context);
      const status = await this.supervisor.status(directory);
      if (status.state !== 'running' || status.identity === null) {
        const late = status.state === 'exited' ? status : { exitCode: null, stderr: '', stopRequested: false };
        return await this.recordStartFailed(exportId, startFailureCode(late), late, context);
      }
      const { pid, start_ticks, boot_id } = status.identity;
      const started = await this.record(
        exportId,
        { kind: 'started', data: { pid, process_start_ticks: start_ticks, boot_id, started_at: this.clock.iso() } },
        context,
      );
      if (started.state.status === 'started') this.watch(exportId);
      return started;
    } catch (error) {
      if (error instanceof StartAbandoned) return await this.runner.load(nbdExportStream(exportId), decider);
      if (error instanceof HandshakeTimeout) {
        await this.supervisor.stop(directory, STOP_GRACE_MS);
        const status = await this.supervisor.status(directory);
        const end = status.state === 'exited' ? status : { exitCode: null, stderr: '', stopRequested: true };
        return await this.recordStartFailed(exportId, 'handshake_timeout', end, context);
      }
      if (error instanceof ToolError && error.code === 'tool_missing') {
        return await this.recordStartFailed(exportId, 'tool_missing', { exitCode: null, stderr: error.message, stopRequested: false }, context);
      }
      throw error;
    } finally {
      this.starting.delete(exportId);
    }
  }

  private async startServer(request: NbdExportRequested['data'], transport: ExportTransport): Promise<void> {
    const { export_id: exportId, port } = request;
    const { runDirectory, nbdListenHost: host } = this.config;
    await prepareExportAccess(runDirectory, exportId, transport, port);
    const listen =
      transport === 'unix' ? { socket: exportSocket(runDirectory, exportId) } : { host, port, keyDirectory: exportAccessDirectory(runDirectory, exportId) };
    await this.supervisor.start(
      this.directory(exportId),
      targetServerArgv({
        file: request.file,
        readOnly: request.read_only,
        listen,
        exportName: request.export_name,
        sharedLimit: request.shared_limit,
        // The finished file is fsynced before it counts, and a host crash before that fails the backup anyway.
        cache: 'unsafe',
      }),
      { background: !request.read_only },
    );
  }

  /** null: the handshake succeeded. Otherwise: how the server ended before it could. @throws HandshakeTimeout, StartAbandoned */
  private async firstOf(directory: string, request: NbdExportRequested['data'], abandoned: AbortSignal): Promise<ServerEnd | null> {
    const decided = new AbortController();
    const deadline = setTimeout(() => decided.abort(new HandshakeTimeout()), START_DEADLINE_MS);
    const signal = AbortSignal.any([decided.signal, abandoned]);
    try {
      const contestants = [this.supervisor.waitForExit(directory, signal), this.answered(request, signal)];
      // The loser rejects with the reason of `decided`; nothing awaits it.
      for (const contestant of contestants) contestant.catch(() => undefined);
      return await Promise.race(contestants);
    } finally {
      clearTimeout(deadline);
      decided.abort(new Error('decided'));
    }
  }

  private async answered(request: NbdExportRequested['data'], signal: AbortSignal): Promise<null> {
    const address = this.addressOf(request);
    for (;;) {
      try {
        await nbdHandshake(address, request.export_name, AbortSignal.any([signal, AbortSignal.timeout(HANDSHAKE_PATIENCE_MS)]));
        return null;
      } catch {
        signal.throwIfAborted();
        await pause(HANDSHAKE_PAUSE_MS, undefined, { signal }).catch(() => undefined);
        signal.throwIfAborted();
      }
    }
  }

  private async recordStartFailed(exportId: string, code: NbdExportStartFailed['data']['code'], end: ServerEnd, context: CommandContext): Promise<Recorded> {
    const data = { code, exit_code: end.exitCode, stderr: end.stderr, failed_at: this.clock.iso() };
    const failed = await this.record(exportId, { kind: 'start_failed', data }, context);
    await this.forget(exportId);
    return failed;
  }

  /** For an export whose server is gone. `signal` is the signal just used to end it; a server that did not stop cleanly counts as exited on its own. */
  private async recordEnd(exportId: string, state: NbdExportState, signal: NbdExportStopped['data']['signal'], context: CommandContext): Promise<Recorded> {
    const status = await this.supervisor.status(this.directory(exportId));
    if (status.state === 'running') throw new Error(`export ${exportId} has not ended`);
    let end: ServerEnd = { exitCode: null, stderr: '', stopRequested: false };
    if (status.state === 'exited') {
      end = status;
    } else if (state.status === 'started') {
      // Its run directory was removed. It can no longer be watched, so it must not keep serving.
      const { pid, process_start_ticks, boot_id } = state.process;
      signalProcess({ pid, start_ticks: process_start_ticks, boot_id }, 'SIGKILL');
    }
    const at = this.clock.iso();
    const byItself = state.status === 'started' && signal !== 'SIGKILL' && !endedAsTold(end);
    const recorded = byItself
      ? await this.record(exportId, { kind: 'exited', data: { exit_code: end.exitCode, stderr: end.stderr, detected_at: at } }, context)
      : await this.record(
          exportId,
          { kind: 'stopped', data: { signal: signal === 'none' && end.stopRequested ? 'SIGTERM' : signal, stopped_at: at } },
          context,
        );
    await this.forget(exportId);
    return recorded;
  }

  private watch(exportId: string): void {
    if (this.watched.has(exportId)) return;
    const unwatch = new AbortController();
    this.watched.set(exportId, unwatch);
    const signal = AbortSignal.any([unwatch.signal, this.shutdown.signal]);
    const follow = async (): Promise<void> => {
      await this.supervisor.waitForExit(this.directory(exportId), signal);
      const record = (): Promise<void> =>
        this.perExport.runExclusive(exportId, async () => {
          const { state } = await this.runner.load(nbdExportStream(exportId), decider);
          // Otherwise stop() has already recorded the end and removed the watch.
          if (state.status === 'started') await this.recordEnd(exportId, state, 'none', await this.ownContext(exportId));
        });
      await retry(record, { signal, firstMs: RECORD_RETRY_MS });
    };
    follow().catch(() => {
      // Unwatched, or shutting down: stop() or the next start of the hub records the end.
      this.watched.delete(exportId);
    });
  }

  /** Each kind of fact is recorded at most once per export, so its command id is derived and never changes. */
  private async record(exportId: string, command: RecordExport, context: CommandContext): Promise<Outcome> {
    return this.runner.run(nbdExportStream(exportId), decider, command, { ...context, commandId: derivedId(`nbd-export/${exportId}/${command.kind}`) });
  }

  private async forget(exportId: string): Promise<void> {
    this.watched.get(exportId)?.abort(new Error('forgotten'));
    this.watched.delete(exportId);
    await this.supervisor.forget(this.directory(exportId));
    await removeExportAccess(this.config.runDirectory, exportId);
  }

  /** Observations of the hub itself carry the correlation id of the request. */
  private async ownContext(exportId: string): Promise<CommandContext> {
    const commandId = derivedId(`nbd-export/${exportId}/observed`);
    let correlationId = commandId;
    for await (const first of this.store.read(nbdExportStream(exportId), { limit: 1 })) correlationId = first.metadata.$correlationId;
    return { commandId, correlationId, actor: 'system:nbd-exports' };
  }

  private addressOf(request: NbdExportRequested['data']): NbdAddress {
    const { runDirectory, nbdListenHost } = this.config;
    if (request.transport === 'unix') return { socket: exportSocket(runDirectory, request.export_id) };
    const place = { host: reachableHost(nbdListenHost), port: request.port };
    return request.transport === undefined ? place : { ...place, keyFile: exportKeyFile(runDirectory, request.export_id) };
  }

  private directory(exportId: string): string {
    return exportDirectory(this.config.runDirectory, exportId);
  }
}

class HandshakeTimeout extends Error {
  override readonly name = 'HandshakeTimeout';
}

function outcomeOf({ state, position }: Recorded): ExportOutcome {
  switch (state.status) {
    case 'none':
      return { status: 'none', position: null };
    case 'requested':
      // Its start was abandoned because a stop is about to follow.
      return { status: 'stopped', signal: 'none', position };
    case 'started':
      return { status: 'started', pid: state.process.pid, position };
    case 'start_failed': {
      const { code, exit_code, stderr } = state.failure;
      return { status: 'start_failed', code, exit_code, stderr, position };
    }
    case 'stopped':
      return { status: 'stopped', signal: state.end.signal, position };
    case 'exited':
      return { status: 'exited', exit_code: state.end.exit_code, stderr: state.end.stderr, position };
    default:
      return unknownVariant('outcome of an export', state);
  }
}
