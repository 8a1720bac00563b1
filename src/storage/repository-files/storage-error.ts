import { DomainError } from '../../kernel/domain-error.js';
import { STORAGE_SILENT } from '../storage-worker/storage-worker.js';
import { errnoOf } from '../../lib/process/system-error.js';

const FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
const UNAVAILABLE = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'EROFS', 'EIO', 'ESTALE', 'ENODEV', 'ENXIO', 'ENOTCONN', 'EHOSTDOWN', 'ETIMEDOUT']);

/** storageSilent's error restated for a repository; null for any other error, and for another place. */
function silenceOf(error: unknown, repositoryPath: string): DomainError | null {
  if (!(error instanceof DomainError) || error.code !== STORAGE_SILENT || error.facts['path'] !== repositoryPath) return null;
  return new DomainError('unavailable', 'repository_unavailable', `The repository at "${repositoryPath}" cannot be used. ${error.message}`, {
    path: repositoryPath,
    reason: 'silent',
  });
}

/** For work on a repository's files and others: rethrows the error, restated for the repository if that does not answer. */
export function rethrowSilence(error: unknown, repositoryPath: string): never {
  throw silenceOf(error, repositoryPath) ?? error;
}

/** Translates a failed access to a repository for the caller; an error unrelated to the storage is returned unchanged. */
export function storageError(error: unknown, repositoryPath: string, doing: string): unknown {
  const silence = silenceOf(error, repositoryPath);
  if (silence !== null) return silence;
  const errno = errnoOf(error);
  if (errno === null) return error;
  const facts = { path: repositoryPath, errno };
  if (FULL.has(errno)) {
    return new DomainError(
      'storage_full',
      'repository_full',
      `The repository at "${repositoryPath}" has no space left (${errno} while ${doing}). Free or add space.`,
      facts,
    );
  }
  if (UNAVAILABLE.has(errno)) {
    return new DomainError(
      'unavailable',
      'repository_unavailable',
      `The repository at "${repositoryPath}" cannot be used (${errno} while ${doing}). Check that it is mounted and writable for the hub.`,
      facts,
    );
  }
  return error;
}
