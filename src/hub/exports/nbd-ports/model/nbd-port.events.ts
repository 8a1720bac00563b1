import type { DomainEvent } from '../../../../kernel/event.js';

export type PortAllocation = { readonly port: number; readonly export_name: string | null };

/** All ports a job asked for, in one event: all or none. */
export type NbdPortsAllocated = DomainEvent<
  'NbdPortsAllocated',
  { readonly job_id: string; readonly ports: readonly PortAllocation[]; readonly allocated_at: string }
>;
export type NbdPortReleased = DomainEvent<'NbdPortReleased', { readonly job_id: string; readonly port: number; readonly released_at: string }>;
/** A job asked for more ports than were free and got none. */
export type NbdPortsExhausted = DomainEvent<'NbdPortsExhausted', { readonly job_id: string; readonly wanted: number; readonly free: number }>;
/** A free port of the pool is held by a program that is not ours; it is passed over until it is free again. */
export type NbdPortFoundOccupied = DomainEvent<'NbdPortFoundOccupied', { readonly port: number; readonly found_at: string }>;
/**
 * The whole state of the pool at this place of the stream, so that nobody has to read what came before. It changes nothing. Members are in the order of NbdPortsState.
 */
export type NbdPortsCarriedOver = DomainEvent<
  'NbdPortsCarriedOver',
  {
    readonly held: readonly { readonly port: number; readonly job_id: string; readonly export_name: string | null }[];
    readonly released: readonly number[];
    readonly occupied: readonly number[];
    readonly refused: readonly { readonly job_id: string; readonly wanted: number; readonly free: number }[];
  }
>;

/** Stream `nbdPorts-<hub_id>`. */
export type NbdPortEvent = NbdPortsAllocated | NbdPortReleased | NbdPortsExhausted | NbdPortFoundOccupied | NbdPortsCarriedOver;

export function nbdPortsStream(hubId: string): string {
  return `nbdPorts-${hubId}`;
}
