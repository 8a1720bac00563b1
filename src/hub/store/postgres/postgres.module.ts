import { type DynamicModule, Global, Inject, Logger, Module, type OnApplicationShutdown } from '@nestjs/common';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { allMigrations } from '../../../../migrations/all-migrations.js';
import { messageOf } from '../../../kernel/error-message.js';
import { AsOfDataSource } from './as-of.js';
import { awaitDatabase } from './await-database.js';
import { BoundedClient, QUERY_BOUNDS } from './bounded.client.js';
import { HubLease, NO_HUB } from './hub-lease.js';
import { grantToHub } from './hub-role.js';
import { ProjectionTables } from './projection-tables.js';
import { type ReadModel, SCHEMA } from './read-model-definition.js';

/** Injection token of the `pg.Pool` that the event store and set-based SQL use. */
export const POSTGRES_POOL = Symbol('POSTGRES_POOL');

export interface PostgresOptions {
  readonly databaseUrl: string;
  /** URL of the role that owns the event store and runs migrations; defaults to databaseUrl. */
  readonly ownerUrl?: string | undefined;
  readonly readModels?: readonly ReadModel[];
  /** Held already; default: the module takes it. */
  readonly lease?: HubLease;
}

const CONNECT_TIMEOUT_MS = 5_000;

/** A pool whose broken idle connections do not end the process, and whose queries time out. The caller ends it. */
export function createPool(databaseUrl: string, max = 12): pg.Pool {
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    max,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    application_name: 'sendense',
    ...QUERY_BOUNDS,
    Client: BoundedClient,
  });
  const log = new Logger('PostgresPool');
  pool.on('error', (error) => {
    log.warn(`lost an idle connection: ${error.message}`);
  });
  return pool;
}

/** A connected TypeORM data source whose migrations have run, with its read models, whose queries time out. @throws errors of `pg` or of a migration */
export async function openDataSource(databaseUrl: string, readModels: readonly ReadModel[] = [], ownerUrl = databaseUrl): Promise<DataSource> {
  const dataSource = newDataSource(databaseUrl, readModels, 12, { ...QUERY_BOUNDS, Client: BoundedClient });
  await migrate(ownerUrl, ownerUrl === databaseUrl ? null : decodeURIComponent(new URL(databaseUrl).username));
  await dataSource.initialize();
  try {
    const tables = new ProjectionTables(dataSource);
    for (const { definition } of readModels) await tables.prepare(definition);
  } catch (error) {
    await dataSource.destroy();
    throw error;
  }
  return dataSource;
}

/** Uses its own connection without a timeout: a migration of many rows may take long. */
async function migrate(ownerUrl: string, hubRole: string | null): Promise<void> {
  const dataSource = newDataSource(ownerUrl, [], 1, {});
  await dataSource.initialize();
  try {
    await dataSource.runMigrations({ transaction: 'each' });
    if (hubRole !== null) await grantToHub(dataSource, hubRole);
  } finally {
    await dataSource.destroy();
  }
}

function newDataSource(databaseUrl: string, readModels: readonly ReadModel[], poolSize: number, extra: object): DataSource {
  const log = new Logger('TypeORM');
  return new AsOfDataSource({
    type: 'postgres',
    // Otherwise TypeORM looks for the package by its name, where a bundled program does not have it.
    driver: pg,
    url: databaseUrl,
    applicationName: 'sendense',
    entities: [...readModels],
    migrations: allMigrations,
    migrationsTableName: 'sendense_migrations',
    poolSize,
    extra: { ...extra, ...(readModels.length > 0 && { options: `-c search_path=${SCHEMA},public` }) },
    connectTimeoutMS: CONNECT_TIMEOUT_MS,
    logging: false,
    poolErrorHandler: (error: unknown) => {
      log.warn(`lost an idle connection: ${messageOf(error)}`);
    },
  });
}

/**
 * Provides `POSTGRES_POOL`, `DataSource` and `HubLease` to all modules. The lease is taken before migrations run, so that two hubs never
 * work on, or migrate, the same database.
 */
@Global()
@Module({})
export class PostgresModule implements OnApplicationShutdown {
  constructor(
    @Inject(POSTGRES_POOL) private readonly pool: pg.Pool,
    private readonly dataSource: DataSource,
    private readonly lease: HubLease,
  ) {}

  static forRoot(options: PostgresOptions): DynamicModule {
    return {
      module: PostgresModule,
      providers: [
        {
          provide: HubLease,
          useFactory: () => {
            if (options.lease !== undefined) return options.lease;
            const log = new Logger('HubLease');
            return awaitDatabase(() => HubLease.acquire({ databaseUrl: options.databaseUrl, hub: NO_HUB, log }), log);
          },
        },
        {
          provide: DataSource,
          inject: [HubLease],
          useFactory: (lease: HubLease) =>
            awaitDatabase(async () => {
              const dataSource = await openDataSource(options.databaseUrl, options.readModels, options.ownerUrl);
              await lease.begin();
              return dataSource;
            }, new Logger('PostgresModule')),
        },
        {
          provide: POSTGRES_POOL,
          inject: [DataSource],
          useFactory: () => createPool(options.databaseUrl),
        },
      ],
      exports: [HubLease, DataSource, POSTGRES_POOL],
    };
  }

  /** Runs after the shutdown hooks of all other modules, when nothing uses the database any more. */
  async onApplicationShutdown(): Promise<void> {
    await this.pool.end();
    if (this.dataSource.isInitialized) await this.dataSource.destroy();
    await this.lease.release();
  }
}
