import { mkdirSync } from 'node:fs';
import { Logger as NestLog } from '@nestjs/common';
import { DomainError } from '../../../kernel/domain-error.js';
import type { Logger } from '../../../lib/logging/logger.js';
import { repeat } from '../../../lib/process/repeat.js';
import type { HubConfig } from '../../hub.config.js';
import { awaitDatabase } from '../../store/postgres/await-database.js';
import { HubLease, type HubLeaseOptions, type LeaseView } from '../../store/postgres/hub-lease.js';
import { leaveWork } from './leave-work.service.js';
import { describeHub, markSharedDirectory, takeoverProblems } from './shared-directory.service.js';
import { StandbyServer } from './standby-server.service.js';

/** How often a standby checks that it could take over. */
const CHECK_MS = 5_000;

/**
 * Makes this hub the active one of its database. With `standby` it waits for that, and answers on the hub's port meanwhile. A standby that lacks something
 * that the active hub has does not take over; it reports what.
 * @param signal ends the waiting @throws DomainError `hub_already_running` without `standby`; the signal's reason
 */
export async function holdLease(config: HubConfig, databaseUrl: string, log: Logger, signal: AbortSignal, onLost: (reason: string) => void): Promise<HubLease> {
  mkdirSync(config.runDirectory, { recursive: true, mode: 0o700 });
  const hub = await describeHub(config);
  const onTaking = (term: number): void => markSharedDirectory(config, term);
  const options: HubLeaseOptions = { databaseUrl, hub, log: new NestLog('HubLease'), onTaking, onLost };
  try {
    return await awaitDatabase(() => HubLease.acquire(options), options.log);
  } catch (error) {
    if (!config.standby || !(error instanceof DomainError) || error.code !== 'hub_already_running') throw error;
  }
  await leaveWork(config, log);
  const sight: { view: LeaseView | null; problems: readonly string[] | null } = { view: null, problems: null };
  const isFit = async (view: LeaseView): Promise<boolean> => {
    const problems = await takeoverProblems(config, hub, view);
    for (const problem of problems) if (sight.problems?.includes(problem) !== true) log.error('this standby cannot take over', { problem });
    if (problems.length === 0 && sight.problems !== null && sight.problems.length > 0) log.info('this standby can take over again');
    sight.problems = problems;
    return problems.length === 0;
  };
  const server = await StandbyServer.start(config, () => {
    const { view, problems } = sight;
    return view === null ? null : { ...view, standby: { ...hub, problems: problems ?? [] } };
  });
  const checks = repeat(
    () => CHECK_MS,
    () => void (sight.view !== null && isFit(sight.view)),
  );
  const onLook = (view: LeaseView | null): readonly string[] | null => {
    if (view !== null && sight.view === null) void isFit(view);
    sight.view = view;
    return sight.problems;
  };
  try {
    log.info('this hub is a standby and waits for the lease of the active hub', { port: config.listenPort });
    const lease = await HubLease.standBy(options, signal, { isFit, onLook });
    log.warn('this hub has become the active one', { term: lease.term, before: sight.view?.holder?.host ?? null });
    return lease;
  } finally {
    checks.stop();
    await server.stop();
  }
}
