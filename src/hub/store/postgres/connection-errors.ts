const SOCKET_ERRORS = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOENT', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN']);
/** SQLSTATE classes that say the server is away, going away, out of resources or asks to try again: 08, 53, 57P, 58, 40; and that a lock or a statement took too long: 55P03, 57014. */
const RETRYABLE_SQLSTATE = /^(08...|53...|57P..|55P03|57014|58...|40...|25006)$/;
/** What node-postgres throws without a code. */
const DRIVER_MESSAGES =
  /Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|Cannot use a pool after calling end|Client was closed|Query read timeout|not queryable|timeout expired/i;

/** Whether an error of `pg` means "not just now" (the connection or the server is away) rather than "this statement is wrong". */
export function isConnectionError(error: unknown): boolean {
  // Told by shape: errors of Node's own modules need not be instances of this realm's Error.
  if (typeof error !== 'object' || error === null) return false;
  if ('errors' in error && Array.isArray(error.errors)) return error.errors.some(isConnectionError);
  // A file that is missing, or on a share that is away, has the same codes; only errors of files name a path.
  if ('path' in error) return false;
  if ('code' in error && typeof error.code === 'string') return SOCKET_ERRORS.has(error.code) || RETRYABLE_SQLSTATE.test(error.code);
  return 'message' in error && typeof error.message === 'string' && DRIVER_MESSAGES.test(error.message);
}

/** The same for an error of TypeORM, which wraps the driver's, so both it and its cause are looked at. */
export function isDatabaseAway(error: unknown): boolean {
  if (isConnectionError(error)) return true;
  return error instanceof Error && 'driverError' in error && isConnectionError(error.driverError);
}
