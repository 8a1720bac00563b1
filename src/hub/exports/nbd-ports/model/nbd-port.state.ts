import { unknownVariant } from '../../../../kernel/decider.js';
import type { NbdPortEvent, NbdPortsCarriedOver } from './nbd-port.events.js';

export interface HeldPort {
  readonly job_id: string;
  readonly export_name: string | null;
}

export interface NbdPortsState {
  /** By port, in the order of allocation. */
  readonly held: ReadonlyMap<number, HeldPort>;
  /** Released ports, the longest free first. */
  readonly released: readonly number[];
  /** In use by another program when last probed. */
  readonly occupied: ReadonlySet<number>;
  /** Jobs whose last request was refused, and the shortage that was recorded for it. */
  readonly refused: ReadonlyMap<string, { readonly wanted: number; readonly free: number }>;
  /** Events since the last carry-over, or since the beginning. */
  readonly eventsSince: number;
}

export const initialNbdPortsState: NbdPortsState = { held: new Map(), released: [], occupied: new Set(), refused: new Map(), eventsSince: 0 };

/** Maximum number of refused jobs remembered. A forgotten shortage is recorded again when the job retries. */
const MAX_REFUSED = 100;

export function evolveNbdPorts(state: NbdPortsState, event: NbdPortEvent): NbdPortsState {
  if (event.type === 'NbdPortsCarriedOver') return carriedOver(event.data);
  return { ...evolvePool(state, event), eventsSince: state.eventsSince + 1 };
}

type Pool = Omit<NbdPortsState, 'eventsSince'>;

function evolvePool(state: Pool, event: Exclude<NbdPortEvent, NbdPortsCarriedOver>): Pool {
  switch (event.type) {
    case 'NbdPortsAllocated': {
      const { job_id, ports } = event.data;
      const taken = new Set(ports.map(({ port }) => port));
      return {
        held: new Map([...state.held, ...ports.map(({ port, export_name }) => [port, { job_id, export_name }] as const)]),
        released: state.released.filter((port) => !taken.has(port)),
        occupied: new Set([...state.occupied].filter((port) => !taken.has(port))),
        refused: without(state.refused, job_id),
      };
    }
    case 'NbdPortReleased': {
      const { port } = event.data;
      return { ...state, held: without(state.held, port), released: [...state.released.filter((other) => other !== port), port] };
    }
    case 'NbdPortsExhausted': {
      const { job_id, wanted, free } = event.data;
      const refused = [...without(state.refused, job_id), [job_id, { wanted, free }] as const];
      return { ...state, refused: new Map(refused.slice(-MAX_REFUSED)) };
    }
    case 'NbdPortFoundOccupied':
      return { ...state, occupied: new Set([...state.occupied, event.data.port]) };
    default:
      return unknownVariant('port stream', event);
  }
}

function carriedOver({ held, released, occupied, refused }: NbdPortsCarriedOver['data']): NbdPortsState {
  return {
    held: new Map(held.map(({ port, ...holder }) => [port, holder])),
    released,
    occupied: new Set(occupied),
    refused: new Map(refused.map(({ job_id, ...shortage }) => [job_id, shortage])),
    eventsSince: 0,
  };
}

/** A job's ports, in the order of allocation. */
export function portsOfJob(state: NbdPortsState, jobId: string): readonly { readonly port: number; readonly export_name: string | null }[] {
  return [...state.held].filter(([, held]) => held.job_id === jobId).map(([port, { export_name }]) => ({ port, export_name }));
}

function without<Key, Value>(map: ReadonlyMap<Key, Value>, key: Key): ReadonlyMap<Key, Value> {
  const rest = new Map(map);
  rest.delete(key);
  return rest;
}
