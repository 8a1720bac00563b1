const SOCKET_ERRORS = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOENT', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN']);
/**
 * SQLSTATE classes for a server that is down, shutting down, out of resources or asks for a retry: 08, 53, 57P, 58, 40; also for a lock or a statement
 * that took too long: 55P03, 57014.
 */
const RETRYABLE_SQLSTATE = /^(08...|53...|57P..|55P03|57014|58...|40...|25006)$/;
/** Messages of node-postgres errors that have no code. */
const DRIVER_MESSAGES =
  /Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|Cannot use a pool after calling end|Client was closed|Query read timeout|not queryable|timeout expired/i;

/** Whether an error of `pg` is temporary (the connection or the server is unavailable), rather than caused by the statement. */
export function isConnectionError(error: unknown): boolean {
  // Checked by shape: errors of Node's own modules need not be instances of this realm's Error.
  if (typeof error !== 'object' || error === null) return false;
  if ('errors' in error && Array.isArray(error.errors)) return error.errors.some(isConnectionError);
  // A missing file, or one on an unavailable share, has the same codes, but only file errors have a path.
  if ('path' in error) return false;
  if ('code' in error && typeof error.code === 'string') return SOCKET_ERRORS.has(error.code) || RETRYABLE_SQLSTATE.test(error.code);
  return 'message' in error && typeof error.message === 'string' && DRIVER_MESSAGES.test(error.message);
}

/** Like isConnectionError for an error of TypeORM, which wraps the driver's error; checks both. */
export function isDatabaseAway(error: unknown): boolean {
  if (isConnectionError(error)) return true;
  return error instanceof Error && 'driverError' in error && isConnectionError(error.driverError);
}
