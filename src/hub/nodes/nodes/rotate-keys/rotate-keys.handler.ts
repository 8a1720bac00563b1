import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { NodeAccessPublisher } from '../model/node-access.port.js';
import { type KeyRotation, RecordKeysInUse, RotateNodeKeys } from '../model/node.commands.js';
import { KeyRotationService } from './key-rotation.service.js';

/** How long the request waits until the new keys are seen in use. */
const IN_USE_PATIENCE_MS = 20_000;

@CommandHandler(RotateNodeKeys)
export class RotateNodeKeysHandler implements ICommandHandler<RotateNodeKeys> {
  constructor(
    private readonly rotation: KeyRotationService,
    private readonly access: NodeAccessPublisher,
  ) {}

  async execute({ nodeId, context }: RotateNodeKeys): Promise<KeyRotation> {
    const started = await this.rotation.begin(nodeId, context);
    // The new key must open the tunnel and the new token the API before the node uses them.
    if (started !== null) await this.access.published(started);
    await this.rotation.activate(nodeId);
    const outcome = await this.rotation.outcome(nodeId, IN_USE_PATIENCE_MS);
    if (outcome.completed && outcome.position !== null) await this.access.published(outcome.position);
    return outcome;
  }
}

@CommandHandler(RecordKeysInUse)
export class RecordKeysInUseHandler implements ICommandHandler<RecordKeysInUse> {
  constructor(private readonly rotation: KeyRotationService) {}

  execute({ nodeId, rotationId, token, context }: RecordKeysInUse): Promise<string | null> {
    return this.rotation.recordInUse(nodeId, rotationId, token, context);
  }
}
