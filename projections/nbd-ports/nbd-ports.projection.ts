import { unknownVariant } from '../../src/kernel/decider.js';
import type { NbdPortEvent } from '../../src/hub/exports/nbd-ports/model/nbd-port.events.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';

export type NbdPortState = 'free' | 'allocated' | 'occupied';

/** A port that no event has named yet has no row; it is free. */
export type NbdPortRow = {
  readonly port: number;
  /** `occupied`: in use by a program that is not ours when the port was last checked. */
  readonly state: NbdPortState;
  readonly job_id: string | null;
  readonly export_name: string | null;
  /** When the port entered this state. */
  readonly since: string;
};

export const nbdPortsProjection: Projection<NbdPortRow> = {
  name: 'nbd_ports',
  categories: ['nbdPorts'],
  key: 'port',
  columns: { port: 'integer', state: 'text', job_id: 'text', export_name: 'text', since: 'timestamptz' },
  nullable: { job_id: true, export_name: true },
  keys(recorded) {
    const event = asDomainEvent<NbdPortEvent>(recorded);
    switch (event.type) {
      case 'NbdPortsAllocated':
        return event.data.ports.map(({ port }) => String(port));
      case 'NbdPortReleased':
      case 'NbdPortFoundOccupied':
        return [String(event.data.port)];
      case 'NbdPortsExhausted':
      case 'NbdPortsCarriedOver':
        return [];
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
  fold(row, recorded, key) {
    const event = asDomainEvent<NbdPortEvent>(recorded);
    const port = Number(key);
    switch (event.type) {
      case 'NbdPortsAllocated': {
        const { job_id, ports, allocated_at } = event.data;
        const export_name = ports.find((allocation) => allocation.port === port)?.export_name ?? null;
        return { port, state: 'allocated', job_id, export_name, since: allocated_at };
      }
      case 'NbdPortReleased':
        return { port, state: 'free', job_id: null, export_name: null, since: event.data.released_at };
      case 'NbdPortFoundOccupied':
        return { port, state: 'occupied', job_id: null, export_name: null, since: event.data.found_at };
      case 'NbdPortsExhausted':
      case 'NbdPortsCarriedOver':
        return row ?? null;
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
};
