import { createHash } from 'node:crypto';
import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { DataSource } from 'typeorm';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { ListenAddress } from '../../../../lib/http/listen-address.js';
import { RegisterLock, VMS_AND_NODES } from '../../../store/register-lock/register-lock.js';
import { readHostKey } from '../../../../lib/ssh/host-key.js';
import { readTunnelServerPlace } from '../../../../tunnel/interface/tunnel-server-files.js';
import { newPairingSecret, pairingCodeText, pairingProof, pairingPublicKey } from '../../../../tunnel/interface/pairing-code.js';
import { NodeAccessPublisher } from '../model/node-access.port.js';
import { type EnrolmentOffer, StartEnrolment } from '../model/node.commands.js';
import { nodeStream } from '../model/node.events.js';
import { nodeDecider } from '../model/node.state.js';
import { decideStartEnrolment } from './start-enrolment.decide.js';

const decider = nodeDecider(decideStartEnrolment);

const MINUTE_MS = 60_000;

@CommandHandler(StartEnrolment)
export class StartEnrolmentHandler implements ICommandHandler<StartEnrolment> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly dataSource: DataSource,
    private readonly lock: RegisterLock,
    private readonly config: HubConfig,
    private readonly listening: ListenAddress,
    private readonly access: NodeAccessPublisher,
  ) {}

  async execute({ name, context }: StartEnrolment): Promise<EnrolmentOffer> {
    const hub = await this.hubAddress();
    return this.lock.run(VMS_AND_NODES, ['nodes'], async () => {
      const nodes = await this.dataSource.getRepository(NodeReadModel).find();
      const holder = nodes.find((node) => node.name === name) ?? null;
      const again = holder !== null && (holder.state === 'revoked' || holder.state === 'pairing_failed') ? holder : null;
      const secret = newPairingSecret();
      const now = this.clock.now();
      const offer = {
        node_id: again?.node_id ?? derivedId(`node/${context.commandId}`),
        name,
        reverse_port: again?.enrolment?.reverse_port ?? this.freePort(nodes),
        pairing_public_key: pairingPublicKey(secret),
        proof_sha256: createHash('sha256').update(pairingProof(secret)).digest('hex'),
        expires_at: new Date(now.getTime() + this.config.pairingMinutes * MINUTE_MS).toISOString(),
        started_at: now.toISOString(),
      };
      // A repeated command finds its own node under this name; that does not count as taken.
      const nameHolder = again === null && holder !== null && holder.node_id !== offer.node_id ? holder.node_id : null;
      const { events, position } = await this.runner.run(nodeStream(offer.node_id), decider, { offer, name_holder: nameHolder }, context);
      if (!events.some((event) => event.type === 'NodeEnrolmentStarted' && event.data.proof_sha256 === offer.proof_sha256) || position === null) {
        throw new DomainError(
          'conflict',
          'pairing_code_shown_once',
          `This command already issued a pairing code for node ${offer.node_id}, and the code is not stored. Remove the node and start again.`,
          {
            node_id: offer.node_id,
          },
        );
      }
      await this.access.published(position);
      return { node: offer, pairingCode: pairingCodeText({ ...hub, nodeId: offer.node_id, secret }), position };
    });
  }

  /** Address of this hub for the pairing code. */
  private async hubAddress(): Promise<{ user: string; host: string; tunnelPort: number; hostKey: string; apiPort: number }> {
    const { tunnelAdvertiseHost: host, tunnelAdvertisePort, tunnelDirectory } = this.config;
    if (host === '') throw notConfigured('Set tunnel_advertise_host to the name or address at which nodes reach this machine.');
    const apiPort = this.listening.loopbackPort();
    if (apiPort === null) {
      throw notConfigured('The tunnel leads to the API on 127.0.0.1, but the hub does not listen there: set listen_host to 127.0.0.1 or 0.0.0.0.');
    }
    const hostKey = await readHostKey(tunnelDirectory);
    const place = await readTunnelServerPlace(tunnelDirectory);
    if (hostKey === null || place === null) {
      throw notConfigured(`No tunnel server has used the directory ${tunnelDirectory} yet: start "sendense tunnel-server".`);
    }
    const tunnelPort = tunnelAdvertisePort === 0 ? place.listen_port : tunnelAdvertisePort;
    return { user: place.user, host, tunnelPort, hostKey, apiPort };
  }

  private freePort(nodes: readonly NodeReadModel[]): number {
    const { nodePortFirst, nodePortCount, localNodePort, listenPort } = this.config;
    const taken = new Set(nodes.flatMap(({ url, enrolment }) => [Number(new URL(url).port), enrolment?.reverse_port ?? 0]));
    for (const port of [localNodePort, listenPort, this.listening.loopbackPort() ?? 0]) taken.add(port);
    for (let port = nodePortFirst; port < nodePortFirst + nodePortCount; port++) if (!taken.has(port)) return port;
    throw new DomainError(
      'unavailable',
      'node_ports_exhausted',
      `All ${nodePortCount} node ports from ${nodePortFirst} on are in use. Remove a node, or raise node_port_count.`,
      {
        node_port_first: nodePortFirst,
        node_port_count: nodePortCount,
      },
    );
  }
}

function notConfigured(detail: string): DomainError {
  return new DomainError('conflict', 'enrolment_not_configured', `No node can be enrolled: ${detail}`);
}
