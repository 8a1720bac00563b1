import { createServer, type IncomingMessage, type Server } from 'node:http';
import { Ids } from '../../../lib/clock/clock.js';
import { apiActorOf, bearerTokenOf } from '../../../lib/http/access-tokens.js';
import { MetricsRegistry } from '../../../lib/http/metrics-registry.js';
import { HttpProblem, noTranslation, PROBLEM_MEDIA_TYPE, problemAnswerOf } from '../../../lib/http/problem.js';
import type { HubConfig } from '../../hub.config.js';
import { ApiTokens } from '../../people/tokens/api-tokens.js';
import type { LeaseView } from '../../store/postgres/hub-lease.js';
import { type HubHealthDto, type HubRoleDto, hubRoleOf } from '../http/hub-role.dto.js';
import { registerLeaseMetrics } from './lease.metrics.js';

/**
 * Answers in place of the API while this hub waits: its role at `/health`, with a token also the pair at `/hub` and `/metrics`, and 503 `hub_standby` for
 * everything else.
 */
export class StandbyServer {
  private readonly ids = new Ids();
  private readonly metrics = new MetricsRegistry();
  private readonly server: Server;

  private constructor(
    private readonly config: HubConfig,
    private readonly sight: () => LeaseView | null,
  ) {
    registerLeaseMetrics(this.metrics, () => Promise.resolve(this.role()));
    this.server = createServer((request, response) => {
      this.answer(request).then(
        ({ status, type, headers, body }) => {
          response.writeHead(status, { ...headers, 'content-type': type, 'cache-control': 'no-store', connection: 'close' });
          response.end(body);
        },
        // A hub that waits to take over must not end because of a request.
        () => response.destroy(),
      );
    });
  }

  /** @param sight the lease as this hub has last seen it @throws errors of `listen` */
  static async start(config: HubConfig, sight: () => LeaseView | null): Promise<StandbyServer> {
    const standby = new StandbyServer(config, sight);
    const { server } = standby;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(config.listenPort, config.listenHost, resolve);
    });
    return standby;
  }

  /** Frees the port. */
  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.server.closeAllConnections();
    await closed;
    this.metrics.onApplicationShutdown();
  }

  private async answer(request: IncomingMessage): Promise<Answer> {
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    request.resume();
    const known = this.isKnown(request);
    const route = request.method === 'GET' ? path : '';
    const health: HubHealthDto = { role: 'standby' };
    if (route === '/api/v1/health/live') return json({ status: 'live' });
    if (route === '/api/v1/health') return json(health);
    if (known && route === '/api/v1/hub') return json(this.role());
    if (known && route === '/api/v1/metrics') return { status: 200, type: this.metrics.contentType, headers: {}, body: await this.metrics.text() };
    const active = known ? (this.sight()?.holder ?? null) : null;
    const where = active === null ? 'the active hub' : `the active hub on ${active.host} (${active.url} there)`;
    const facts = known ? { active: active === null ? null : { host: active.host, url: active.url } } : {};
    const problem = new HttpProblem(503, 'hub_standby', `This hub is a standby and serves no requests; send them to ${where}.`, facts);
    const { status, headers, body } = problemAnswerOf(problem, { path, correlationId: this.ids.next() }, noTranslation);
    return { status, type: PROBLEM_MEDIA_TYPE, headers, body: JSON.stringify(body) };
  }

  private role(): HubRoleDto {
    return hubRoleOf('standby', this.sight(), this.config.eventStore);
  }

  /** Whether the request has a token of the API. The files are read for each request, because the shared directory may appear later. */
  private isKnown({ headers }: IncomingMessage): boolean {
    const presented = bearerTokenOf(headers.authorization);
    if (presented === null) return false;
    const { apiToken: configured, apiTokenFile, apiTokenListFile: tokenListFile } = this.config;
    try {
      return apiActorOf(new ApiTokens({ configured, apiTokenFile, tokenListFile, nodeToken: '' }), presented) !== null;
    } catch {
      return false;
    }
  }
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

function json(body: object): Answer {
  return { status: 200, type: 'application/json', headers: {}, body: JSON.stringify(body) };
}
