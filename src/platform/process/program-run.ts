import type { Logger } from '../logging/logger.js';

/** What a started service gives its entry point. */
export interface RunningService {
  /** Ends the service in an orderly way. */
  stop(): Promise<void>;
  /** Reads the configuration anew, on SIGHUP. Does not throw. */
  reload?(): void;
}

const STOP_PATIENCE_MS = 30_000;

/**
 * Runs a service until SIGTERM or SIGINT, then ends it and exits 0. What nobody caught is logged and ends the program with 1: a service in an unknown state must not go
 * on. SIGHUP reloads the configuration. A signal during the start waits for the start to end.
 */
export function runUntilSignalled(log: Logger, start: (fail: (reason: string) => void) => Promise<RunningService>): void {
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

  const started = start((reason) => {
    die(reason, undefined);
  });
  started.catch((error: unknown) => {
    die('the start failed', error);
  });

  let stopping = false;
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) return;
    stopping = true;
    log.info('stopping', { signal });
    setTimeout(() => {
      die(`the service did not end within ${STOP_PATIENCE_MS} ms`, undefined);
    }, STOP_PATIENCE_MS).unref();
    started
      .then((service) => service.stop())
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
