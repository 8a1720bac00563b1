import { unknownVariant } from '../../../../kernel/decider.js';
import type { NbdPortEvent, NbdPortsCarriedOver } from './nbd-port.events.js';

export interface HeldPort {
  readonly job_id: string;
  readonly export_name: string | null;
}

export interface NbdPortsState {
  /** By port, in the order of allocation. */
  readonly held: ReadonlyMap<number, HeldPort>;
  /** Ports given back, the longest free first. */
  readonly released: readonly number[];
  /** Found in the hands of another program when last looked at. */
  readonly occupied: ReadonlySet<number>;
  /** Jobs whose last request was refused, and the shortage that was recorded for it. */
  readonly refused: ReadonlyMap<string, { readonly wanted: number; readonly free: number }>;
  /** Events since the state was carried over last, or since the beginning. */
  readonly eventsSince: number;
}

export const initialNbdPortsState: NbdPortsState = { held: new Map(), released: [], occupied: new Set(), refused: new Map(), eventsSince: 0 };

/** Jobs that were refused and never came back are forgotten beyond this number; a forgotten shortage is recorded once more. */
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

/** A job's ports by the order of their allocation. */
export function portsOfJob(state: NbdPortsState, jobId: string): readonly { readonly port: number; readonly export_name: string | null }[] {
  return [...state.held].filter(([, held]) => held.job_id === jobId).map(([port, { export_name }]) => ({ port, export_name }));
}

function without<Key, Value>(map: ReadonlyMap<Key, Value>, key: Key): ReadonlyMap<Key, Value> {
  const rest = new Map(map);
  rest.delete(key);
  return rest;
}
