import { createServer, type Server } from 'node:http';
import { Ids } from '../../../lib/clock/clock.js';
import { HttpProblem, noTranslation, PROBLEM_MEDIA_TYPE, problemAnswerOf } from '../../../lib/http/problem.js';
import type { HubConfig } from '../../hub.config.js';
import type { LeaseView } from '../../store/postgres/hub-lease.js';
import { hubOf, type HubRoleDto } from '../http/hub-role.dto.js';

/** What a standby has last seen. */
export interface StandbySight {
  readonly eventStore: HubConfig['eventStore'];
  readonly view: LeaseView | null;
  readonly problems: readonly string[];
}

/** Answers in place of the API while this hub waits: its role at `/health`, and 503 `hub_standby` with the active hub for everything else. */
export class StandbyServer {
  private constructor(private readonly server: Server) {}

  /** @throws errors of `listen` */
  static async start(host: string, port: number, sight: () => StandbySight): Promise<StandbyServer> {
    const ids = new Ids();
    const server = createServer((request, response) => {
      const path = (request.url ?? '').split('?', 1)[0] ?? '';
      const send = (status: number, type: string, headers: Readonly<Record<string, string>>, body: object): void => {
        response.writeHead(status, { ...headers, 'content-type': type, 'cache-control': 'no-store', connection: 'close' });
        response.end(JSON.stringify(body));
      };
      request.resume();
      if (request.method === 'GET' && path === '/api/v1/health/live') {
        send(200, 'application/json', {}, { status: 'live' });
        return;
      }
      if (request.method === 'GET' && path === '/api/v1/health') {
        send(200, 'application/json', {}, roleOf(sight()));
        return;
      }
      const { view } = sight();
      const active = view?.holder ?? null;
      const where = active === null ? 'the active hub' : `the active hub on ${active.host} (${active.url} there)`;
      const facts = { active: active === null ? null : { host: active.host, url: active.url } };
      const problem = new HttpProblem(503, 'hub_standby', `This hub is a standby and serves no requests; send them to ${where}.`, facts);
      const answer = problemAnswerOf(problem, { path, correlationId: ids.next() }, noTranslation);
      send(answer.status, PROBLEM_MEDIA_TYPE, answer.headers, answer.body);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, resolve);
    });
    return new StandbyServer(server);
  }

  /** Frees the port. */
  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.server.closeAllConnections();
    await closed;
  }
}

function roleOf({ eventStore, view, problems }: StandbySight): HubRoleDto {
  return {
    role: 'standby',
    term: view?.term ?? null,
    since: view?.takenAt ?? null,
    active: hubOf(view?.holder),
    standby: null,
    event_store: eventStore,
    renewed_seconds_ago: view === null ? null : Math.round(view.renewedMsAgo / 100) / 10,
    problems,
  };
}
