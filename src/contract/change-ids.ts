import { ArrayMaxSize, IsArray, IsIn, IsString } from 'class-validator';
import { NodeProblem } from './problem.js';
import { EachLike, ListOf, Text, TextLike, Texts } from './validation/member.decorators.js';
import { Optional } from './validation/presence.decorators.js';
import { NodeSourceVm } from './vm-list.js';
import { NODE_SOURCES, type NodeSource } from './words.js';

/** A hub's id becomes part of bitmap names. */
export const HUB_ID = /^[A-Za-z0-9][A-Za-z0-9-]{7,63}$/;
/** The node creates every change id itself (see changeIdOf), so it refuses any other; this also makes them safe in an argv. */
export const CHANGE_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/;
export const MAX_CHANGE_IDS = 10_000;
const MAX_VMS = 10_000;

/** Query of GET /api/v1/change-ids */
export class NodeChangeIdsQuery {
  @TextLike(HUB_ID, 'hub_id must be 8 to 64 letters, digits or dashes')
  readonly hub_id!: string;
}

export class NodeChangeIdsOfVm extends NodeSourceVm {
  /** @example "pgtest1" */
  @Text()
  readonly name!: string;

  /** @example ["sendense-6f0d2b0e-0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5c"] */
  @Texts()
  readonly change_ids!: readonly string[];
}

/** Why a VM cannot be backed up until someone does what the detail says. */
export class NodeVmProblem extends NodeProblem {
  @IsIn(NODE_SOURCES)
  readonly source!: NodeSource;

  /** @example "/var/lib/sendense/images/pgtest1" */
  @Text()
  readonly source_ref!: string;
}

/**
 * GET /api/v1/change-ids: every change id of this hub that the node finds on its VMs, including those of running jobs. A hub that lists first and decides
 * afterwards cannot remove a change id that was made in between.
 */
export class NodeChangeIds {
  @ListOf(() => NodeChangeIdsOfVm)
  readonly vms!: readonly NodeChangeIdsOfVm[];

  /**
   * Descriptions of what the node found without an owner (backup jobs, scratch files) and removed since the hub last acknowledged such findings.
   * @example ["A scratch file of a lost backup job"]
   */
  @Texts()
  readonly swept!: readonly string[];

  /** All current problems. Absent from older nodes. */
  @Optional()
  @ListOf(() => NodeVmProblem)
  readonly vm_problems?: readonly NodeVmProblem[];
}

export class NodeUnneededChangeIds extends NodeSourceVm {
  /** @example ["sendense-6f0d2b0e-0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5c"] */
  @EachLike(CHANGE_ID, 'each of change_ids must be a change id of this node', { max: MAX_CHANGE_IDS })
  readonly change_ids!: readonly string[];
}

/** POST /api/v1/change-ids/remove: the hub lists every change id that no chain and no unfinished run needs. The node keeps those of jobs it has not settled. */
export class NodeRemoveChangeIds {
  @TextLike(HUB_ID, 'hub_id must be 8 to 64 letters, digits or dashes')
  readonly hub_id!: string;

  @ListOf(() => NodeUnneededChangeIds, { max: MAX_VMS })
  readonly vms!: readonly NodeUnneededChangeIds[];

  /** The entries of NodeChangeIds.swept that the hub has recorded. @example ["A scratch file of a lost backup job"] */
  @IsArray()
  @ArrayMaxSize(MAX_CHANGE_IDS)
  @IsString({ each: true })
  readonly known_swept!: readonly string[];
}

export class NodeRemovedChangeId extends NodeSourceVm {
  /** @example "sendense-6f0d2b0e-0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5c" */
  @Text()
  readonly change_id!: string;
}

/** The removed change ids. One that could not be removed (for example because its disk is in use) is missing here and listed again next time. */
export class NodeChangeIdsRemoved {
  @ListOf(() => NodeRemovedChangeId)
  readonly removed!: readonly NodeRemovedChangeId[];
}
