import type { DomainEvent } from '../../../kernel/event.js';
import type { JsonValue } from '../../../kernel/json.js';

/** Stream of a command that was sent with an Idempotency-Key. */
export function commandStream(commandId: string): string {
  return `command-${commandId}`;
}

/** A command with an Idempotency-Key is about to run. The key itself is not stored; the stream's name is derived from it. */
export type CommandAccepted = DomainEvent<
  'CommandAccepted',
  {
    readonly method: string;
    /** Without the query string. */
    readonly path: string;
    /** The query string with sorted parameters; empty if there is none. */
    readonly query: string;
    /** SHA-256, in hex, of the body as canonical JSON. */
    readonly body_sha256: string;
  }
>;

/** The answer to the command, stored so that the same key gets it again. Never a 5xx. */
export type CommandAnswered = DomainEvent<
  'CommandAnswered',
  {
    readonly status: number;
    /** Absent for an answer without a body. */
    readonly body?: JsonValue;
    /** The answer's significant headers, in their usual spelling. */
    readonly headers: { readonly [name: string]: string };
  }
>;

export type CommandRecordEvent = CommandAccepted | CommandAnswered;
