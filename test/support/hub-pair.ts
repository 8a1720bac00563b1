import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { HubRoleDto } from '../../src/hub/operations/http/hub-role.dto.js';
import { BackupClient } from './backup-client.js';
import { RunningProgram } from './enrolled-node.js';
import { freePortRange } from './free-ports.js';
import { HubSystem, until } from './hub-system.js';
import { createTestDatabase, type TestDatabase } from './postgres.js';
import { TestEventStore } from './test-event-store.js';

const POOL = 8;

/** Two hubs on one database and one event store, on loopback addresses of their own, with one repository and a node that knows both. */
export class HubPair {
  private node: RunningProgram | null = null;

  private constructor(
    readonly hubs: readonly [HubSystem, HubSystem],
    private readonly database: TestDatabase,
    private readonly eventStore: TestEventStore | null,
    private readonly port: number,
  ) {}

  static async create(): Promise<HubPair> {
    const database = await createTestDatabase({ migrated: false });
    const eventStore = await TestEventStore.start();
    const port = await freePortRange(POOL + 2);
    const hubOn = (host: string, shared: Readonly<Record<string, string>> = {}): Promise<HubSystem> =>
      HubSystem.create({
        databaseUrl: database.databaseUrl,
        eventStore,
        answersAreChecked: false,
        portCount: POOL,
        env: {
          SENDENSE_STANDBY: 'true',
          SENDENSE_START_LOCAL_NODE: 'false',
          SENDENSE_LISTEN_HOST: host,
          SENDENSE_LISTEN_PORT: String(port),
          SENDENSE_NBD_LISTEN_HOST: host,
          SENDENSE_NBD_ADVERTISE_HOST: host,
          SENDENSE_NBD_PORT_FIRST: String(port + 2),
          ...shared,
        },
      });
    const first = await hubOn('127.0.0.2');
    const second = await hubOn('127.0.0.3', { SENDENSE_SHARED_DIRECTORY: first.dataDirectory });
    for (const [hub, host] of [
      [first, '127.0.0.2'],
      [second, '127.0.0.3'],
    ] as const) {
      await mkdir(hub.dataDirectory, { recursive: true });
      await writeFile(join(hub.dataDirectory, 'hub.url'), `http://${host}:${port}\n`);
    }
    await symlink(join(first.dataDirectory, 'api.token'), join(second.dataDirectory, 'api.token'));
    return new HubPair([first, second], database, eventStore, port);
  }

  get images(): string {
    return this.hubs[0].imageRoot;
  }

  /** A node without a tunnel. @returns its id */
  async startNode(): Promise<string> {
    const [hub] = this.hubs;
    const data = join(hub.directory, 'far');
    const env = {
      SENDENSE_DATA_DIRECTORY: data,
      SENDENSE_LISTEN_PORT: String(this.port + 1),
      SENDENSE_TOKEN_FILE: join(hub.dataDirectory, 'node.token'),
      SENDENSE_HUB_URL: ['127.0.0.2', '127.0.0.3'].map((host) => `http://${host}:${this.port}`).join(','),
      SENDENSE_IMAGE_ROOTS: this.images,
    };
    await mkdir(data);
    this.node = RunningProgram.start(['node'], env, join(hub.directory, 'node.log'));
    const url = `http://127.0.0.1:${this.port + 1}`;
    await until('the node', async () => (await fetch(`${url}/api/v1/health`)).status > 0);
    const { status, body } = await hub.api<{ node_id: string }>('POST', '/nodes', { name: 'far', url });
    if (status !== 201) throw new Error(JSON.stringify(body));
    return body.node_id;
  }

  client(hub: HubSystem): BackupClient {
    return new BackupClient(hub);
  }

  async role(hub: HubSystem): Promise<HubRoleDto> {
    return (await hub.api<HubRoleDto>('GET', '/hub')).body;
  }

  async untilRole(hub: HubSystem, role: HubRoleDto['role']): Promise<HubRoleDto> {
    return until(`a hub to be ${role}`, async () => {
      const found = await this.role(hub);
      return found.role === role ? found : null;
    });
  }

  /** The active hub knows a hub that waits and could take over. */
  async untilCovered(active: HubSystem): Promise<void> {
    await until('the standby to be seen', async () => (await this.role(active)).standby !== null);
  }

  async nodeLog(): Promise<string> {
    return readFile(join(this.hubs[0].directory, 'node.log'), 'utf8');
  }

  async destroy(): Promise<void> {
    await this.node?.stop();
    for (const hub of this.hubs) await hub.destroy();
    await this.eventStore?.stop();
    await this.database.drop();
  }
}
