import { DomainError } from '../../../kernel/domain-error.js';
import { messageOf } from '../../../kernel/error-message.js';
import { ToolError } from '../../../lib/process/tool-error.js';
import { WorkerClosedError } from '../../../storage/storage-worker/storage-worker.js';
import { EventStoreUnavailableError } from '../event-store/event-store.port.js';
import { isDatabaseAway } from '../postgres/connection-errors.js';

/** Code and detail of a failed step, as its event records them. */
export function causeOf(error: unknown): { readonly code: string; readonly detail: string } {
  if (error instanceof DomainError || error instanceof ToolError) return { code: error.code, detail: error.message };
  return { code: 'internal_error', detail: messageOf(error) };
}

/**
 * The event store or the database is unavailable, the read models are behind, or the hub is shutting down. Nothing can be recorded or looked up, so nothing
 * is decided.
 */
export function isStorageAway(error: unknown): boolean {
  if (error instanceof DomainError) return error.code === 'read_model_behind';
  return error instanceof EventStoreUnavailableError || error instanceof WorkerClosedError || isDatabaseAway(error);
}
