import { DomainError } from '../../kernel/domain-error.js';
import { STORAGE_SILENT } from '../file-door/file-door.js';
import { errnoOf } from '../../lib/process/system-error.js';

const FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
const UNAVAILABLE = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'EROFS', 'EIO', 'ESTALE', 'ENODEV', 'ENXIO', 'ENOTCONN', 'EHOSTDOWN', 'ETIMEDOUT']);

/** The same of a repository as storageSilent says of any place; null for any other error, and for another place. */
function silenceOf(error: unknown, repositoryPath: string): DomainError | null {
  if (!(error instanceof DomainError) || error.code !== STORAGE_SILENT || error.facts['path'] !== repositoryPath) return null;
  return new DomainError('unavailable', 'repository_unavailable', `The repository at "${repositoryPath}" cannot be used. ${error.message}`, {
    path: repositoryPath,
    reason: 'silent',
  });
}

/** For what works on a repository's files and on others: throws what it is given, that the repository does not answer in the words of a repository. */
export function rethrowSilence(error: unknown, repositoryPath: string): never {
  throw silenceOf(error, repositoryPath) ?? error;
}

/** What a failed access to a repository means to its user; an error that says nothing about the storage is given back as it is. */
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
