import type { DomainEvent } from '../../../kernel/event.js';
import type { JsonValue } from '../../../kernel/json.js';

/** Stream of one command that came with an Idempotency-Key. */
export function commandStream(commandId: string): string {
  return `command-${commandId}`;
}

/** A command with an Idempotency-Key is about to be run. The key itself is not kept: the stream's name derives from it. */
export type CommandAccepted = DomainEvent<
  'CommandAccepted',
  {
    readonly method: string;
    /** Without the query. */
    readonly path: string;
    /** The query, parameters sorted; empty without one. */
    readonly query: string;
    /** SHA-256, in hex, of the body as canonical JSON. */
    readonly body_sha256: string;
  }
>;

/** The answer to the command, kept so that the same key gets it again. Never a 5xx. */
export type CommandAnswered = DomainEvent<
  'CommandAnswered',
  {
    readonly status: number;
    /** Absent for an answer without a body. */
    readonly body?: JsonValue;
    /** Those of the answer's headers that belong to its meaning, by their usual spelling. */
    readonly headers: { readonly [name: string]: string };
  }
>;

export type CommandRecordEvent = CommandAccepted | CommandAnswered;
