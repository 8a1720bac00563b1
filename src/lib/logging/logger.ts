import { destination, pino, type DestinationStream, type Logger as PinoLogger } from 'pino';
import { currentCorrelationId } from './correlation.js';
import { redactMembers, redactText } from './redaction.js';

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export const LOG_FORMATS = ['json', 'text'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/** Named values of a record, in snake_case. An error is named `error`. */
export type LogFacts = Readonly<Record<string, unknown>>;

/** Writes the records of one named part of the program. Blanks secrets in facts and messages, and adds the correlation id of the current work. */
export interface Logger {
  trace(message: string, facts?: LogFacts): void;
  debug(message: string, facts?: LogFacts): void;
  info(message: string, facts?: LogFacts): void;
  warn(message: string, facts?: LogFacts): void;
  error(message: string, facts?: LogFacts): void;
  fatal(message: string, facts?: LogFacts): void;
}

export interface LoggingOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Included in every record: `hub` or `node`. */
  readonly program: string;
  /** Output instead of standard output. */
  readonly to?: DestinationStream;
}

let root: PinoLogger = makeRoot({ level: 'warn', format: 'json', program: 'sendense' });

/** Called at the start of a program and when its settings change; existing loggers follow. Until then only warnings and worse are written. */
export function configureLogging(options: LoggingOptions): void {
  root = makeRoot(options);
}

/** @param name the class or part that logs, e.g. `RunBackupReactor` */
export function loggerFor(name: string): Logger {
  const write = (level: Exclude<LogLevel, 'silent'>, message: string, facts: LogFacts = {}): void => {
    if (!root.isLevelEnabled(level)) return;
    const correlationId = currentCorrelationId();
    root[level]({ ...redactMembers(facts), logger: name, ...(correlationId === null ? {} : { correlation_id: correlationId }) }, redactText(message));
  };
  return {
    trace: (message, facts) => write('trace', message, facts),
    debug: (message, facts) => write('debug', message, facts),
    info: (message, facts) => write('info', message, facts),
    warn: (message, facts) => write('warn', message, facts),
    error: (message, facts) => write('error', message, facts),
    fatal: (message, facts) => write('fatal', message, facts),
  };
}

function makeRoot(options: LoggingOptions): PinoLogger {
  // Synchronous, so that the last records of a crashing program are written.
  const output = options.to ?? destination({ fd: 1, sync: true });
  return pino(
    {
      level: options.level,
      base: { program: options.program, program_pid: process.pid },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      messageKey: 'message',
    },
    options.format === 'json'
      ? output
      : {
          write: (record: string) => {
            output.write(asText(record));
          },
        },
  );
}

/** `10:31:07.123 INFO  [RunBackup] message {"fact":1} (correlation id)` */
function asText(record: string): string {
  // Written by redaction and pino just before: these members are strings.
  const parsed = JSON.parse(record) as {
    level: string;
    time: string;
    message: string;
    logger: string;
    correlation_id?: string;
    program: string;
    program_pid: number;
  };
  const { level, time, message, logger, correlation_id: correlationId, program: _program, program_pid: _pid, ...facts } = parsed;
  const rest = Object.keys(facts).length === 0 ? '' : ` ${JSON.stringify(facts)}`;
  const correlation = correlationId === undefined ? '' : ` (${correlationId})`;
  return `${time.slice(11, 23)} ${level.toUpperCase().padEnd(5)} [${logger}] ${message}${rest}${correlation}\n`;
}
