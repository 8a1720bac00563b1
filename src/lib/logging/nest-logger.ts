import type { LoggerService } from '@nestjs/common';
import { type Logger, loggerFor } from './logger.js';
import { isError } from './redaction.js';

/** Routes Nest's own logs to the same output as all others. Nest's startup chatter is logged at debug level. */
export class NestLogger implements LoggerService {
  private readonly loggers = new Map<string, Logger>();

  log(message: unknown, ...rest: readonly unknown[]): void {
    this.of(rest).debug(String(message));
  }

  debug(message: unknown, ...rest: readonly unknown[]): void {
    this.of(rest).debug(String(message));
  }

  verbose(message: unknown, ...rest: readonly unknown[]): void {
    this.of(rest).trace(String(message));
  }

  warn(message: unknown, ...rest: readonly unknown[]): void {
    this.of(rest).warn(String(message), detailsOf(message, rest));
  }

  error(message: unknown, ...rest: readonly unknown[]): void {
    this.of(rest).error(String(message), detailsOf(message, rest));
  }

  fatal(message: unknown, ...rest: readonly unknown[]): void {
    this.of(rest).fatal(String(message), detailsOf(message, rest));
  }

  /** Nest passes the context (a class name) as the last argument. */
  private of(rest: readonly unknown[]): Logger {
    const context = rest.at(-1);
    const name = typeof context === 'string' && !context.includes('\n') ? context : 'Nest';
    const known = this.loggers.get(name);
    if (known !== undefined) return known;
    const made = loggerFor(name);
    this.loggers.set(name, made);
    return made;
  }
}

/** An error passed as the message, or the stack that Nest passes as the second argument. */
function detailsOf(message: unknown, rest: readonly unknown[]): Record<string, unknown> {
  if (isError(message)) return { error: message };
  const [first] = rest;
  if (isError(first)) return { error: first };
  return typeof first === 'string' && first.includes('\n') ? { stack: first } : {};
}
