import { ErrorType } from '@eventstore/db-client';

/**
 * What a failed call means. `away`: the call may succeed later. `not_leader`: nothing was written, and the client's next call goes to the leader. `refused`: the
 * credentials, which an operator can correct on either side. `bad_input`: repeating it is useless.
 */
export type StoreFailure = 'conflict' | 'missing_stream' | 'too_large' | 'bad_input' | 'not_leader' | 'refused' | 'away';

/** gRPC status codes. */
const INVALID_ARGUMENT = 3;
const PERMISSION_DENIED = 7;
const UNAUTHENTICATED = 16;

/**
 * Errors of the client come as command errors with a `type` and often no message, as errors of gRPC with a numeric code, and as plain errors. Only errors that
 * are known to be final are; the rest is temporary.
 */
export function failureOf(error: unknown): StoreFailure {
  if (typeof error !== 'object' || error === null) return 'away';
  switch ('type' in error ? error.type : null) {
    case ErrorType.WRONG_EXPECTED_VERSION:
      return 'conflict';
    case ErrorType.STREAM_NOT_FOUND:
      return 'missing_stream';
    case ErrorType.MAXIMUM_APPEND_SIZE_EXCEEDED:
      return 'too_large';
    case ErrorType.NOT_LEADER:
      return 'not_leader';
    case ErrorType.ACCESS_DENIED:
      return 'refused';
    case ErrorType.STREAM_DELETED:
    case ErrorType.INVALID_ARGUMENT:
    case ErrorType.INVALID_TRANSACTION:
    case ErrorType.MISSING_REQUIRED_METADATA_PROPERTY:
    case ErrorType.UNSUPPORTED:
      return 'bad_input';
    default:
      return ofStatus('code' in error ? error.code : null);
  }
}

function ofStatus(status: unknown): StoreFailure {
  if (status === INVALID_ARGUMENT) return 'bad_input';
  return status === PERMISSION_DENIED || status === UNAUTHENTICATED ? 'refused' : 'away';
}

/** One line for people, from the type and whatever message there is. */
export function describeFailure(error: unknown): string {
  if (typeof error !== 'object' || error === null) return String(error);
  const message = 'message' in error && typeof error.message === 'string' ? error.message : '';
  const type = 'type' in error && typeof error.type === 'string' ? error.type : '';
  if (failureOf(error) === 'refused') return 'the server refused the credentials in eventstoredb_url, or their user lacks a right (access-denied)';
  return [type, message.split('\n', 1)[0] ?? ''].filter((part) => part !== '').join(': ') || 'an error without a message';
}
