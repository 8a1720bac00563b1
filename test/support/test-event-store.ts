import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { freePortRange } from './free-ports.js';
import { until } from './hub-system.js';

const START_PATIENCE_MS = 120_000;

/** Whether the hubs of the tests keep their events in PostgreSQL. */
export const EVENTS_IN_POSTGRES = (process.env['SENDENSE_TEST_STORE'] ?? 'postgres') === 'postgres';

/**
 * The EventStoreDB of one hub under test. With `SENDENSE_TEST_STORE=eventstoredb` each hub of the tests gets a server of its own, because a hub needs one alone:
 * the program named by `EVENTSTOREDB_TEST_SERVER`, which is started with a port as its argument, and serves on that port and the next without TLS until SIGTERM.
 */
export class TestEventStore {
  private constructor(
    private readonly server: ChildProcess,
    private readonly port: number,
  ) {}

  /** @returns null if the tests run on PostgreSQL; @throws Error if the server does not start */
  static async start(): Promise<TestEventStore | null> {
    if (EVENTS_IN_POSTGRES) return null;
    const program = process.env['EVENTSTOREDB_TEST_SERVER'];
    if (process.env['SENDENSE_TEST_STORE'] !== 'eventstoredb' || program === undefined) {
      throw new Error('SENDENSE_TEST_STORE is postgres, or eventstoredb with EVENTSTOREDB_TEST_SERVER');
    }
    const port = await freePortRange(2);
    const server = spawn(program, [String(port)], { stdio: 'ignore' });
    const store = new TestEventStore(server, port);
    await until('EventStoreDB to be ready', async () => (await fetch(`http://127.0.0.1:${port}/health/live`)).ok, START_PATIENCE_MS).catch(
      async (error: unknown) => {
        await store.stop();
        throw error;
      },
    );
    return store;
  }

  /** Settings of a hub on it, as variables. */
  get settings(): Readonly<Record<string, string>> {
    return { SENDENSE_EVENT_STORE: 'eventstoredb', SENDENSE_EVENTSTOREDB_URL: `esdb://127.0.0.1:${this.port}?tls=false` };
  }

  async stop(): Promise<void> {
    if (this.server.exitCode !== null || this.server.signalCode !== null) return;
    this.server.kill('SIGKILL');
    await once(this.server, 'exit');
  }
}
