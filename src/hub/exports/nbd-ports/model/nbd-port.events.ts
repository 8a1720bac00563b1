import type { DomainEvent } from '../../../../kernel/event.js';

export type PortAllocation = { readonly port: number; readonly export_name: string | null };

/** All ports a job requested, in one event: all or none. */
export type NbdPortsAllocated = DomainEvent<
  'NbdPortsAllocated',
  { readonly job_id: string; readonly ports: readonly PortAllocation[]; readonly allocated_at: string }
>;
export type NbdPortReleased = DomainEvent<'NbdPortReleased', { readonly job_id: string; readonly port: number; readonly released_at: string }>;
/** A job requested more ports than were free and got none. */
export type NbdPortsExhausted = DomainEvent<'NbdPortsExhausted', { readonly job_id: string; readonly wanted: number; readonly free: number }>;
/** Another program uses an unallocated port of the pool; the port is skipped until it is free again. */
export type NbdPortFoundOccupied = DomainEvent<'NbdPortFoundOccupied', { readonly port: number; readonly found_at: string }>;
/**
 * The whole state of the pool at this position of the stream, so that earlier events need not be read. It changes nothing. Members are in the order of
 * NbdPortsState.
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
