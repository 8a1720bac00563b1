import type { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import type { CapacityResponse } from './capacity.response.js';

/** A repository, as shown by every route of the API. */
export class RepositoryResponse {
  /** @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e02" */ readonly repository_id!: string;
  /** @example "main" */ readonly name!: string;
  readonly type!: 'local';
  /** @example "/srv/backups" */ readonly path!: string;
  /** @example "2026-11-21T10:30:00.000Z" */ readonly created_at!: string;
  /** null: not measured yet */ readonly capacity!: CapacityResponse | null;
  /** Position of the last event this answer knows; opaque @example "0000000000000000042" */ readonly position!: string;
}

export function toRepositoryResponse(repository: RepositoryReadModel, capacity: CapacityResponse | null): RepositoryResponse {
  return {
    repository_id: repository.repository_id,
    name: repository.name,
    type: repository.type,
    path: repository.path,
    created_at: repository.created_at.toISOString(),
    capacity,
    position: repository.position,
  };
}
