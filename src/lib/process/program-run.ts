import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from '../logging/logger.js';

/** A started service, as its entry point sees it. */
export interface RunningService {
  /** Stops the service cleanly. */
  stop(): Promise<void>;
  /** Reloads the configuration, on SIGHUP. Does not throw. */
  reload?(): void;
}

const STOP_PATIENCE_MS = 30_000;
/** How long a start in progress may take to finish after a signal; then it is aborted. */
const START_GRACE_MS = 3_000;

/** Facilities for a start in progress. */
export interface Starting {
  /** Ends the program with exit code 1, now or later. */
  readonly fail: (reason: string) => void;
  /** Registers cleanup for a start that is aborted because of a signal; run newest first. */
  readonly onGivenUp: (end: () => Promise<unknown>) => void;
}

/**
 * Runs a service until SIGTERM or SIGINT, then stops it and exits with 0. An uncaught error is logged and ends the program with 1: a service in an unknown
 * state must not continue. SIGHUP reloads the configuration. A signal during the start aborts the start unless it finishes within seconds; the next start
 * adopts whatever a killed program leaves behind.
 */
export function runUntilSignalled(log: Logger, start: (starting: Starting) => Promise<RunningService>): void {
  const die = (message: string, error: unknown): void => {
    log.fatal(message, { error });
    process.exit(1);
  };
  process.on('uncaughtException', (error) => {
    die('uncaught error', error);
  });
  process.on('unhandledRejection', (error) => {
    die('unhandled promise rejection', error);
  });

  const toEnd: (() => Promise<unknown>)[] = [];
  const started = start({
    fail: (reason) => die(reason, undefined),
    onGivenUp: (end) => void toEnd.unshift(end),
  });
  let givenUp = false;
  started.catch((error: unknown) => {
    if (!givenUp) die('startup failed', error);
  });

  let stopping = false;
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) return;
    stopping = true;
    log.info('stopping', { signal });
    setTimeout(() => {
      die(`the service did not stop within ${STOP_PATIENCE_MS} ms`, undefined);
    }, STOP_PATIENCE_MS).unref();
    const service = Promise.race([started, pause(START_GRACE_MS, null)]);
    service
      .then(async (running) => {
        if (running !== null) return running.stop();
        givenUp = true;
        log.info('startup aborted', { signal });
        for (const end of toEnd) await end();
      })
      .then(
        () => {
          log.info('stopped');
          process.exit(0);
        },
        (error: unknown) => {
          die('the service did not stop cleanly', error);
        },
      );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.on('SIGHUP', () => {
    // A failed start was already reported.
    started.then(
      (service) => {
        if (service.reload === undefined) log.info('this program reads its settings only at startup', { signal: 'SIGHUP' });
        else service.reload();
      },
      () => undefined,
    );
  });
}
