import type { HubConfig } from '../../../hub/hub.config.js';
import type { HubRole } from '../../api/answers.js';
import type { HubApi } from '../../api/hub-api.client.js';
import { type Check, fail, type Verdict, warn, worst } from '../model/check.plan.js';
import { unasked } from './hub-service.check.js';

/** A standby takes over when the lease is this old. */
const LEASE_SECONDS = 8;
const PAGE = 'docs/standby.md says what a standby needs.';

/** Role, term and lease of this hub, and whether the other one of its pair could take over. */
export function hubPairCheck({ standby: isPair }: HubConfig, hub: HubApi): Check {
  return {
    id: 'hub_pair',
    role: 'hub',
    title: 'the pair of hubs',
    run: async () => {
      try {
        return verdictOf(await hub.call<HubRole>('GET', '/hub'), isPair);
      } catch (error) {
        return unasked(error);
      }
    },
  };
}

function verdictOf({ role, term, active, standby, renewed_seconds_ago: age }: HubRole, isPair: boolean): Verdict {
  const found: Verdict[] = [];
  if (role === 'active' && standby === null && isPair) found.push(warn('no standby waits to take over', `Start the other hub. ${PAGE}`));
  for (const problem of standby?.problems ?? []) found.push(fail(`the standby on ${standby?.host ?? ''} cannot take over: ${problem}`, PAGE));
  if (active !== null && standby !== null && active.version !== standby.version) {
    found.push(fail(`the hubs have different releases: ${active.version} is active, ${standby.version} waits`, 'Install the same release on both.'));
  }
  if (age !== null && age > LEASE_SECONDS) {
    found.push(warn(`the active hub has not renewed its lease for ${age} s`, 'See the log of the active hub, and whether it reaches the database.'));
  }
  const other = role === 'standby' ? `; the active hub is on ${active?.host ?? 'an unknown host'}` : standby === null ? '' : `; ${standby.host} waits`;
  return worst(
    found,
    `this hub is ${role === 'active' ? 'active' : 'a standby'} in term ${term ?? 'unknown'}${age === null ? '' : `, renewed ${age} s ago`}${other}`,
  );
}
