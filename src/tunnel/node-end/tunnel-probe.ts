import { request } from 'node:http';
import { errnoOf } from '../../lib/process/system-error.js';

/**
 * - `answered`: by the hub, with any status
 * - `closed`: by the far end without an answer, so the connection works, but nothing listens behind it
 * - `absent`: the socket does not exist, or nothing listens on it
 * - `silent`: no answer in time
 */
export type ProbeOutcome = 'answered' | 'closed' | 'absent' | 'silent';

/** Queries the hub's health through a connection, end to end. Never rejects. @param socketPath forwarded to the hub's API */
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
