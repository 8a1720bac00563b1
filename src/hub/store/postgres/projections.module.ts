import { type DynamicModule, Module } from '@nestjs/common';
import type { Projection } from './projection-definition.js';
import { PastInstants } from './past-instants.js';
import { PROJECTIONS, Projections } from './projections.js';
import { ReadModels } from './read-models.js';

/** Runs the projections from the application's bootstrap to its shutdown. Needs `EventStore` and TypeORM's `DataSource` from global modules. */
@Module({})
export class ProjectionsModule {
  static forRoot(projections: readonly Projection[]): DynamicModule {
    return {
      module: ProjectionsModule,
      global: true,
      providers: [{ provide: PROJECTIONS, useValue: projections }, ReadModels, PastInstants, Projections],
      exports: [ReadModels, PastInstants, Projections, PROJECTIONS],
    };
  }
}
