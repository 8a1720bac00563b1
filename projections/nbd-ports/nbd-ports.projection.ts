import { unknownVariant } from '../../src/kernel/decider.js';
import type { NbdPortEvent } from '../../src/hub/exports/nbd-ports/model/nbd-port.events.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import { NbdPortReadModel, type NbdPortRow } from './nbd-ports.read-model.js';

export const nbdPortsProjection: Projection<NbdPortRow> = {
  ...NbdPortReadModel.definition,
  categories: ['nbdPorts'],
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
