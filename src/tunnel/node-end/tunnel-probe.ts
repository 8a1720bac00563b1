import { request } from 'node:http';
import { errnoOf } from '../../lib/process/system-error.js';

/**
 * - `answered`: by the hub, whatever it said
 * - `closed`: by the far end without an answer; so the connection works, and nothing listens behind it
 * - `absent`: the socket is not there, or nobody listens on it
 * - `silent`: nothing came in time
 */
export type ProbeOutcome = 'answered' | 'closed' | 'absent' | 'silent';

/** Asks the hub through a connection for its health, from end to end. Never rejects. @param socketPath leads to the hub's API */
export function probeHub(socketPath: string, timeoutMs: number): Promise<ProbeOutcome> {
  return new Promise((resolve) => {
    const asked = request({ socketPath, path: '/api/v1/health/live', headers: { host: 'hub', connection: 'close' }, agent: false });
    const timer = setTimeout(() => {
      settle('silent');
    }, timeoutMs);
    const settle = (outcome: ProbeOutcome): void => {
      clearTimeout(timer);
      asked.destroy();
      resolve(outcome);
    };
    asked.once('response', () => {
      settle('answered');
    });
    asked.on('error', (error) => {
      const code = errnoOf(error);
      settle(code === 'ENOENT' || code === 'ECONNREFUSED' ? 'absent' : 'closed');
    });
    asked.end();
  });
}
