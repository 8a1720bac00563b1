import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { RepositoryRow } from './repositories.projection.js';

/** A row of the view `read_models.repositories`. Only its projection writes it. */
@Entity({ schema: 'read_models', name: 'repositories', synchronize: false })
export class RepositoryReadModel {
  @PrimaryColumn({ type: 'text' })
  readonly repository_id!: RepositoryRow['repository_id'];

  @Column({ type: 'text' })
  readonly name!: RepositoryRow['name'];

  @Column({ type: 'text' })
  readonly type!: RepositoryRow['type'];

  @Column({ type: 'text' })
  readonly path!: RepositoryRow['path'];

  @Column({ type: 'timestamptz' })
  readonly created_at!: Date;

  /** Position of the last event that wrote this row. */
  @Column({ type: 'text' })
  readonly position!: string;
}
