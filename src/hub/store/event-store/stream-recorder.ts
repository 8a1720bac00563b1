import { Injectable } from '@nestjs/common';
import type { CommandContext } from '../../../kernel/command-context.js';
import type { Decider } from '../../../kernel/decider.js';
import type { DomainEvent } from '../../../kernel/event.js';
import type { Position } from '../../../kernel/position.js';
import { Ids } from '../../../lib/clock/clock.js';
import { CommandRunner, type LoadedStream } from './command-runner.js';
import { EventStore } from './event-store.port.js';

/** Loads streams of one kind, and records in them what the hub observes and does on behalf of the request that began the stream. */
@Injectable()
export abstract class StreamRecorder<State, Step, Event extends DomainEvent> {
  /** `system:` and what acts. */
  protected abstract readonly actor: string;
  protected abstract readonly decider: Decider<State, Step, Event>;
  protected abstract streamOf(id: string): string;

  constructor(
    private readonly runner: CommandRunner,
    private readonly store: EventStore,
    private readonly ids: Ids,
  ) {}

  load(id: string): Promise<LoadedStream<State>> {
    return this.runner.load(this.streamOf(id), this.decider);
  }

  /** Without a context, the step is an observation of the hub. @returns position of the stream's newest event */
  async record(id: string, step: Step, context?: CommandContext): Promise<Position | null> {
    return (await this.runner.run(this.streamOf(id), this.decider, step, context ?? (await this.context(id)))).position;
  }

  /**
   * For a command that the stream causes, in this or another context; carries the correlation id of its request.
   * @param commandId for a command that must be idempotent; a new id by default
   */
  async context(id: string, commandId: string = this.ids.next()): Promise<CommandContext> {
    let correlationId = id;
    for await (const first of this.store.read(this.streamOf(id), { limit: 1 })) correlationId = first.metadata.$correlationId;
    return { commandId, correlationId, actor: this.actor };
  }
}
