import { Injectable } from '@nestjs/common';
import { DataSource, Not } from 'typeorm';
import { BlackoutReadModel } from '../../../../../projections/blackouts/blackouts.read-model.js';
import { PolicyReadModel } from '../../../../../projections/policies/policies.read-model.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import type { Position } from '../../../../kernel/position.js';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { POLICIES, RegisterLock } from '../../../store/register-lock/register-lock.js';
import { type BlackoutSettings, blackoutStream } from '../model/blackout.events.js';
import { blackoutDecider } from '../model/blackout.state.js';
import { blackoutNotFound, decideBlackout } from './keep-blackouts.decide.js';

const decider = blackoutDecider(decideBlackout);

/** Creates, edits and deletes shared blackouts, one after the other with policies, so that none is deleted that a policy begins to use. */
@Injectable()
export class KeepBlackouts {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly lock: RegisterLock,
    private readonly dataSource: DataSource,
  ) {}

  async create(settings: BlackoutSettings, context: CommandContext): Promise<{ readonly blackout_id: string; readonly position: Position | null }> {
    // Derived, so that a repeated command creates the same blackout.
    const blackout_id = derivedId(`blackout/${context.commandId}`);
    return { blackout_id, position: await this.write('create', blackout_id, 0, settings, context) };
  }

  edit(blackoutId: string, version: number, settings: BlackoutSettings, context: CommandContext): Promise<Position | null> {
    return this.write('edit', blackoutId, version, settings, context);
  }

  delete(blackout_id: string, context: CommandContext): Promise<Position | null> {
    return this.lock.run(POLICIES, ['policies'], async () => {
      const rows = await this.dataSource.getRepository(PolicyReadModel).find({ order: { name: 'ASC' } });
      const policies = rows.flatMap(({ name, settings: { blackout_ids = [] } }) => (blackout_ids.includes(blackout_id) ? [name] : []));
      const command = { kind: 'delete', blackout_id, policies, at: this.clock.iso() } as const;
      return (await this.runner.run(blackoutStream(blackout_id), decider, command, context)).position;
    });
  }

  /** @throws DomainError blackout_not_found */
  async one(blackout_id: string): Promise<BlackoutReadModel> {
    const row = await this.dataSource.getRepository(BlackoutReadModel).findOneBy({ blackout_id });
    if (row === null) throw blackoutNotFound(blackout_id);
    return row;
  }

  private write(kind: 'create' | 'edit', blackout_id: string, version: number, settings: BlackoutSettings, context: CommandContext): Promise<Position | null> {
    return this.lock.run(POLICIES, ['blackouts'], async () => {
      const others = await this.dataSource.getRepository(BlackoutReadModel).findBy({ blackout_id: Not(blackout_id) });
      const command = { kind, blackout_id, version, settings, other_names: others.map(({ name }) => name), at: this.clock.iso() };
      return (await this.runner.run(blackoutStream(blackout_id), decider, command, context)).position;
    });
  }
}
