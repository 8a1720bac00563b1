import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import type { CommandContext } from '../../../../kernel/command-context.js';
import type { Decider } from '../../../../kernel/decider.js';
import type { Position } from '../../../../kernel/position.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { KeyedMutex } from '../../../../lib/concurrency/keyed-mutex.js';
import { signRotation } from '../../../../lib/ledger/key-rotation.js';
import { CommandRunner, HUB_ID } from '../../../store/event-store/command-runner.js';
import { type LedgerEvent, ledgerStream } from '../model/ledger.events.js';
import { LedgerKeys } from '../model/ledger-keys.service.js';
import { evolveLedger, initialLedgerState, type LedgerState } from '../model/ledger.state.js';
import { decideRotateLedgerKey, type RotateLedgerKey } from './rotate-key.decide.js';

const decider: Decider<LedgerState, RotateLedgerKey, LedgerEvent> = { initialState: initialLedgerState, evolve: evolveLedger, decide: decideRotateLedgerKey };

/** Makes a key, records it with the signature of the old one, and then uses it. The event decides whether an interrupted rotation has happened. */
@Injectable()
export class LedgerKeyRotation implements OnApplicationBootstrap {
  private readonly mutex = new KeyedMutex();

  constructor(
    private readonly keys: LedgerKeys,
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    @Inject(HUB_ID) private readonly hubId: string,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    await this.settle();
  }

  /** @returns the new key, and the position of the rotation @throws DomainError `ledger_key_replaced` */
  async rotate(context: CommandContext): Promise<{ readonly key: string; readonly position: Position | null }> {
    return this.mutex.runExclusive('rotate', async () => {
      await this.settle();
      const next = this.keys.makeNext();
      const rotated_at = this.clock.iso();
      const command = {
        old_key: this.keys.verifier,
        new_key: this.keys.textOf(next),
        statement: signRotation(this.keys.origin, next, rotated_at, this.keys.privateKey),
        rotated_at,
      };
      const { position } = await this.runner.run(ledgerStream(this.hubId), decider, command, context);
      await this.settle();
      return { key: this.keys.verifier, position };
    });
  }

  private async settle(): Promise<void> {
    const { next } = this.keys;
    if (next === null) return;
    const { state } = await this.runner.load(ledgerStream(this.hubId), decider);
    if (state.key === this.keys.textOf(next)) this.keys.useNext();
    else this.keys.dropNext();
  }
}
