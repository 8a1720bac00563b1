import { DomainError } from '../../../../kernel/domain-error.js';
import { type ShareProblem, shareProblem } from '../../../../storage/share-mounts/share-mount.plan.js';
import type { CifsShare, NfsShare, RequestedLocation, RepositoryType } from './repository.events.js';

export type LocationRequest = {
  readonly type: RepositoryType;
  readonly path?: string | undefined;
  readonly require_mount?: boolean | undefined;
  readonly server?: string | undefined;
  readonly export?: string | undefined;
  readonly share?: string | undefined;
  readonly options?: readonly string[] | undefined;
  readonly credentials?: string | null | undefined;
};

const MEMBERS: Readonly<Record<RepositoryType, readonly (keyof LocationRequest)[]>> = {
  local: ['path', 'require_mount'],
  nfs: ['server', 'export', 'options'],
  cifs: ['server', 'share', 'options', 'credentials'],
};
const ALL = new Set(Object.values(MEMBERS).flat());

/** @throws DomainError `repository_location_invalid` (invalid), facts.field */
export function requestedLocation(request: LocationRequest): RequestedLocation {
  const { type } = request;
  for (const member of ALL) {
    if (request[member] !== undefined && !MEMBERS[type].includes(member)) throw invalid(member, `is not a member of a repository of type "${type}"`);
  }
  const given = (member: 'path' | 'server' | 'export' | 'share'): string => {
    const value = request[member];
    if (value === undefined) throw invalid(member, `is missing; a repository of type "${type}" needs it`);
    return value;
  };
  if (type === 'local') return { type, path: given('path'), require_mount: request.require_mount ?? false };
  const options = request.options ?? [];
  const share: NfsShare | CifsShare =
    type === 'nfs'
      ? { type, server: given('server'), export: given('export'), options }
      : { type, server: given('server'), share: given('share'), options, credentials: request.credentials ?? null };
  const problem: ShareProblem | null = shareProblem(share);
  if (problem !== null) throw invalid(problem.field, problem.detail);
  return share;
}

function invalid(field: string, detail: string): DomainError {
  return new DomainError('invalid', 'repository_location_invalid', `"${field}" ${detail}.`, { field });
}
