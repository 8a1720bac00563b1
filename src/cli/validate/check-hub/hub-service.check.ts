import { messageOf } from '../../../kernel/error-message.js';
import type { HubConfig } from '../../../hub/hub.config.js';
import { isLoopback } from '../../../lib/process/listen-port.js';
import type { MountDrivers, Readiness } from '../../api/answers.js';
import { type HubApi, HubRefusalError } from '../../api/hub-api.client.js';
import { type Check, fail, pass, skip, type Verdict, warn, worst } from '../model/check.plan.js';

/** Whether the hub answers, is ready, accepts its token and rejects requests without it. */
export function hubServiceChecks(config: HubConfig, hub: HubApi, tokenProblem: string | null): readonly Check[] {
  return [
    {
      id: 'hub_service',
      role: 'hub',
      title: 'the hub answers and is ready',
      run: async () => {
        try {
          const { checks } = await hub.call<Readiness>('GET', '/health/ready');
          const down = checks.filter((check) => check.status !== 'up').map(({ name, code }) => `${name} (${code ?? 'down'})`);
          if (down.length === 0) return pass(`${hub.url} is ready`);
          return warn(`${hub.url} is ready, but without ${down.join(', ')}`, 'See the log of the hub.');
        } catch (error) {
          if (isStandby(error)) return pass(`${hub.url} answers as a standby; the other checks of a hub apply to the active one`);
          if (error instanceof HubRefusalError) return fail(`${hub.url} is not ready: ${error.message}`, 'The log of the hub says what is missing.');
          return fail(messageOf(error), 'Start the hub; its log says why it stopped. Use --hub for another address.');
        }
      },
    },
    {
      id: 'hub_access',
      role: 'hub',
      title: 'the API accepts its token and nothing else',
      run: async () => {
        if (tokenProblem !== null) return fail(tokenProblem, "Run this as the hub's user or as root, or name a file with its token with --token-file.");
        try {
          await hub.call('GET', '/nodes?limit=1');
        } catch (error) {
          if (!(error instanceof HubRefusalError) || isStandby(error)) return unasked(error);
          return fail(`the hub refuses the token: ${error.message}`, 'Is it the token of this hub? Use --token-file to name another one.');
        }
        const stranger = await fetch(`${hub.url}/api/v1/nodes?limit=1`);
        await stranger.body?.cancel();
        if (stranger.status === 401) return pass('it accepts the token and refuses requests without one');
        return fail(`without a token it answers ${stranger.status}`, 'Something other than the hub answers there: check the proxy in front of it.');
      },
    },
    {
      id: 'file_restore',
      role: 'hub',
      title: 'single files can be restored',
      run: async () => {
        try {
          const { drivers } = await hub.call<MountDrivers>('GET', '/restore/resources');
          const usable = drivers.filter(({ available }) => available).map(({ name }) => name);
          if (usable.length > 0) return pass(`restore points can be mounted by ${usable.join(', ')}`);
          const reasons = drivers.map(({ name, reason }) => `${name}: ${reason ?? ''}`).join('; ');
          return warn(
            `the hub cannot mount restore points (${reasons})`,
            'docs/deployment.md, "Single files of a backup"; restores of whole disks do not need this.',
          );
        } catch {
          return skip('the hub does not report it');
        }
      },
    },
    {
      id: 'hub_exposure',
      role: 'hub',
      title: 'who can reach the hub',
      run: () => {
        const open: Verdict[] = [
          ['listen_host', config.listenHost, 'the API'],
          ['nbd_listen_host', config.nbdListenHost, 'disks over NBD, of which guest disks accept any client'],
        ].flatMap(([setting, host, what]) =>
          isLoopback(host ?? '')
            ? []
            : [
                warn(
                  `${setting ?? ''} is ${host ?? ''}, which offers ${what ?? ''} to the network unencrypted`,
                  `Set ${setting ?? ''} to 127.0.0.1, and use the tunnel.`,
                ),
              ],
        );
        return Promise.resolve(worst(open, 'API and NBD are on the loopback alone'));
      },
    },
  ];
}

function isStandby(error: unknown): boolean {
  return error instanceof HubRefusalError && error.code === 'hub_standby';
}

/** The verdict of a check whose question the hub did not answer; another check reports that. */
export function unasked(error: unknown): Verdict {
  if (isStandby(error)) return skip('this hub is a standby');
  return skip(error instanceof HubRefusalError ? 'the hub refuses the token' : 'the hub does not answer');
}

/** Skips a check that queries the hub when the hub cannot be queried; another check reports that. */
export function asking(hub: HubApi, check: Check): Check {
  return {
    ...check,
    run: async () => {
      if (!hub.hasToken) return skip("the hub's token cannot be read");
      try {
        await hub.call('GET', '/nodes?limit=1');
      } catch (error) {
        return unasked(error);
      }
      return check.run();
    },
  };
}
