import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from '../logging/logger.js';

/** What a started service gives its entry point. */
export interface RunningService {
  /** Ends the service in an orderly way. */
  stop(): Promise<void>;
  /** Reads the configuration anew, on SIGHUP. Does not throw. */
  reload?(): void;
}

const STOP_PATIENCE_MS = 30_000;
/** What a start that is under way gets to end by itself when a signal comes; after that it is given up. */
const START_GRACE_MS = 3_000;

/** What a start may use while it is under way. */
export interface Starting {
  /** Ends the program with 1, now or later. */
  readonly fail: (reason: string) => void;
  /** What has to be ended when the start is given up because of a signal; the newest first. */
  readonly onGivenUp: (end: () => Promise<unknown>) => void;
}

/**
 * Runs a service until SIGTERM or SIGINT, then ends it and exits 0. What nobody caught is logged and ends the program with 1: a service in an unknown state must not go
 * on. SIGHUP reloads the configuration. A signal during the start gives the start up, unless it ends within seconds: what a killed program leaves, the next start adopts.
 */
export function runUntilSignalled(log: Logger, start: (starting: Starting) => Promise<RunningService>): void {
  const die = (message: string, error: unknown): void => {
    log.fatal(message, { error });
    process.exit(1);
  };
  process.on('uncaughtException', (error) => {
    die('an error was not caught', error);
  });
  process.on('unhandledRejection', (error) => {
    die('a rejection was not handled', error);
  });

  const toEnd: (() => Promise<unknown>)[] = [];
  const started = start({
    fail: (reason) => die(reason, undefined),
    onGivenUp: (end) => void toEnd.unshift(end),
  });
  let givenUp = false;
  started.catch((error: unknown) => {
    if (!givenUp) die('the start failed', error);
  });

  let stopping = false;
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) return;
    stopping = true;
    log.info('stopping', { signal });
    setTimeout(() => {
      die(`the service did not end within ${STOP_PATIENCE_MS} ms`, undefined);
    }, STOP_PATIENCE_MS).unref();
    const service = Promise.race([started, pause(START_GRACE_MS, null)]);
    service
      .then(async (running) => {
        if (running !== null) return running.stop();
        givenUp = true;
        log.info('the start is given up', { signal });
        for (const end of toEnd) await end();
      })
      .then(
        () => {
          log.info('stopped');
          process.exit(0);
        },
        (error: unknown) => {
          die('the service did not end in an orderly way', error);
        },
      );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.on('SIGHUP', () => {
    // A start that failed has been told of.
    started.then(
      (service) => {
        if (service.reload === undefined) log.info('this program takes its settings at its start only', { signal: 'SIGHUP' });
        else service.reload();
      },
      () => undefined,
    );
  });
}
